"""Plans of TensorRT and TensorRT-RTX: built from a bundle's ONNX file, kept in a cache, run on a GPU.

Every function takes the module, `tensorrt` or `tensorrt_rtx`, as its argument `trt`, and uses what both share from
TensorRT 10.3 on. Where they differ stands in `differences.py`, and nowhere else.
"""
