"""Number types: float16 by measured ranges, int8 by calibration.

Start with `float16` and `islands`, or with `calibrate`, which leads to the `passes`, the `thresholds`, and `int8`.
"""
