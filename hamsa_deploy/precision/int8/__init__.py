"""int8 by calibration: which products, with which thresholds, written as QuantizeLinear and DequantizeLinear."""
