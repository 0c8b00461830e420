"""QuantizeLinear and DequantizeLinear: what they compute, where they are, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from hamsa_deploy.graph.sessions import decibels, noise_to_signal
from hamsa_deploy.precision.int8.int8_sites import sites_of
from hamsa_deploy.precision.int8.qdq import dequantised_weights, quantise, rounded_weights, scale_of

from ..graphs import outputs_of
from ..products import classifier_graph, feeds, quantised, thresholds_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    return classifier_graph(tmp_path_factory.mktemp("classifier"))


def test_sites_are_products_with_weights_and_no_transforms(model: ir.Model) -> None:
    layers = [site.layer.split(" ")[0] for site in sites_of(model.graph, "openvino")]
    assert layers == ["patches", "left", "right", "mix", "head"]


def test_onnx_runtime_is_given_only_what_it_has_an_int8_kernel_for(model: ir.Model) -> None:
    layers = [site.layer.split(" ")[0] for site in sites_of(model.graph, "onnx")]
    assert layers == ["left", "right", "mix"]


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_rounded_to_half_a_step_of_their_channel(axis: int) -> None:
    weights = np.random.default_rng(0).normal(size=(6, 7)) * np.logspace(-3, 3, 7)
    rounded, scales = rounded_weights(weights, axis)
    steps = scales[:, None] if axis == 0 else scales[None]
    assert rounded.dtype == np.int8
    assert np.abs(rounded).max(axis=1 - axis).tolist() == [127] * weights.shape[axis]
    assert (np.abs(dequantised_weights(weights, axis) - weights) <= steps * 0.501).all()


def test_a_channel_of_zeros_has_a_scale_that_is_neither_zero_nor_subnormal() -> None:
    rounded, scales = rounded_weights(np.zeros((4, 3)), axis=1)
    assert not rounded.any()
    assert (scales >= np.finfo(np.float32).tiny).all()


def test_scales_of_products_that_share_an_activation_differ_in_the_last_bit() -> None:
    assert scale_of(127.0, 0) == 1
    assert scale_of(127.0, 1) == np.nextafter(np.float32(1), np.float32(2))


def test_everything_is_symmetric_and_int8(model: ir.Model) -> None:
    graph = quantised(model).graph
    for node in graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = node.inputs[2]
            assert zero is not None
            assert zero.const_value is not None
            assert zero.dtype == ir.DataType.INT8
            assert not zero.const_value.numpy().any()
    products = [node for node in graph if node.op_type in ("MatMul", "Gemm", "Conv")]
    sources = [[value.producer() for value in node.inputs[:2] if value is not None] for node in products]
    both = [all(s is not None and s.op_type == "DequantizeLinear" for s in pair) for pair in sources]
    assert sum(both) == 5


def test_nobody_else_sees_a_rounded_activation(model: ir.Model) -> None:
    for node in quantised(model).graph:
        if node.op_type == "DequantizeLinear":
            users = [user.op_type for user, _ in node.outputs[0].uses()]
            assert users in (["MatMul"], ["Gemm"], ["Conv"])


def test_the_file_computes_what_integers_would(model: ir.Model) -> None:
    """One product by hand: int8 factors, int32 sum, one multiplication."""
    site = next(site for site in sites_of(model.graph, "onnx") if site.layer.startswith("left"))
    nodes = {str(node.name): node for node in model.graph}
    weight = nodes[site.node].inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    copy = model.clone()
    t = thresholds_of(model, [site])[site.activation]
    quantise(copy, {site.activation: t}, [site])
    product = {str(node.name): node for node in copy.graph}[site.node]
    values = {str(value.name): value for node in copy.graph for value in node.outputs}
    copy.graph.outputs[:] = [values[site.activation], product.outputs[0]]
    x, found = outputs_of(copy, feeds(1))
    rounded, scales = rounded_weights(weight.const_value.numpy(), 1)
    levels = np.clip(np.rint(x / scale_of(t)), -128, 127).astype(np.int32)
    np.testing.assert_allclose(
        found, (levels @ rounded.astype(np.int32)) * (scale_of(t) * scales), rtol=1e-5, atol=1e-6
    )


def test_the_noise_is_that_of_eight_bits(model: ir.Model) -> None:
    """A sum of 16 products of 7-bit magnitudes: 38 to 44 dB each, five of them in a row."""
    expected, found = ({"logits": np.concatenate(outputs_of(m, feeds()))} for m in (model, quantised(model)))
    assert decibels(noise_to_signal(found, expected)) > 32


@pytest.mark.parametrize("batch", [None, 2])
def test_onnx_runtime_computes_every_site_in_int8(batch: int | None, tmp_path: Path) -> None:
    kinds = _optimised(quantised(classifier_graph(tmp_path, batch=batch), "onnx"), tmp_path)
    assert kinds["MatMulIntegerToFloat"] == 3
    assert kinds["DequantizeLinear"] == 0


def test_without_the_raised_biases_it_would_not(tmp_path: Path) -> None:
    """The reason for `_keep_from_becoming_gemm`: if this fails, ONNX Runtime has learned, and it can go."""
    copy = quantised(classifier_graph(tmp_path, batch=2), "onnx")
    for node in copy.graph:
        for index, value in enumerate(node.inputs):
            if value is not None and str(value.name).endswith("_rank3"):
                assert value.const_value is not None
                numbers = value.const_value.numpy().reshape(-1)
                flat = ir.tensor(numbers, name=f"{value.name}_flat")
                lowered = ir.Value(
                    name=flat.name, type=ir.TensorType(flat.dtype), shape=ir.Shape(numbers.shape), const_value=flat
                )
                copy.graph.register_initializer(lowered)
                node.replace_input_with(index, lowered)
    assert _optimised(copy, tmp_path)["MatMulIntegerToFloat"] < 3


def _optimised(model: ir.Model, folder: Path) -> Counter[str]:
    """The operators of ONNX Runtime's own optimised graph."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)
