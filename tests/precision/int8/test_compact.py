"""Constants stored as float16: half as large, close to what they were, and gone again in the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from hamsa_deploy.graph.constants import add_constant
from hamsa_deploy.graph.sessions import decibels, noise_to_signal
from hamsa_deploy.precision.int8.compact import store_as_float16, store_as_int8
from hamsa_deploy.precision.int8.int8_sites import other_sites_of

from ..graphs import outputs_of
from ..products import classifier_graph, feeds

WIDTH = 40


def graph_with(constant: np.ndarray) -> ir.Model:
    """y = x + constant."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(constant.shape))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 20}, name="sum")
    node = ir.node("Add", [x, add_constant(graph, "constant", constant)], name="add")
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = "y", x.type, x.shape
    graph.append(node)
    graph.outputs.append(node.outputs[0])
    return ir.Model(graph, ir_version=10)


def is_halved(model: ir.Model) -> bool:
    return any(value.dtype == ir.DataType.FLOAT16 for value in model.graph.initializers.values())


def test_a_constant_is_stored_in_half_the_bytes_and_is_what_it_was_to_eleven_bits(tmp_path: Path) -> None:
    constant = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    model = graph_with(constant)
    store_as_float16(model)
    assert [value.dtype for value in model.graph.initializers.values()] == [ir.DataType.FLOAT16]
    (found,) = outputs_of(model, [{"x": np.zeros_like(constant)}])
    np.testing.assert_allclose(found, constant, rtol=2.0**-11)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node] == ["Add"]


@pytest.mark.parametrize("factor", [1e6, 1e-9, 0.0], ids=["overflows", "vanishes", "zero"])
def test_what_float16_cannot_hold_stays(factor: float) -> None:
    constant = factor * np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    model = graph_with(constant)
    store_as_float16(model)
    assert not is_halved(model)


def test_weights_without_an_int8_kernel_are_stored_in_int8_all_the_same(tmp_path: Path) -> None:
    model = classifier_graph(tmp_path, "onnx")
    sites = other_sites_of(model.graph, "onnx")
    assert [site.layer.split(" ")[0] for site in sites] == ["patches", "head"]
    copy = model.clone()
    store_as_int8(copy, sites)
    kinds = [value.dtype for value in copy.graph.initializers.values()]
    assert kinds.count(ir.DataType.INT8) == 2
    for site in sites:
        assert site.weight not in copy.graph.initializers
    expected, found = ({"y": np.concatenate(outputs_of(m, feeds()))} for m in (model, copy))
    assert 35 < decibels(noise_to_signal(found, expected)) < 60  # rounding to seven bits and a sign


def test_what_is_small_stays() -> None:
    model = graph_with(np.ones(8, np.float32))
    store_as_float16(model)
    assert not is_halved(model)
