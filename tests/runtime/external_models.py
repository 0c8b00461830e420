"""Small models whose tensors lie in other files, in every place that a tensor can be in; bundles of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from .tiny_bundles import manifest_for, write_files

WEIGHTS = np.array([5, 6], np.float32)
STANDARD = helper.make_opsetid("", 18)


def external(**entries: Any) -> TensorProto:
    """(2,) of float32 that lies elsewhere."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def adding(weights: TensorProto | None = None) -> ModelProto:
    """y = x + w."""
    weights = weights or helper.make_tensor("w", TensorProto.FLOAT, [2], WEIGHTS)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weights])
    return helper.make_model(graph, opset_imports=[STANDARD], ir_version=10)


def bundle_of(model: ModelProto, folder: Path, files: dict[str, bytes] | None = None, **changes: Any) -> Path:
    """A bundle whose manifest lists the model and the files at the top of the folder."""
    folder.mkdir(parents=True)
    for name, data in {"model.onnx": model.SerializeToString(), **(files or {})}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    arrays = {"preprocessing": None, "labels": None}
    inputs = [{"name": "x", "dtype": "float32", "shape": ["batch", 2], "layout": None}]
    outputs = [{"name": "y", "dtype": "float32", "shape": ["batch", 2]}]
    return write_files(folder, manifest_for(**{**arrays, "inputs": inputs, "outputs": outputs, **changes}))


def _attribute(model: ModelProto, **fields: Any) -> None:
    model.graph.node[0].attribute.append(onnx.AttributeProto(name="a", **fields))


def _branch(tensor: TensorProto) -> onnx.GraphProto:
    return onnx.GraphProto(name="branch", initializer=[tensor])


def _function(model: ModelProto, **fields: Any) -> None:
    model.functions.append(onnx.FunctionProto(domain="own", name="F", opset_import=[STANDARD], **fields))


def _node(tensor: TensorProto) -> onnx.NodeProto:
    return onnx.NodeProto(op_type="Constant", attribute=[onnx.AttributeProto(name="value", t=tensor)])


# Puts a tensor there that the graph does not use: an engine may read it all the same.
PLACES: dict[str, Callable[[ModelProto, TensorProto], None]] = {
    "an initializer": lambda model, tensor: model.graph.initializer.append(tensor),
    "an attribute": lambda model, tensor: _attribute(model, t=tensor),
    "a list of tensors": lambda model, tensor: _attribute(model, tensors=[tensor]),
    "a branch": lambda model, tensor: _attribute(model, g=_branch(tensor)),
    "a list of branches": lambda model, tensor: _attribute(model, graphs=[_branch(tensor)]),
    "a branch of a branch": lambda model, tensor: _attribute(
        model,
        g=onnx.GraphProto(node=[onnx.NodeProto(attribute=[onnx.AttributeProto(name="b", g=_branch(tensor))])]),
    ),
    "a sparse initializer": lambda model, tensor: model.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=tensor)
    ),
    "a sparse attribute": lambda model, tensor: _attribute(model, sparse_tensor=onnx.SparseTensorProto(indices=tensor)),
    "a list of sparse ones": lambda model, tensor: _attribute(
        model, sparse_tensors=[onnx.SparseTensorProto(values=tensor)]
    ),
    "a function": lambda model, tensor: _function(model, node=[_node(tensor)]),
    "a default of a function": lambda model, tensor: _function(
        model, attribute_proto=[onnx.AttributeProto(name="a", t=tensor)]
    ),
    "what it was trained with": lambda model, tensor: model.training_info.add().algorithm.initializer.append(tensor),
}
