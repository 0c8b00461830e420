"""Faults planted in a bundle's ONNX file. Each takes the folder of a bundle, and leaves it valid by its hashes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from tests.rewriting import rewrite_manifest

Fault = Callable[[ir.Model], None]


def with_fault(bundle: Path, folder: Path, fault: Fault) -> Path:
    """A copy of a bundle in `folder`, with a fault in its graph."""
    shutil.copytree(bundle, folder)
    model = ir.load(folder / "model.onnx")
    fault(model)
    ir.save(model, folder / "model.onnx")
    rewrite_manifest(folder)
    return folder


def nodes(model: ir.Model, module: str, operator: str) -> list[ir.Node]:
    """The nodes of one kind in a module."""
    found = [n for n in model.graph if n.op_type == operator and n.metadata_props.get("module", "") == module]
    assert found, f"no {operator} in {module}"
    return found


def change_constant(model: ir.Model, node: ir.Node, index: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Give a node a changed copy of its constant input; others that share the constant keep theirs."""
    value = node.inputs[index]
    assert value is not None
    assert value.const_value is not None
    array = change(value.const_value.numpy().copy())
    tensor = ir.tensor(array, name=f"{value.name}_changed")
    changed = ir.Value(name=tensor.name, type=value.type, shape=ir.Shape(array.shape), const_value=tensor)
    model.graph.register_initializer(changed)
    node.replace_input_with(index, changed)


def insert_behind(model: ir.Model, value: ir.Value, operator: str, *others: np.ndarray, **attributes: int) -> None:
    """Let everybody who reads a value read an operator of it."""
    users = [(node, index) for node, index in value.uses()]
    constants = []
    for i, array in enumerate(others):
        tensor = ir.tensor(array, name=f"planted_{i}")
        constant = ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), const_value=tensor)
        model.graph.register_initializer(constant)
        constants.append(constant)
    node = ir.node(operator, [value, *constants], attributes, name="planted")
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = "planted", value.type, value.shape
    producer = value.producer()
    assert producer is not None
    node.metadata_props.update(producer.metadata_props)
    model.graph.insert_after(producer, node)
    for user, index in users:
        user.replace_input_with(index, node.outputs[0])
