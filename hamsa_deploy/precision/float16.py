"""float32 ONNX -> strongly typed float16 ONNX, with explicit casts.

Inputs and outputs of the graph keep their types. A node stays in float32 (an *island*) where float16 cannot hold what
it computes:

- the magnitude |z| = sqrt(re re + im im): the squares overflow from |z| > 255.9 on, and vanish below 2.4e-4;
- a node whose weights lie outside the range of float16.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

FLOAT16_MAX = float(np.finfo(np.float16).max)


def float16_from_float32(model: ir.Model) -> dict[str, str]:
    """Type a model in place.

    Args:
        model: float32, with a dtype on every value.

    Returns:
        The islands: node name -> reason.
    """
    islands = float32_islands(model.graph)
    typing = _Typing(model.graph, islands)
    for node in list(model.graph):
        typing.retype(node)
    typing.restore_outputs()
    _drop_unused_weights(model.graph)
    return islands


def float32_islands(graph: ir.Graph) -> dict[str, str]:
    """Names of the nodes that float16 cannot hold, each with its reason."""
    islands: dict[str, str] = {}
    for node in graph:
        if node.op_type == "Sqrt":
            islands |= dict.fromkeys((str(n.name) for n in _magnitude(node)), "squares of a magnitude")
        if any(_leaves_float16(value) for value in node.inputs):
            islands[str(node.name)] = "weights outside the range of float16"
    return islands


def _magnitude(root: ir.Node) -> list[ir.Node]:
    """The nodes of sqrt(re re + im im), or none if this root is not one."""
    total = root.inputs[0].producer() if root.inputs[0] else None
    if total is None or total.op_type != "Add":
        return []
    squares = [value.producer() if value else None for value in total.inputs]
    found = [s for s in squares if s is not None and s.op_type == "Mul" and s.inputs[0] is s.inputs[1]]
    return [root, total, *found] if len(found) == len(squares) else []


def _leaves_float16(value: ir.Value | None) -> bool:
    if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
        return False
    return bool(np.abs(value.const_value.numpy()).max(initial=0.0) > FLOAT16_MAX)


class _Typing:
    """One pass over a graph; remembers which value exists in which type, so that each cast is made once."""

    def __init__(self, graph: ir.Graph, islands: Iterable[str]) -> None:
        self.graph, self.islands = graph, set(islands)
        self._cast: dict[tuple[int, ir.DataType], ir.Value] = {}

    def retype(self, node: ir.Node) -> None:
        wanted = ir.DataType.FLOAT if str(node.name) in self.islands else ir.DataType.FLOAT16
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
                node.replace_input_with(index, self._as(value, wanted, node))
        if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", int(wanted))
        for value in node.outputs:
            if value.dtype == ir.DataType.FLOAT:
                value.dtype = wanted

    def restore_outputs(self) -> None:
        """Casts at the end of the graph, under the names that the outputs had."""
        for index, value in enumerate(self.graph.outputs):
            if value.dtype != ir.DataType.FLOAT16:
                continue
            name, value.name = value.name, f"{value.name}_float16"
            cast = _cast_node(value, ir.DataType.FLOAT)
            cast.outputs[0].name = name
            self.graph.append(cast)
            self.graph.outputs[index] = cast.outputs[0]

    def _as(self, value: ir.Value, wanted: ir.DataType, user: ir.Node) -> ir.Value:
        if value.dtype == wanted:
            return value
        key = (id(value), wanted)
        if key not in self._cast:
            if value.const_value is not None:
                self._cast[key] = self._converted_weight(value, wanted)
            else:
                cast = _cast_node(value, wanted)
                self.graph.insert_before(user, cast)
                self._cast[key] = cast.outputs[0]
        return self._cast[key]

    def _converted_weight(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        """The weight in the other type; the float32 one goes when nothing uses it any more."""
        assert value.const_value is not None
        tensor = ir.tensor(value.const_value.numpy().astype(np.float16), name=f"{value.name}_float16")
        half = ir.Value(name=tensor.name, type=ir.TensorType(wanted), shape=value.shape, const_value=tensor)
        self.graph.register_initializer(half)
        return half


def _cast_node(value: ir.Value, to: ir.DataType) -> ir.Node:
    name = f"{value.name}_to_{to.name.lower()}"
    node = ir.node("Cast", [value], {"to": int(to)}, name=name)
    source = value.producer()
    if source is not None:
        node.metadata_props.update(source.metadata_props)
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = name, to, value.shape
    return node


def _drop_unused_weights(graph: ir.Graph) -> None:
    """Remove the initialisers that no node uses."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in graph.outputs:
            del graph.initializers[name]
