"""Which nodes compute sizes only: ONNX Runtime leaves them on the CPU where the rest runs on a GPU."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from hamsa_runtime.onnx_sizes import nodes_of_sizes


def test_what_goes_back_to_shapes_alone_is_of_sizes() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], "constant", value=numpy_helper.from_array(np.array([2]))),
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "zero"], ["size"], "gather"),
        helper.make_node("Mul", ["size", "two"], ["twice"], "mul"),
        helper.make_node("Mul", ["two", "zero"], ["folded"], "of constants"),
        helper.make_node("Concat", ["twice", "folded"], ["target"], "of both", axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"], "reshape"),
        helper.make_node("Slice", ["y", "", "size"], ["z"], "slice"),
        helper.make_node("Add", ["given", "size"], ["sum"], "of an input"),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) for name in ("x", "given")]
    graph = helper.make_graph(nodes, "g", inputs, [], [numpy_helper.from_array(np.array([0]), "zero")])
    assert nodes_of_sizes(helper.make_model(graph).SerializeToString()) == {"shape", "gather", "mul"}
