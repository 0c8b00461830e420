"""Pairs of QuantizeLinear and DequantizeLinear: what comes out must be what went in, but for its rounding.

This needs no reference. A pair in front of a gate can be wrong by a factor without moving the layer's output far: a
sigmoid hides it. Largest errors of clean pairs: 0.19 in hamsa_nano for ONNX Runtime, of a spectrum |Y| in which few
frequencies have most of the energy; 0.06 in the others. A doubled scale has 1, a halved one 0.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import constant_of

BAND = 0.4


@dataclass(frozen=True)
class Pair:
    """Activation -> int8 -> the same activation.

    Attributes:
        before, after: names of the values.
        node: the DequantizeLinear.
    """

    before: str
    after: str
    node: ir.Node


def pairs_of(graph: ir.Graph) -> list[Pair]:
    """All of them, in order; weights, which have no QuantizeLinear, are none."""
    return list(_pairs(graph))


def _pairs(graph: ir.Graph) -> Iterator[Pair]:
    for node in graph:
        source = _quantiser_of(node)
        if source is not None and source.inputs[0] is not None:
            yield Pair(str(source.inputs[0].name), str(node.outputs[0].name), node)


def _quantiser_of(node: ir.Node) -> ir.Node | None:
    source = node.inputs[0].producer() if node.op_type == "DequantizeLinear" and node.inputs[0] else None
    return source if source is not None and source.op_type == "QuantizeLinear" else None


def rounding_finding(node: ir.Node, value: np.ndarray) -> str:
    """What is wrong with a pair that changes its input, by its scales."""
    source = _quantiser_of(node)
    assert source is not None
    down, up = constant_of(source.inputs[1]), constant_of(node.inputs[1])
    if down is None or up is None:
        return "int8 does not hold what it rounds"
    if not np.array_equal(down, up):
        return (
            f"it multiplies by {float(up.ravel()[0]):.3g}, its QuantizeLinear divides by {float(down.ravel()[0]):.3g}"
        )
    largest = float(np.abs(value).max(initial=0.0))
    return f"int8 does not hold what it rounds: steps of {float(up.ravel()[0]):.3g} for values up to {largest:.3g}"
