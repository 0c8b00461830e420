"""Small edits of an ONNX graph that the passes of this folder share."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """An initialiser of that name; the one that is there if it has been added before."""
    if name not in graph.initializers:
        tensor = ir.tensor(array, name=name)
        shape = ir.Shape(array.shape)
        graph.register_initializer(
            ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        )
    return graph.initializers[name]


def insert_before(
    graph: ir.Graph, user: ir.Node, node: ir.Node, dtype: ir.DataType, shape: ir.Shape | None
) -> ir.Value:
    """Put a node with one output before another, which it works for and whose provenance it gets; its output."""
    node.metadata_props.update(user.metadata_props)
    output = node.outputs[0]
    output.name, output.dtype, output.shape = str(node.name), dtype, shape
    graph.insert_before(user, node)
    return output


def drop_unused(graph: ir.Graph) -> None:
    """Remove the initialisers that no node uses."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in graph.outputs:
            del graph.initializers[name]
