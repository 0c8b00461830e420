"""float32, which every graph is in at first, and every target has."""

from __future__ import annotations

from hamsa_deploy.precision.records.record import FLOAT32, Precision

PRECISION = Precision(
    FLOAT32, "f32", "float32", significand=24, way_out="hamsa-export again, from the checkpoint that the reference has"
)
