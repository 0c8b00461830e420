"""Small real bundles, made with onnx and openvino only: these tests also run where there is no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, CHANNELS, WIDTH, CLASSES = (8, 12), 3, 6, 4
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
LABELS = ["ant", "bee", "cat", "dog"]

_rng = np.random.default_rng(7)
MIX = _rng.standard_normal((WIDTH, CHANNELS, 1, 1)).astype(np.float32)
HEAD = _rng.standard_normal((CLASSES, WIDTH)).astype(np.float32)


def reference(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What the model of `image_model` computes from uint8 (N, H, W, C), in float64."""
    x = (pixels / 255.0 - MEAN) / STD
    embedding = np.maximum(x @ MIX[:, :, 0, 0].astype(float).T, 0).mean(axis=(1, 2))
    return {"embedding": embedding, "logits": embedding @ HEAD.astype(float).T}


def image_model(normalise: str, batch: int | str) -> onnx.ModelProto:
    """Normalise, 1x1 convolution, ReLU, global average pool ("embedding"), linear head ("logits")."""
    constants = {
        "scale": 255 * np.array(STD, np.float32),
        "shift": 255 * np.array(MEAN, np.float32),
        "mix": MIX,
        "head": HEAD,
    }
    nodes = [
        helper.make_node("Conv", ["x", "mix"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "head"], ["logits"], transB=1),
    ]
    image = ("x", TensorProto.FLOAT, [batch, CHANNELS, *SIZE])
    if normalise == "graph":
        image = ("image", TensorProto.UINT8, [batch, *SIZE, CHANNELS])
        nodes = [
            helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["floats", "shift"], ["centred"]),
            helper.make_node("Div", ["centred", "scale"], ["normalised"]),
            helper.make_node("Transpose", ["normalised"], ["x"], perm=[0, 3, 1, 2]),
            *nodes,
        ]
    outputs = [("embedding", [batch, WIDTH]), ("logits", [batch, CLASSES])]
    return onnx_model(nodes, [image], [(name, TensorProto.FLOAT, shape) for name, shape in outputs], constants)


def onnx_model(nodes: list[Any], inputs: Any, outputs: Any, constants: dict[str, Any]) -> onnx.ModelProto:
    """A checked model; opset and IR version are old enough for every engine tested."""
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def typed_as_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and all between the graph's inputs and outputs in float16; those keep their types and names."""
    graph, half = model.graph, TensorProto.FLOAT16
    for weight in graph.initializer:
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name))
    floats = [value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT]
    outputs = [value.name for value in graph.output]
    for node in graph.node:
        node.input[:] = [f"{name}_half" if name in (*floats, *outputs) else name for name in node.input]
        node.output[:] = [f"{name}_half" if name in outputs else name for name in node.output]
        if node.op_type == "Cast":
            node.attribute[0].i = half
    before = [helper.make_node("Cast", [name], [f"{name}_half"], to=half) for name in floats]
    after = [helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT) for name in outputs]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest_for(**changes: Any) -> dict[str, Any]:
    """A whole manifest of the image model that normalises in the graph, without files."""
    manifest: dict[str, Any] = {
        "schema": 1,
        "name": "tiny",
        "model": {"reference": "tests:tiny", "config": {}, "weights": None, "parameters": 42},
        "inputs": [{"name": "image", "dtype": "uint8", "shape": ["batch", *SIZE, CHANNELS], "layout": "NHWC"}],
        "outputs": [
            {"name": "embedding", "dtype": "float32", "shape": ["batch", WIDTH]},
            {"name": "logits", "dtype": "float32", "shape": ["batch", CLASSES]},
        ],
        "preprocessing": {
            "size": list(SIZE),
            "channels": CHANNELS,
            "resize": "bicubic",
            "crop_fraction": 1.0,
            "mean": list(MEAN),
            "std": list(STD),
            "normalise": "graph",
        },
        "labels": LABELS,
        "target": "onnx",
        "precision": "fp32",
        "options": {},
        "plan": [{"module": "blocks.0", "length": 96, "factors": [8, 12], "kind": "two-factor"}],
        "files": {},
        "versions": {"onnx": onnx.__version__},
        "calibration": None,
        "parity": None,
    }
    return {**manifest, **changes}


def write_files(folder: Path, manifest: dict[str, Any]) -> Path:
    """Adds a manifest with the hashes of all files in the folder."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": files}))
    return folder


def save_model(model: onnx.ModelProto, folder: Path, target: str) -> None:
    """model.onnx, or model.xml and model.bin."""
    folder.mkdir(parents=True)
    if target != "openvino":
        onnx.save(model, folder / "model.onnx")
        return
    from hamsa_runtime.backends.quiet import no_usage_reports

    with no_usage_reports():
        import openvino

    source = folder / "source.onnx"
    onnx.save(model, source)
    openvino.save_model(openvino.Core().read_model(source), folder / "model.xml", compress_to_fp16=False)
    source.unlink()


MakeBundle = Callable[..., Path]
