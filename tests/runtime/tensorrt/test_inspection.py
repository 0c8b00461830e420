"""Layers from the inspector's text: in the forms of TensorRT 10, of 11, and of TensorRT-RTX's own log."""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import pytest

from hamsa_runtime.errors import BuildError
from hamsa_runtime.tensorrt.inspection import Layer, counts, fused, layers_of


def tensor(words: str, dimensions: tuple[int, ...] = (1, 196, 384)) -> dict[str, Any]:
    return {"Name": "t", "Location": "Device", "Dimensions": list(dimensions), "Format/Datatype": words}


def tensor_of_11(kind: str, dimensions: tuple[int, ...] = (1, 196, 384)) -> dict[str, Any]:
    return {"Name": "t", "Dimensions": list(dimensions), "Datatype": kind, "Format": "(Linear) Row major linear format"}


def layer(name: str, kind: str, inputs: list[Any], outputs: list[Any], **more: Any) -> dict[str, Any]:
    return {"Name": name, "LayerType": kind, "Inputs": inputs, "Outputs": outputs, "StreamId": 0, **more}


# A stem from the kernel library, compiled layers, and one that was left in float32.
OF_10 = {
    "Layers": [
        layer(
            "Reformatting CopyNode for Input Tensor 0 to /stem/Conv",
            "Reformat",
            [tensor("Row major linear FP32", (1, 3, 224, 224))],
            [tensor("Channel major FP16 format where channel % 4 == 0", (1, 3, 224, 224))],
            Metadata="",
        ),
        layer(
            "/stem/Conv",
            "CaskConvolution",
            [tensor("Channel major FP16 format where channel % 4 == 0", (1, 3, 224, 224))],
            [tensor("Channel major FP16 format where channel % 8 == 0", (1, 96, 56, 56))],
            Weights={"Type": "Half", "Count": 4608},
            Metadata="[ONNX Layer: /stem/Conv]",
        ),
        layer(
            "__myl_MeanSubMulMeanAddSqrtDivMul_myl0_1",
            "kgen",
            [tensor("Half")],
            [tensor("Half")],
            Metadata="[ONNX Layer: /norm/LayerNormalization]\x1e[ONNX Layer: /reshape]\x1f[ONNX Layer: /reshape]",
        ),
        layer("/gate/MatMul_myl0_2", "gemm", [tensor("Int8"), tensor("Half", (1,))], [tensor("Half")], Metadata=""),
        layer("/abs/Sqrt", "kgen", [tensor("Float")], [tensor("Float")], Metadata="[ONNX Layer: /abs/Sqrt]"),
        layer("/select/Gather", "kgen", [tensor("Int64")], [tensor("Int64")], Metadata="[ONNX Layer: /select/Gather]"),
    ],
    "Bindings": ["images", "logits"],
}
OF_11 = {
    "Layers": [
        layer("__mye1_0_myl0_0", "shape_call", [], [], Constants=[], Metadata=""),
        layer("[wait]", "wait", [], [], Metadata=""),
        layer(
            "node_linear_myl0_1",
            "gemm",
            [tensor_of_11("Half")],
            [tensor_of_11("Half")],
            # the two numbers that every product is scaled with are no weights
            Constants=[tensor_of_11("Half", (384, 384)), tensor_of_11("Float", (1,)), tensor_of_11("Float", (1,))],
            Metadata="[ONNX Layer: node_linear][ONNX Layer: node_add]",
        ),
    ],
    "I/O Tensors": [{"Name": "images", "IOMode": "Input", "DataType": "Float", "Dimensions": [-1, 3, 224, 224]}],
    "Engine Metadata": {"Multi-Device": "Disabled"},
}


def text_of(document: Any) -> str:
    """As TensorRT writes it: the control characters are not escaped."""
    return json.dumps(document).replace("\\u001e", "\x1e").replace("\\u001f", "\x1f")


