"""int8 with float16 between the products, as TensorRT wants it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.graph.sessions import decibels, noise_to_signal
from hamsa_deploy.precision.int8.int8_sites import sites_of
from hamsa_deploy.precision.int8.qdq import (
    SMALLEST_THRESHOLD,
    int8_float16_from_float32,
    quantise,
    quantise_for_float16,
    rounded_weights,
)
from hamsa_deploy.precision.observers import RANGES, float32_values

from ..graphs import outputs_of
from ..products import classifier_graph, feeds, thresholds_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    return classifier_graph(tmp_path_factory.mktemp("classifier"), "tensorrt")


def typed(model: ir.Model, **changed: float) -> tuple[ir.Model, dict[str, str]]:
    """A copy in int8 and float16, with its islands; some thresholds may be changed."""
    copy, sites = model.clone(), sites_of(model.graph, "tensorrt")
    thresholds = thresholds_of(model, sites) | changed
    return copy, int8_float16_from_float32(copy, thresholds, sites, RANGES.watch(model, float32_values(model), feeds()))


def kinds(model: ir.Model, kind: str) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == kind]


def test_products_take_int8_and_give_float16(model: ir.Model) -> None:
    copy, _ = typed(model)
    products = [node for kind in ("MatMul", "Gemm", "Conv") for node in kinds(copy, kind)]
    producers = [[value.producer() if value is not None else None for value in node.inputs[:2]] for node in products]
    dequantised = [
        pair for pair in producers if all(node is not None and node.op_type == "DequantizeLinear" for node in pair)
    ]
    assert len(dequantised) == 5  # patches, left, right, mix, head: all but the transform
    for node in products:
        assert {value.dtype for value in (*node.inputs, *node.outputs) if value is not None} == {ir.DataType.FLOAT16}
    for node in (*kinds(copy, "QuantizeLinear"), *kinds(copy, "DequantizeLinear")):
        scale, zero = node.inputs[1], node.inputs[2]
        assert scale is not None
        assert zero is not None
        assert (scale.dtype, zero.dtype) == (ir.DataType.FLOAT16, ir.DataType.INT8)
        assert scale.const_value is not None
        assert (scale.const_value.numpy() > 0).all()  # TensorRT refuses 0
    assert [value.dtype for value in copy.graph.outputs] == [ir.DataType.FLOAT]


def test_products_of_one_activation_share_its_pair(model: ir.Model) -> None:
    copy, _ = typed(model)
    users = [sum(1 for _ in node.outputs[0].uses()) for node in kinds(copy, "QuantizeLinear")]
    assert users == [1] * len(users)
    shared = [node for node in kinds(copy, "DequantizeLinear") if len(list(node.outputs[0].uses())) > 1]
    assert len(shared) == 1  # left and right read the same tokens
    assert len(kinds(copy, "QuantizeLinear")) == 4


def test_float16_between_the_products_adds_no_noise(model: ir.Model) -> None:
    expected, half = outputs_of(model, feeds()), outputs_of(typed(model)[0], feeds())
    copy = model.clone()
    sites = sites_of(model.graph, "tensorrt")
    quantise(copy, thresholds_of(model, sites), sites)
    noise = [
        decibels(noise_to_signal({"logits": np.concatenate(found)}, {"logits": np.concatenate(expected)}))
        for found in (half, outputs_of(copy, feeds()))
    ]
    assert noise[0] > 32  # what eight bits leave, see test_int8.py
    assert noise[0] == pytest.approx(noise[1], abs=1.5)  # 11 bits against 8, and scales up to 2^-10 larger


def test_scales_are_exact_in_float16_and_never_too_small() -> None:
    generator = np.random.default_rng(0)
    weights = (generator.standard_normal((64, 8)) * np.logspace(-7, 3, 8)).astype(np.float32)
    weights[:, 3] = 0
    rounded, scales = rounded_weights(weights, 1, np.float16)
    assert (scales == scales.astype(np.float16).astype(np.float32)).all()
    assert (scales > 0).all()
    assert (scales.astype(np.float64) * 127 >= np.abs(weights).max(axis=0) * (1 - 1e-7)).all()  # nothing is clipped
    assert np.abs(rounded * scales - weights).max() <= (scales / 2).max() * (1 + 1e-6)
    assert not rounded[:, 3].any()


def test_a_scale_is_no_reason_for_an_island(tmp_path: Path) -> None:
    """Scales of small weights are below float16's normal numbers, and were chosen so that it does not matter."""
    model = classifier_graph(tmp_path, "tensorrt")
    for site in sites_of(model.graph, "tensorrt"):
        value = model.graph.initializers[site.weight]
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(1e-3), name=site.weight)
    copy, islands = typed(model)
    assert len(kinds(copy, "QuantizeLinear")) == 4
    assert not [name for name in islands if "quantize" in name]


@pytest.mark.parametrize("threshold", [70000.0, SMALLEST_THRESHOLD / 2])
def test_what_float16_cannot_hold_is_not_quantised(model: ir.Model, threshold: float) -> None:
    head = next(site for site in sites_of(model.graph, "tensorrt") if site.layer.startswith("head"))
    copy, _ = typed(model, **{head.activation: threshold})
    assert len(kinds(copy, "QuantizeLinear")) == 3
    assert all(np.isfinite(each).all() for each in outputs_of(copy, feeds(1)))


def test_an_island_keeps_its_float32_range(model: ir.Model) -> None:
    """A product whose result is beyond float16 takes its factors from int8 and computes in float32."""
    copy, sites = model.clone(), sites_of(model.graph, "tensorrt")
    ranges = RANGES.watch(model, float32_values(model), feeds())
    mix = next(node for node in model.graph if node.name == next(s.node for s in sites if s.layer.startswith("mix")))
    ranges[str(mix.outputs[0].name)] = 1e6
    islands = int8_float16_from_float32(copy, thresholds_of(model, sites), sites, ranges)
    node = next(each for each in copy.graph if each.name == mix.name)
    assert any(str(mix.name) in name and "overflow" in reason for name, reason in islands.items())
    assert {value.dtype for value in (*node.inputs, *node.outputs) if value is not None} == {ir.DataType.FLOAT}


def test_the_original_is_left_as_it_is(model: ir.Model) -> None:
    """onnx_ir's clones share the types of values."""
    typed(model)
    dtypes = {value.dtype for node in model.graph for value in node.outputs}
    assert ir.DataType.FLOAT16 not in dtypes


def test_what_a_dequantised_value_stands_for_is_returned(model: ir.Model) -> None:
    copy, sites = model.clone(), sites_of(model.graph, "tensorrt")
    stands_for = quantise_for_float16(copy, thresholds_of(model, sites), sites)
    assert sorted(stands_for.values()) == sorted({site.activation for site in sites})
    names = {str(value.name) for node in copy.graph for value in node.outputs}
    assert stands_for.keys() <= names
