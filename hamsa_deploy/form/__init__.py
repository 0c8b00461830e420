"""What is asked for, `request`, and its model in real arithmetic, from a module or from an ONNX file."""
