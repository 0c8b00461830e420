"""float32 ONNX -> typed float16 ONNX, run by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx_ir import DataType

from hamsa_deploy.precision.float16 import float16_from_float32


def _typed(node: ir.Node, name: str, shape: list[int | str]) -> ir.Value:
    value = node.outputs[0]
    value.name, value.dtype, value.shape = name, DataType.FLOAT, ir.Shape(shape)
    return value


def magnitude_model(weight: np.ndarray) -> ir.Model:
    """m = sqrt(x x + y y); out = m + x W, with x and y (batch, 2)."""
    shape: list[int | str] = ["batch", 2]
    x, y = ir.val("x", DataType.FLOAT, shape), ir.val("y", DataType.FLOAT, shape)
    w = ir.val("w", DataType.FLOAT, [2, 2], const_value=ir.tensor(weight.astype(np.float32), name="w"))
    nodes: list[ir.Node] = []

    def add(kind: str, inputs: list[ir.Value], name: str) -> ir.Value:
        nodes.append(ir.node(kind, inputs, name=f"node_{name}"))
        return _typed(nodes[-1], name, shape)

    squares = add("Add", [add("Mul", [x, x], "xx"), add("Mul", [y, y], "yy")], "total")
    out = add("Add", [add("Sqrt", [squares], "m"), add("MatMul", [x, w], "xw")], "out")
    graph = ir.Graph([x, y], [out], nodes=nodes, initializers=[w], opset_imports={"": 18}, name="g")
    return ir.Model(graph, ir_version=10)


def run(model: ir.Model, x: float, y: float) -> np.ndarray:
    data = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    column = np.ones((3, 2), np.float32)
    return np.asarray(session.run(None, {"x": x * column, "y": y * column})[0])


@pytest.mark.parametrize(("x", "y"), [(300.0, 400.0), (3e-4, 4e-4), (20000.0, 0.0), (0.0, 0.0)])
def test_a_magnitude_neither_overflows_nor_vanishes(x, y):
    model = magnitude_model(np.zeros((2, 2)))
    float16_from_float32(model)
    found = run(model, x, y)
    assert found.dtype == np.float32
    # one rounding of each input and of the result to 11 bits
    np.testing.assert_allclose(found, np.hypot(x, y), rtol=2e-3)


def test_islands_are_named_with_their_reason():
    islands = float16_from_float32(magnitude_model(np.eye(2)))
    assert islands == dict.fromkeys(["node_xx", "node_yy", "node_total", "node_m"], "squares of a magnitude")


def test_weights_that_float16_cannot_hold_keep_their_node_in_float32():
    model = magnitude_model(np.full((2, 2), 1e6))
    assert "outside the range" in float16_from_float32(model)["node_xw"]
    assert model.graph.initializers["w"].dtype == DataType.FLOAT


def test_other_weights_are_stored_once_in_float16_and_types_are_explicit():
    model = magnitude_model(np.eye(2))
    float16_from_float32(model)
    assert [v.dtype for v in model.graph.initializers.values()] == [DataType.FLOAT16]
    matmul = next(node for node in model.graph if node.op_type == "MatMul")
    assert all(value is not None and value.dtype == DataType.FLOAT16 for value in matmul.inputs)
    assert [v.dtype for v in (*model.graph.inputs, *model.graph.outputs)] == [DataType.FLOAT] * 3
    assert model.graph.outputs[0].name == "out"
