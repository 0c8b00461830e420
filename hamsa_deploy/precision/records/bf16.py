"""bfloat16: the range of float32, so nothing is measured, and a graph needs no islands; engines type it themselves."""

from __future__ import annotations

from hamsa_deploy.precision.records.record import Precision

PRECISION = Precision("bf16", "bf16", "bfloat16", significand=8)