def test_layers_of_tensorrt_10() -> None:
    reformat, stem, norm, gate, sqrt, gather = layers_of(text_of(OF_10))
    assert stem == Layer("/stem/Conv", "CaskConvolution", ("f16",), ("f16",), ("f16",), ("/stem/Conv",))
    assert (reformat.inputs, reformat.outputs, reformat.precision) == (("f32",), ("f16",), "f32")
    assert norm.nodes == ("/norm/LayerNormalization", "/reshape")
    assert (gate.inputs, gate.precision, gate.nodes) == (("i8", "f16"), "i8", ())
    assert (sqrt.precision, gather.precision) == ("f32", "i64")


def test_layers_of_tensorrt_11() -> None:
    [product] = layers_of(text_of(OF_11))
    assert product == Layer("node_linear_myl0_1", "gemm", ("f16",), ("f16",), ("f16",), ("node_linear", "node_add"))


def test_layers_are_counted_by_what_they_compute_in() -> None:
    layers = layers_of(text_of(OF_10))
    assert counts(layers) == {"f16": 2, "f32": 2, "i8": 1, "i64": 1}
    assert [each.name for each in fused(layers)] == ["__myl_MeanSubMulMeanAddSqrtDivMul_myl0_1"]


def test_types_that_are_not_told_are_unknown() -> None:
    unknown = [tensor("N/A due to dynamic shapes", (-1, 3))]
    document = {"Layers": [layer("a", "Reformat", unknown, unknown), layer("b", "Pooling", unknown, unknown)]}
    document["Layers"][1]["Weights"] = {"Type": "Half", "Count": 9}
    first, second = layers_of(text_of(document))
    assert (first.precision, second.precision) == ("unknown", "f16")


def test_names_alone_are_layers_without_types() -> None:
    [first, second] = layers_of('{"Layers": ["/stem/Conv + /stem/Relu", "/head/Gemm"],\n"Bindings": ["x"]}')
    assert (first.name, first.kind, first.precision) == ("/stem/Conv + /stem/Relu", "", "unknown")
    assert second.nodes == ()


@pytest.mark.parametrize("text", ["", "{}", '{"Layers": 3}', "{", "[]", '{"Layers": []}', "The verbosity was kNONE"])
def test_a_text_without_layers_is_an_error(text: str) -> None:
    with pytest.raises(BuildError, match="no list of layers"):
        layers_of(text)


def built_log(kind: str) -> str:
    """What TensorRT-RTX writes into its log when it has built relu(x w) w: needs no GPU."""
    try:
        trt: Any = importlib.import_module("tensorrt_rtx")
    except (ImportError, OSError) as error:
        pytest.skip(f"tensorrt_rtx cannot be imported: {error}")

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            self.lines.append(text)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    x = network.add_input("x", getattr(trt.DataType, kind), (4, 16))
    weights = np.linspace(-1, 1, 256).reshape(16, 16).astype({"FLOAT": np.float32, "HALF": np.float16}[kind])
    for name in ("first", "second"):
        constant = network.add_constant((16, 16), weights).get_output(0)
        product = network.add_matrix_multiply(x, trt.MatrixOperation.NONE, constant, trt.MatrixOperation.NONE)
        product.name = name
        x = product.get_output(0)
        if name == "first":
            x = network.add_activation(x, trt.ActivationType.RELU).get_output(0)
    network.mark_output(x)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    assert builder.build_serialized_network(network, config) is not None
    [text] = [line for line in log.lines if line.startswith("Layers:")]
    return text


@pytest.mark.parametrize(("kind", "precision"), [("FLOAT", "f32"), ("HALF", "f16")])
def test_layers_of_tensorrt_rtx_from_a_real_build(kind: str, precision: str) -> None:
    layers = layers_of(built_log(kind))
    products = [each for each in layers if "first" in each.name or "second" in each.name or each.kind == "gemm"]
    assert len(products) >= 1
    assert counts(layers) == {precision: len(layers)}
    assert all(set(each.inputs) == set(each.outputs) == {precision} for each in products)
