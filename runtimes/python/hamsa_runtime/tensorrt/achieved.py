"""What became of the types that were asked for: the layers of a plan, compared with the network that it was built from.

A strongly typed network says which type every node of the ONNX file is to give. A plan's layers do the work of many
nodes each, and of some nodes in parts, and say which types go in and come out. A node has *fallen back* if it is a
product of int8 factors and no layer of it takes int8, or if all that goes into a layer and comes out is wider than what
any of its nodes was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hamsa_runtime.tensorrt.inspection import BITS, TYPES, Layer, counts, fused

INT8 = "i8"
MOST_NODES = 5
PRODUCTS = ("MATRIX_MULTIPLY", "CONVOLUTION")
FLOATS = BITS.keys() - {INT8}
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
# TensorRT's names of types -> those of `hamsa_runtime.backends.Operator`
NAMES = {**{name.upper(): short for name, short in TYPES.items()}, "BF16": "bf16"}


@dataclass(frozen=True)
class Achieved:
    """What a plan computes in.

    Attributes:
        layers: how many layers compute in which type.
        fused: how many of them do the work of several ONNX nodes.
        fell_back: nodes of the ONNX file; of a layer its first.
    """

    layers: Mapping[str, int]
    fused: int
    fell_back: Sequence[str]


def achieved(layers: Sequence[Layer], asked: Mapping[str, str]) -> Achieved:
    """Compare.

    Args:
        layers: of the plan.
        asked: node of the ONNX file -> type, from `asked_types`.
    """
    products = [node for node, kind in asked.items() if kind == INT8]
    fallen = [node for node in products if _takes_no_int8([layer for layer in layers if node in layer.nodes])]
    fallen += [layer.nodes[0] for layer in layers if _is_wider(layer, asked)]
    return Achieved(counts(layers), len(fused(layers)), fallen)


def fallen_text(nodes: Sequence[str]) -> str:
    """A sentence for layers that fell back."""
    more = f" and {len(nodes) - MOST_NODES} more" if len(nodes) > MOST_NODES else ""
    return (
        f"{len(nodes)} layers of the plan compute in a wider type than asked for: {', '.join(nodes[:MOST_NODES])}{more}"
    )


def asked_types(network: Any) -> dict[str, str]:
    """Node of the ONNX file -> type of number that it is to give; "i8" for a product of int8 factors.

    Nodes that only change the type to int8 and back are left out.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    dequantised = _dequantised(layers)
    found = {}
    for layer in layers:
        if not layer.metadata or not layer.num_outputs or layer.type.name in CONVERSIONS:  # or the parser's own
            continue
        factors = [layer.get_input(i) for i in range(min(layer.num_inputs, 2))]
        is_int8 = layer.type.name in PRODUCTS and all(each is not None and each.name in dequantised for each in factors)
        kind = layer.get_output(0).dtype.name
        found[layer.name] = INT8 if is_int8 else NAMES.get(kind, kind.lower())
    return found


def _dequantised(layers: Sequence[Any]) -> set[str]:
    """Tensors that come from int8; the parser gives a weight another shape where its product has more axes."""
    found: set[str] = set()
    for layer in layers:
        reshaped = layer.type.name == "SHUFFLE" and layer.get_input(0).name in found
        if layer.type.name == "DEQUANTIZE" or reshaped:
            found.add(layer.get_output(0).name)
    return found


def _takes_no_int8(layers: Sequence[Layer]) -> bool:
    known = [layer for layer in layers if set(layer.inputs) & BITS.keys()]
    return bool(known) and not any(INT8 in layer.inputs for layer in known)


def _is_wider(layer: Layer, asked: Mapping[str, str]) -> bool:
    wanted = [BITS[asked[node]] for node in layer.nodes if asked.get(node, INT8) in FLOATS]
    found = [BITS[kind] for kind in (*layer.inputs, *layer.outputs) if kind in BITS]
    return bool(wanted and found) and min(found) > max(wanted)
