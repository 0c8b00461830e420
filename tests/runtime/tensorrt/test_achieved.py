"""What was asked for and what the layers of a plan compute in; and that a layer which fell back is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hamsa_runtime.tensorrt.achieved import achieved, asked_types, fallen_text
from hamsa_runtime.tensorrt.building import plan_from_onnx
from hamsa_runtime.tensorrt.inspection import Layer
from hamsa_runtime.tensorrt.modules import log_of
from hamsa_runtime.tensorrt.options import BuildOptions

from ..tiny_bundles import onnx_model

ASKED = {"a/product": "i8", "a/bias": "f16", "b/root": "f32", "b/scale": "f16", "c/shape": "i64"}


def layer(inputs: str, outputs: str, *nodes: str, constants: str = "") -> Layer:
    return Layer("name", "gemm", tuple(inputs.split()), tuple(outputs.split()), tuple(constants.split()), nodes)


@pytest.mark.parametrize(
    "one",
    [
        layer("i8", "f16", "a/product", "a/bias", constants="i8"),
        layer("f16", "f32", "b/root"),
        layer("f32", "f32", "b/root"),
        layer("f32", "f32", "b/root", "b/scale"),  # what one of them was asked for
        layer("f32", "f16", "b/scale"),  # with the conversion in front of it
        layer("f16", "f16", "a/bias"),
        layer("unknown", "unknown", "a/product"),
        layer("i64", "i64", "c/shape"),
        layer("f32", "f32", "nobody's"),
        layer("f32", "f32"),
    ],
)
def test_a_layer_is_as_asked_for(one: Layer) -> None:
    assert achieved([one], ASKED).fell_back == []


@pytest.mark.parametrize(
    "one",
    [
        layer("f16", "f16", "a/product", "a/bias", constants="f16"),
        layer("f16", "f16", "a/product", constants="i8"),  # int8 weights only
        layer("f32", "f32", "b/scale"),
        layer("f32", "f32", "b/scale", "a/bias"),
    ],
)
def test_a_layer_that_fell_back_is_named_by_its_first_node(one: Layer) -> None:
    found = achieved([one, layer("f16", "f16", "a/bias")], ASKED)
    assert found.fell_back == [one.nodes[0]]
    assert sum(found.layers.values()) == 2
    assert found.fused == int(len(one.nodes) > 1)


def test_one_layer_of_a_product_that_takes_int8_is_enough() -> None:
    parts = [layer("i8", "f32", "a/product"), layer("f32", "f16", "a/product", "a/bias")]
    assert achieved(parts, ASKED).fell_back == []


def test_many_that_fell_back_are_counted() -> None:
    text = fallen_text([f"layer_{number}" for number in range(7)])
    assert text.startswith("7 layers of the plan compute in a wider type")
    assert "layer_4 and 2 more" in text
    assert "layer_5" not in text


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of int8 factors, its float16 bias, and a float16 product, from float32 to float32."""
    rng = np.random.default_rng(0)
    constants = {
        "step": np.array(0.02, np.float16),
        "zero": np.array(0, np.int8),
        "weights": rng.integers(-127, 128, (64, 64), dtype=np.int8),
        "steps": np.full(64, 0.01, np.float16),
        "zeros": np.zeros(64, np.int8),
        "bias": np.ones(64, np.float16),
        "other": rng.standard_normal((64, 64)).astype(np.float16),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], name="a/narrow", to=TensorProto.FLOAT16),
        helper.make_node("QuantizeLinear", ["h", "step", "zero"], ["q"], name="a/quantize"),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["d"], name="a/dequantize"),
        helper.make_node("DequantizeLinear", ["weights", "steps", "zeros"], ["w"], name="a/weights", axis=1),
        helper.make_node("MatMul", ["d", "w"], ["p"], name="a/product"),
        helper.make_node("Add", ["p", "bias"], ["s"], name="a/bias"),
        helper.make_node("MatMul", ["s", "other"], ["o"], name="b/product"),
        helper.make_node("Cast", ["o"], ["y"], name="b/wide", to=TensorProto.FLOAT),
    ]
    shape = [2, 8, 64]  # one more axis than the weights have
    model = onnx_model(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)], constants)
    model.opset_import[0].version = 20
    path = tmp_path_factory.mktemp("quantised") / "model.onnx"
    onnx.save(model, path)
    return path


def test_a_network_says_what_each_node_is_to_give(rtx: Any, quantised: Path) -> None:
    builder = rtx.Builder(log_of(rtx))
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert rtx.OnnxParser(network, log_of(rtx)).parse_from_file(str(quantised))
    asked = asked_types(network)
    expected = {"a/product": "i8", "a/bias": "f16", "b/product": "f16", "b/wide": "f32", "a/narrow": "f16"}
    assert asked == expected


def test_a_real_plan_has_the_int8_product_and_the_float16_one(rtx: Any, quantised: Path) -> None:
    built = plan_from_onnx(rtx, quantised, BuildOptions())
    assert built.achieved is not None
    assert built.achieved.fell_back == []
    assert {"i8", "f16"} <= built.achieved.layers.keys()
    assert built.achieved.fused >= 1
