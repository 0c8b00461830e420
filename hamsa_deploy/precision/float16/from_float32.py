"""float32 ONNX -> strongly typed float16 ONNX, with explicit casts.

Inputs and outputs of the graph keep their types. Everything between them is float16, but for the islands that
`islands.py` finds. A weight is stored once: in float32 if only islands use it, else in float16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.float16.islands import float32_islands, ports_of
from hamsa_deploy.precision.observers import Ranges

NAMES = {ir.DataType.FLOAT: "float32", ir.DataType.FLOAT16: "float16"}
FLOATS = tuple(NAMES)


def float16_from_float32(model: ir.Model, ranges: Ranges) -> dict[str, str]:
    """Type a model in place.

    Args:
        model: float32, with a dtype and a shape on every value.
        ranges: of its values, from RANGES.

    Returns:
        The islands: layer -> "kind: what was found". A layer is `module/node`, with the module's path in the user's
        model.
    """
    islands = float32_islands(model.graph, ranges)
    typing = _Typing(model.graph, islands)
    for node in list(model.graph):
        typing.retype(node)
    typing.restore_outputs()
    typing.replace_weights()
    return _by_layer(islands)


def _by_layer(islands: Mapping[ir.Node, str]) -> dict[str, str]:
    """Reasons by the name of the layer; a name that comes again gets a number."""
    seen: Counter[str] = Counter()
    found = {}
    for node, reason in islands.items():
        module, name = node.metadata_props.get("module"), node.name or node.op_type
        layer = f"{module}/{name}" if module else name
        seen[layer] += 1
        found[layer if seen[layer] == 1 else f"{layer} ({seen[layer]})"] = reason
    return found


class _Typing:
    """One pass over a graph; remembers which value exists in which type, so that each cast is made once."""

    def __init__(self, graph: ir.Graph, islands: Collection[ir.Node]) -> None:
        self.graph, self.islands = graph, islands
        self._given = [value.dtype for value in graph.outputs]
        self._cast: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._half: dict[ir.Value, ir.Value] = {}
        self._narrow = {value for node in graph if node not in islands for value in node.inputs if value is not None}

    def retype(self, node: ir.Node) -> None:
        """Give a node float16 inputs and outputs, or float32 ones where it is an island or ONNX wants them so."""
        wanted = ir.DataType.FLOAT if node in self.islands else ir.DataType.FLOAT16
        ports = ports_of(node)
        from_nothing = not any(value is not None and value.dtype in FLOATS for value in node.inputs)
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype in FLOATS and ports.takes_float16(index):
                node.replace_input_with(index, self._as(value, wanted, node))
            elif value is not None and value.dtype == ir.DataType.FLOAT16:
                node.replace_input_with(index, self._as(value, ir.DataType.FLOAT, node))
        if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", int(wanted))
        elif from_nothing:
            return  # float32 numbers that an attribute describes
        for index, value in enumerate(node.outputs):
            if value.dtype == ir.DataType.FLOAT and ports.gives_float16(index):
                value.type = ir.TensorType(wanted)  # a type of its own: clones of a graph share theirs

    def restore_outputs(self) -> None:
        """Casts at the end of the graph to the types that the outputs had, under the names that they had."""
        for index, (value, given) in enumerate(zip(list(self.graph.outputs), self._given, strict=True)):
            if value.dtype == given or given not in FLOATS:
                continue
            assert given is not None
            assert value.dtype is not None
            name, value.name = value.name, f"{value.name}_{NAMES[value.dtype]}"
            cast = _cast_node(value, given)
            cast.outputs[0].name = name
            self.graph.append(cast)
            self.graph.outputs[index] = cast.outputs[0]

    def replace_weights(self) -> None:
        """Give the float16 weights the names of the float32 ones that nothing uses any more."""
        for weight, half in self._half.items():
            if weight.uses() or weight in self.graph.outputs:
                continue
            name = str(weight.name)
            del self.graph.initializers[name], self.graph.initializers[str(half.name)]
            assert half.const_value is not None
            half.name = half.const_value.name = name
            self.graph.register_initializer(half)

    def _as(self, value: ir.Value, wanted: ir.DataType, user: ir.Node) -> ir.Value:
        if value.const_value is not None and value in self._narrow:
            value = self._in_float16(value)
        if value.dtype == wanted:
            return value
        if (value, wanted) not in self._cast:
            cast = _cast_node(value, wanted)
            self.graph.insert_before(user, cast)
            self._cast[value, wanted] = cast.outputs[0]
        return self._cast[value, wanted]

    def _in_float16(self, weight: ir.Value) -> ir.Value:
        """The weight in float16; the float32 one goes when nothing uses it any more."""
        if weight not in self._half:
            assert weight.const_value is not None
            tensor = ir.tensor(weight.const_value.numpy().astype(np.float16), name=f"{weight.name}_float16")
            half = ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), shape=weight.shape, const_value=tensor)
            self.graph.register_initializer(half)
            self._half[weight] = half
        return self._half[weight]


def _cast_node(value: ir.Value, to: ir.DataType) -> ir.Node:
    name = f"{value.name}_to_{to.name.lower()}"
    node = ir.node("Cast", [value], {"to": int(to)}, name=name)
    source = value.producer()
    if source is not None:
        node.metadata_props.update(source.metadata_props)
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = name, to, value.shape
    return node
