"""Tools for any ONNX graph: its constants, nodes put between nodes, values looked at, sessions that run it."""
