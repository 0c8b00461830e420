"""Number types: float16 typing of ONNX files."""
