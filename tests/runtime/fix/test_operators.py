"""What a node computes, as far as the graph says; and what it says too little of."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from hamsa_runtime.errors import UnsupportedTransformError
from hamsa_runtime.fix.operators import Dft, Stft
from hamsa_runtime.fix.replacement import operators_in

from .files import INT64, dft_model, graph_model, scalar


def vector(name: str, *numbers: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(numbers, dtype=np.int64), name)


def computed(nodes: list[onnx.NodeProto], shape: list[Any], **constants: onnx.TensorProto) -> Dft | Stft:
    """What the one transform of a graph computes."""
    named = [*constants.values()]
    ((found, _),) = operators_in(ir.from_proto(graph_model(nodes, shape, 4, constants=named)))
    return found


def dft(*inputs: str) -> onnx.NodeProto:
    return helper.make_node("DFT", ["x", *inputs], ["y"], name="spectrum")


def test_numbers_may_be_initializers_constant_nodes_or_computed_from_such() -> None:
    nodes = [
        helper.make_node("Constant", [], ["axis"], value_int=-3),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "second"], ["points"], axis=0),
        helper.make_node("Mul", ["points", "two"], ["length"]),
        dft("length", "axis"),
    ]
    found = computed(nodes, ["N", 12, "C", 2], second=scalar("second", 1), two=scalar("two", 2))
    assert isinstance(found, Dft)
    assert (found.shape, found.axis, found.length) == ((None, 12, None, 2), 1, 24)


def test_sizes_are_read_where_they_are_known() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["middle"], start=1, end=-1),
        helper.make_node("ReduceProd", ["middle"], ["length"], keepdims=0),
        dft("length", ""),
    ]
    found = computed(nodes, ["N", 4, 6, 1])
    assert found.length == 24


def test_a_window_function_of_the_standard_is_known() -> None:
    nodes = [
        helper.make_node("HannWindow", ["size"], ["hann"], periodic=1),
        helper.make_node("Cast", ["hann"], ["window"], to=onnx.TensorProto.DOUBLE),
        helper.make_node("STFT", ["x", "step", "window"], ["y"], name="frames"),
    ]
    found = computed(nodes, ["N", "L", 1], size=scalar("size", 400), step=scalar("step", 160))
    assert found == Stft((None, None, 1), ir.DataType.DOUBLE, 160, 400, True, True)


def test_a_number_that_the_caller_may_replace_is_none() -> None:
    proto = dft_model([2, 8, 1], axis=1)
    proto.graph.input.append(helper.make_tensor_value_info("axis", INT64, []))
    with pytest.raises(
        UnsupportedTransformError, match="axis is an input of the graph, which has a default only"
    ) as error:
        operators_in(ir.from_proto(proto))
    assert "RemoveInitializersFromInputsPass" in str(error.value)
    del proto.graph.initializer[:]
    with pytest.raises(UnsupportedTransformError, match="the input axis is an input of the graph\n"):
        operators_in(ir.from_proto(proto))


def test_nothing_large_or_random_is_computed_for_a_number() -> None:
    large = [
        helper.make_node("Expand", ["one", "huge"], ["ones"]),
        helper.make_node("ReduceSum", ["ones"], ["length"], keepdims=0),
        dft("length", ""),
    ]
    with pytest.raises(UnsupportedTransformError, match="dft_length is computed"):
        computed(large, [2, 8, 1], one=scalar("one", 1), huge=vector("huge", 2**40))
    random = [
        helper.make_node("RandomUniform", [], ["uniform"], shape=[1], low=4.0, high=9.0),
        helper.make_node("Cast", ["uniform"], ["length"], to=INT64),
        dft("length", ""),
    ]
    with pytest.raises(UnsupportedTransformError, match="dft_length is computed"):
        computed(random, [2, 8, 1])


def test_several_numbers_for_one_are_refused() -> None:
    with pytest.raises(UnsupportedTransformError, match="2 numbers for dft_length"):
        computed([dft("length", "")], [2, 8, 1], length=vector("length", 4, 5))


def test_each_node_that_cannot_be_replaced_is_named_with_its_reason() -> None:
    nodes = [
        helper.make_node("DFT", ["x", "", "axis"], ["a"], name="first"),
        helper.make_node("DFT", ["x", "", "last"], ["b"], name="second"),
        helper.make_node("DFT", ["x", "length", "axis"], ["c"], name="third"),
        helper.make_node("Sum", ["a", "b", "c"], ["y"]),
    ]
    constants = [scalar("axis", 1), scalar("last", -1), scalar("length", 8)]
    with pytest.raises(UnsupportedTransformError) as caught:
        operators_in(ir.from_proto(graph_model(nodes, ["N", "L", 1], 3, constants=constants)))
    text = str(caught.value)
    assert "2 of 3 nodes" in text
    assert "'first': a transform along axis 1, whose length is dynamic" in text
    assert "'second': axis -1 of 3 dimensions" in text
    assert "third" not in text
    assert "make_dynamic_shape_fixed" in text


def test_matrices_that_no_file_can_hold_are_refused_with_a_way_out() -> None:
    """Two times a prime: a product of 44,101 points for each half of it."""
    with pytest.raises(
        UnsupportedTransformError, match=r"'spectrum': the matrices of 88202 points would have \d"
    ) as caught:
        operators_in(ir.from_proto(dft_model(["N", 88202, 1], axis=1, onesided=1)))
    assert "small factors" in str(caught.value)
