"""int8 in products with weights, floating point elsewhere: precision/int8, and the passes that come before."""

from __future__ import annotations

from hamsa_deploy.precision.records.record import Precision

PRECISION = Precision(
    "int8",
    "i8",
    "int8",
    stages={
        "calibrate": "measure ranges for int8",
        "pays": "find the products that int8 makes faster here",
        "search": "find the layers that int8 cannot hold",
        "int8": "write int8",
        "choose": "time it against the other precisions",
    },
    is_measured=True,
    is_quantised=True,
    way_out="hamsa-export --int8 --max-drop 0.5, which keeps the costliest layers in floating point; more calibration "
    "images; or --fp16",
)
