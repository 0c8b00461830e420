"""Constants of an ONNX graph: reading them, computing with them, and storing new ones beside them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """The numbers of a constant, or None.

    An initialiser, or the transpose of one in the graph: a matrix that is used both ways is stored once.
    """
    if value is None:
        return None
    node = value.producer()
    if node is None:
        return None if value.const_value is None else value.const_value.numpy()
    if node.op_type != "Transpose":
        return None
    stored = constant_of(node.inputs[0])
    perm = node.attributes.get("perm")
    return None if stored is None else stored.transpose(None if perm is None else list(perm.as_ints()))


class NewConstants:
    """Adds initialisers to a graph, int64 or float32; equal ones are stored once."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._stored: dict[tuple[np.dtype, tuple[int, ...], bytes], ir.Value] = {}

    def add(self, array: np.ndarray, name: str) -> ir.Value:
        """The initialiser that holds an array; `name` is made unique."""
        array = np.array(array, dtype=np.int64 if array.dtype == np.int64 else np.float32)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._stored:
            tensor = ir.tensor(array, name=self._unused(name))
            kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
            value = ir.Value(name=tensor.name, type=kind, shape=shape, const_value=tensor)
            self.graph.register_initializer(value)
            self._stored[key] = value
        return self._stored[key]

    def _unused(self, name: str) -> str:
        taken, candidate, number = self.graph.initializers, name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        return candidate


def add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """An initialiser of that name; the one that is there if it has been added before."""
    if name not in graph.initializers:
        tensor = ir.tensor(array, name=name)
        shape = ir.Shape(array.shape)
        graph.register_initializer(
            ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        )
    return graph.initializers[name]


def drop_unused(model: ir.Model) -> None:
    """Remove nodes and initialisers that nothing uses any more."""
    RemoveUnusedNodesPass()(model)


def known_shape(value: ir.Value) -> tuple[int, ...] | None:
    """The shape, with 1 for what is known only at run time (the batch)."""
    if value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else 1 for size in value.shape)


def without_leading_ones(array: np.ndarray, least: int) -> np.ndarray:
    """The array with as few axes as broadcasting allows, but not fewer than `least`."""
    while array.ndim > least and array.shape[0] == 1:
        array = array[0]
    return array
