"""Values of an ONNX graph that follow from constants and fixed sizes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

# What is asked for are lengths and windows; a file may claim anything.
MOST_NUMBERS, MOST_STEPS = 2**20, 32
# Operators that take some numbers of a vector.
PICKS = ("Gather", "Slice")


def folded(value: ir.Value | None, steps: int = MOST_STEPS) -> np.ndarray | None:
    """The numbers of a value, or None where they depend on the inputs of the graph.

    Args:
        value: an initializer, or computed by nodes of the standard, which are evaluated in NumPy.
        steps: how many nodes may follow one another.
    """
    if value is None or value.is_graph_input() or _size(value) > MOST_NUMBERS:
        return None
    if (tensor := ir.convenience.get_const_tensor(value)) is not None:
        return tensor.numpy()
    node = value.producer()
    if node is None or steps == 0 or not _is_plain(node):
        return None
    if node.op_type == "Shape":
        return _all_known(_sizes_of(node))
    if node.op_type == "Size":
        sizes = _all_known(_sizes_of(node))
        return None if sizes is None else sizes.prod(dtype=np.int64)
    arrays = [None if each is None else folded(each, steps - 1) for each in node.inputs]
    source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    picked = _sizes_of(source) if source is not None and source.op_type == "Shape" and node.op_type in PICKS else None
    if picked is not None:  # of which sizes: the others need not be known
        arrays[0] = np.arange(len(picked))
    if any(array is None and each is not None for array, each in zip(arrays, node.inputs, strict=True)):
        return None
    try:
        result = evaluated(node, arrays)[node.outputs.index(value)]
    except Exception:  # noqa: BLE001  # what the reference cannot compute is not known; it raises whatever numpy does
        return None
    if picked is None:
        return result
    known = _all_known([picked[index] for index in result.reshape(-1)])
    return None if known is None else known.reshape(result.shape)


def evaluated(node: ir.Node, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """The outputs of one operator for these inputs, in NumPy; None for an optional one that it is not given."""
    feeds = {f"input_{index}": array for index, array in enumerate(arrays) if array is not None}
    alone = ir.to_proto(node)
    del alone.input[:]
    alone.input.extend("" if array is None else f"input_{index}" for index, array in enumerate(arrays))
    return [np.asarray(result) for result in ReferenceEvaluator(alone).run(None, feeds)]


def _size(value: ir.Value) -> int:
    """How many numbers; more than are wanted where that is not known and something would have to be computed."""
    if value.const_value is not None:
        return value.const_value.size
    known = value.shape is not None and all(isinstance(size, int) for size in value.shape)
    node = value.producer()
    if not known:
        return 0 if node is not None and node.op_type == "Constant" else MOST_NUMBERS + 1
    assert value.shape is not None
    return math.prod(size for size in value.shape if isinstance(size, int))


def _is_plain(node: ir.Node) -> bool:
    """Of the standard, without graphs in it, and the same at every run."""
    is_random = "Random" in node.op_type or node.op_type in ("Bernoulli", "Multinomial", "Dropout")
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    has_graphs = any(each.type in graphs or each.is_ref() for each in node.attributes.values())
    return node.domain in ("", "ai.onnx") and not is_random and not has_graphs


def _sizes_of(node: ir.Node) -> list[int | None] | None:
    """Those that a Shape gives, or a Size multiplies; None for one that is dynamic."""
    if node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    bounds = (node.attributes.get(name) for name in ("start", "end"))
    start, end = (None if bound is None else bound.as_int() for bound in bounds)
    return [size if isinstance(size, int) else None for size in list(node.inputs[0].shape)[start:end]]


def _all_known(sizes: Sequence[int | None] | None) -> np.ndarray | None:
    return None if sizes is None or None in sizes else np.array(sizes, dtype=np.int64)
