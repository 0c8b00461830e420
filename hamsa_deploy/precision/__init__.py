"""Number types: `float16` by measured ranges, `int8` by calibration, after the exact rewritings of `passes`.

`observers` say what is looked at on the calibration inputs, `measurements` keeps what was seen.
"""
