"""Parallel scans that a model writes out, level by level, become one operator again.

    associative_scan(lambda p, q: (q[0] * p[0], q[0] * p[1] + q[1]), (a, b))     ->     linear_recurrence(a, b)

PyTorch's own associative_scan, ports of JAX's and scans by hand leave a tree of slices, products, sums and
concatenations in a graph. Whatever its shape, its values are polynomials of what is sliced. Two polynomials that agree
at a random point are one (Schwartz and Zippel): the nodes behind a and b are computed once, in float64, for random
numbers, and the first one that has the states of a recurrence is replaced. Decays of nearly unit size let the first
increment reach the last state: a scan over a window is none.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule
from torch.fx import Node as FxNode
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.compilation import eagerly
from hamsa_deploy.spectral.compiler.rolling import Node, Steps

aten = torch.ops.aten
FEWEST = 4  # steps that are worth it
LARGEST = 2**23  # numbers of a state's history: more would take seconds to try
CLOSE = 1e-9

UNARY = {
    aten.clone.default, aten.alias.default, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.default,
    aten.permute.default, aten.transpose.int, aten.movedim.int, aten.view.default, aten.reshape.default,
    aten._unsafe_view.default, aten.flatten.using_ints, aten.unflatten.int, aten.neg.default,
}  # fmt: skip
PRODUCTS = {aten.mul.Tensor, aten.addcmul.default}
POLYNOMIAL = UNARY | PRODUCTS | {
    aten.add.Tensor, aten.sub.Tensor, aten.slice.Tensor, aten.select.int, aten.narrow.default, aten.cat.default,
    aten.stack.default, aten.flip.default, aten.pad.default, aten.constant_pad_nd.default, aten.expand.default,
    aten.repeat.default, aten.slice_scatter.default, aten.select_scatter.default, aten.split.Tensor,
    aten.split_with_sizes.default, aten.unbind.int, operator.getitem,
}  # fmt: skip
MADE = {aten.zeros.default, aten.ones.default, aten.full.default}  # of numbers alone


class Pair(NamedTuple):
    """What may be decays and increments along an axis."""

    a: Node
    b: Node
    axis: int


def recognise(module: GraphModule) -> None:
    """Replace the scans of a simplified graph, in place."""
    tried: set[Pair] = set()
    while pair := max((pair for pair in _pairs(module) if pair not in tried), key=_length, default=None):
        tried.add(pair)
        if _replaced(module, pair):
            module.graph.eliminate_dead_code()


def _length(pair: Pair) -> int:
    return int(pair.b.meta["val"].shape[pair.axis])


def _pairs(module: GraphModule) -> Iterator[Pair]:
    """Tensors whose slices are multiplied."""
    found: dict[Pair, None] = {}
    nodes: list[Node] = list(module.graph.nodes)
    for node in nodes:
        if node.target in PRODUCTS:
            factors = [_sliced(each) for each in node.args[-2:]]
            for first, second in (factors, factors[::-1]):
                if first is not None and second is not None and _fit(*first, *second):
                    found[Pair(first[0], second[0], first[1])] = None
    yield from found


def _sliced(node: Node) -> tuple[Node, int] | None:
    """What a node is a slice of, times numbers perhaps, and along which axis."""
    while isinstance(node, FxNode):
        args: Any = node.args
        if node.target is aten.slice.Tensor and isinstance(value := args[0].meta.get("val"), torch.Tensor):
            return args[0], (args[1] if len(args) > 1 else 0) % value.ndim
        is_scaled = node.target is aten.mul.Tensor and not isinstance(args[1], FxNode)
        if not is_scaled and node.target not in UNARY:
            return None
        node = args[0]
    return None


def _fit(a: Node, axis: int, b: Node, other_axis: int) -> bool:
    """Whether they have one length along one axis, and the second one the shape of the states."""
    x, y = a.meta["val"], b.meta["val"]
    if a is b or axis != other_axis or x.ndim != y.ndim:
        return False
    if not isinstance(y.shape[axis], int) or str(x.shape[axis]) != str(y.shape[axis]) or y.shape[axis] < FEWEST:
        return False
    fit = all(str(size) in ("1", str(wanted)) for size, wanted in zip(x.shape, y.shape, strict=True))
    return fit and torch.promote_types(x.dtype, y.dtype) == y.dtype


def _replaced(module: GraphModule, pair: Pair) -> bool:
    """Whether a node with the states was found, and is one operator now."""
    node = eagerly(lambda: _with_states(module, pair))
    if node is None:
        return False
    with module.graph.inserting_before(node):
        steps = Steps(module, node)
        rank, value = node.meta["val"].ndim, node.meta["val"]
        order = [pair.axis, *(each for each in range(rank) if each != pair.axis)]
        along = [steps.node(aten.permute.default, each, order) for each in pair[:2]]
        states = steps.node(torch.ops.hamsa.linear_recurrence.default, *along)
        result = steps.node(aten.permute.default, states, [order.index(axis) for axis in range(rank)])
        for each, shown in ((along[0], pair.a), (along[1], pair.b), (states, node)):
            each.meta["val"] = shown.meta["val"].permute(order)
        result.meta["val"] = value
    node.replace_all_uses_with(result)
    return True


def _with_states(module: GraphModule, pair: Pair) -> Node | None:
    """The first node that has the states of the recurrence, for random numbers."""
    if math.prod(_sizes(pair.b)) > LARGEST:
        return None
    values: dict[Node, Any] = dict(zip(pair[:2], _random(pair), strict=True))
    nodes: list[Node] = list(module.graph.nodes)
    expected = _states(values[pair.a], values[pair.b], pair.axis)
    for node in nodes:
        if isinstance(size := node.meta.get("val"), torch.SymInt):
            values[node] = _example_of(size)
        elif node not in values and _is_computed(node, values):
            values[node] = node.target(*_now(node.args, values), **_now(node.kwargs, values))
            if _are_close(values[node], expected):
                return node
    return None


def _are_close(found: Any, expected: torch.Tensor) -> bool:
    if not isinstance(found, torch.Tensor) or found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    return float((found - expected).abs().max()) <= CLOSE * float(expected.abs().max())


def _sizes(node: Node) -> list[int]:
    """The shape; of a size that varies that of the example."""
    return [_example_of(size) for size in node.meta["val"].shape]


def _example_of(size: Any) -> int:
    return int(size.node.hint) if isinstance(size, torch.SymInt) else int(size)


def _random(pair: Pair) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    for node in pair[:2]:
        wide = torch.complex128 if node.meta["val"].is_complex() else torch.float64
        x = torch.randn(_sizes(node), generator=generator, dtype=wide)
        yield x / x.abs() * torch.exp(0.02 * x.real) if node is pair.a else x


def _states(a: torch.Tensor, b: torch.Tensor, axis: int) -> torch.Tensor:
    h, states = torch.zeros_like(b.select(axis, 0)), []
    for decay, increment in zip(a.unbind(axis), b.unbind(axis), strict=True):
        h = decay * h + increment
        states.append(h)
    return torch.stack(states, axis)


def _is_computed(node: Node, values: dict[Node, Any]) -> bool:
    """Whether it is a polynomial of what is there."""
    if node.target in MADE and not node.all_input_nodes:
        return True
    sources = node.all_input_nodes
    return node.target in POLYNOMIAL and bool(sources) and all(source in values for source in sources)


def _now(arguments: Any, values: dict[Node, Any]) -> Any:
    """Arguments with values for nodes, and float64 for the types of the model."""

    def value(leaf: Any) -> Any:
        if isinstance(leaf, FxNode):
            return values[leaf]
        return torch.float64 if leaf in (torch.float32, torch.float16, torch.bfloat16) else leaf

    return pytree.tree_map(value, arguments)
