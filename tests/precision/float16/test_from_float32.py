"""float32 ONNX -> typed float16 ONNX: types, weights and casts. What stays in float32 is in test_islands.py."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir import DataType

from tests.precision.typed import graph, infinite_values, outputs_of, typed

TWO = "float[batch, 2] x, float[batch, 2] y"
MAGNITUDE = """
    [node_xx] xx = Mul(x, x)
    [node_yy] yy = Mul(y, y)
    [node_total] total = Add(xx, yy)
    [node_m] m = Sqrt(total)
    [node_xw] xw = MatMul(x, w)
    [node_out] out = Add(m, xw)
"""


def rows(*numbers: float) -> np.ndarray:
    """(3, 2), equal rows."""
    return np.tile(np.array(numbers, np.float32), (3, 1))


def magnitude_model(weight: np.ndarray) -> ir.Model:
    """m = sqrt(x x + y y); out = m + x W."""
    return graph(MAGNITUDE, TWO, w=weight.astype(np.float32))


ONES = {"x": rows(1, 1), "y": rows(1, 1)}


@pytest.mark.parametrize(("x", "y"), [(300.0, 400.0), (3e-4, 4e-4), (20000.0, 0.0), (0.0, 0.0)])
def test_a_magnitude_neither_overflows_nor_vanishes(x: float, y: float) -> None:
    half, _ = typed(magnitude_model(np.zeros((2, 2))), [ONES])
    feed = {"x": rows(x, x), "y": rows(y, y)}
    assert infinite_values(half, feed) == []
    (found,) = outputs_of(half, feed)
    assert found.dtype == np.float32
    # one rounding of each input and of the result to 11 bits
    np.testing.assert_allclose(found, np.hypot(x, y), rtol=2e-3)


def test_islands_are_named_with_their_reason() -> None:
    _, islands = typed(magnitude_model(np.eye(2)), [ONES])
    assert set(islands) == {"node_xx", "node_yy", "node_total", "node_m"}
    assert all(reason.startswith("magnitude: ") for reason in islands.values())


def test_a_layer_is_named_by_its_module_and_each_once() -> None:
    model = graph("[root] a = Sqrt(x)  b = Div(x, a)  out = Div(b, a)", "float[batch, 2] x")  # two without names
    for node in model.graph:
        node.metadata_props["module"] = "blocks.0.norm"
    _, islands = typed(model, [{"x": rows(1, 1)}])
    assert list(islands) == ["blocks.0.norm/root", "blocks.0.norm/Div", "blocks.0.norm/Div (2)"]


def test_types_are_explicit_and_the_graphs_own_stay() -> None:
    half, _ = typed(magnitude_model(np.eye(2)), [ONES])
    onnx.checker.check_model(ir.to_proto(half), full_check=True)  # infers all types anew, and compares
    product = next(node for node in half.graph if node.op_type == "MatMul")
    assert all(value is not None and value.dtype == DataType.FLOAT16 for value in product.inputs)
    assert [value.dtype for value in (*half.graph.inputs, *half.graph.outputs)] == [DataType.FLOAT] * 3
    assert half.graph.outputs[0].name == "out"


def test_each_value_is_cast_once() -> None:
    half, _ = typed(magnitude_model(np.eye(2)), [ONES])
    # m and x to float16, the output back; x and y are float32 already where they are squared
    assert Counter(node.op_type for node in half.graph)["Cast"] == 3


def test_weights_are_stored_once_in_float16_under_their_names() -> None:
    half, _ = typed(magnitude_model(np.eye(2)), [ONES])
    assert {name: value.dtype for name, value in half.graph.initializers.items()} == {"w": DataType.FLOAT16}


def test_a_weight_that_an_island_shares_is_stored_once_too() -> None:
    body = "small = Mul(x, w)  root = Mul(w, x)  one = Div(x, root)  out = Add(small, one)"
    half, islands = typed(graph(body, "float[batch, 2] x", w=np.ones(2, np.float32)), [{"x": rows(4, 9)}])
    assert islands
    assert [(value.name, value.dtype) for value in half.graph.initializers.values()] == [("w", DataType.FLOAT16)]
    np.testing.assert_array_equal(outputs_of(half, {"x": rows(4, 9)})[0], rows(5, 10))


def test_a_weight_of_islands_alone_stays_in_float32() -> None:
    model = graph("out = Mul(x, w)", "float[batch, 2] x", w=np.full(2, 1e-7, np.float32))
    half, islands = typed(model, [{"x": rows(1, 1)}])
    assert len(islands) == 1
    assert [value.dtype for value in half.graph.initializers.values()] == [DataType.FLOAT]


def test_an_operator_gets_float32_where_onnx_wants_it() -> None:
    body = 'small = Add(x, x)  out = Resize <mode = "nearest"> (small, , scales)'
    model = graph(body, "float[2, 4] x", "float[4, 4] out", scales=np.array([2, 1], np.float32))
    half, islands = typed(model, [{"x": np.ones((2, 4), np.float32)}])
    onnx.checker.check_model(ir.to_proto(half), full_check=True)
    assert islands == {}
    resize = next(node for node in half.graph if node.op_type == "Resize")
    assert [value.dtype for value in resize.inputs if value] == [DataType.FLOAT16, DataType.FLOAT]


def test_numbers_that_an_operator_makes_out_of_nothing_are_cast() -> None:
    body = "shape = Shape(x)  half = ConstantOfShape <value = float[1] {0.5}> (shape)  out = Mul(x, half)"
    half, _ = typed(graph(body, "float[2, 2] x", "float[2, 2] out"), [{"x": rows(2, 4)[:2]}])
    onnx.checker.check_model(ir.to_proto(half), full_check=True)
    np.testing.assert_array_equal(outputs_of(half, {"x": rows(2, 4)[:2]})[0], rows(1, 2)[:2])
