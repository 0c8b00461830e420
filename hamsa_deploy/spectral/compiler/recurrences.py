"""Python loops that carry a state from step to step, which capture unrolls, become one operator of scans again.

    for t in range(L):  h = a[:, t] * h + b[:, t];  ys.append(f(h, c[:, t]))
        ->  h = linear_recurrence(a, b),  and rolling.py makes one f of all steps

Whatever repositories call it (selective_scan_ref, selective_scan_seq, ssm_step), a reference loop of a selective scan
is a chain of such multiply-adds: 1,193 nodes of one layer of 197 tokens otherwise, and more than two minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from hamsa_deploy.spectral.compiler.rolling import Node, Steps

aten = torch.ops.aten
FEWEST = 4  # steps that are worth it
ZEROS = (aten.zeros.default, aten.new_zeros.default, aten.zeros_like.default)


class Step(NamedTuple):
    """after = decay * before + increment."""

    after: Node
    before: Node
    decay: Node
    increment: Node


def unroll(module: GraphModule) -> None:
    """Write PyTorch's own scans out as the loops that they stand for, in place; `recognise` says what they are."""
    for node in list(module.graph.nodes):
        if node.op == "call_function" and str(node.target) == "scan":
            _unroll(module, node)
    module.graph.eliminate_dead_code()


def _unroll(module: GraphModule, node: Node) -> None:
    body, carried, along_time, others = node.args
    graph = getattr(module, body.target).graph
    inputs = [each for each in graph.nodes if each.op == "placeholder"]
    length, trips = along_time[0].meta["val"].shape[0], []
    if not isinstance(length, int):
        return
    with module.graph.inserting_before(node):
        steps = Steps(module, node)
        for position in range(length):
            now = [steps.node(aten.select.int, each, 0, position) for each in along_time]
            for one, inner in zip(now, inputs[len(carried) :], strict=False):
                one.meta["val"] = inner.meta["val"]
            outputs: Any = module.graph.graph_copy(graph, dict(zip(inputs, [*carried, *now, *others], strict=True)))
            carried, given = list(outputs[: len(carried)]), list(outputs[len(carried) :])
            trips.append(given)
        results = [*carried, *(steps.node(aten.stack.default, list(each), 0) for each in zip(*trips, strict=True))]
        for user in list(node.users):
            result = results[user.args[1]]
            result.meta.setdefault("val", user.meta.get("val"))
            user.replace_all_uses_with(result)


def recognise(module: GraphModule) -> None:
    """Replace chains of multiply-adds of a simplified graph, in place."""
    for chain in _chains(module):
        any(_replaced(module, [first, *chain[1:]]) for first in _readings(chain[0].after))
    module.graph.eliminate_dead_code()


def _chains(module: GraphModule) -> list[list[Step]]:
    """The longest ones, in order; no node is in two of them."""
    longest: dict[Node, list[Step]] = {}
    for node in module.graph.nodes:
        found = [[*longest.get(step.before, []), step] for step in _readings(node)]
        if found:
            longest[node] = max(found, key=len)
    taken: set[Node] = set()
    chains = []
    for chain in sorted(longest.values(), key=len, reverse=True):
        nodes = {step.after for step in chain}
        if len(chain) >= FEWEST and not nodes & taken:
            taken |= nodes
            chains.append(chain)
    return chains


def _readings(node: Node) -> list[Step]:
    """Every way to read a sum as a step: one of them does not tell which factor of which summand is the state."""
    if "val" not in node.meta:
        return []
    found = []
    for factors, increment in _products(node):
        for decay, before in (factors, factors[::-1]):
            if _keeps_shape(before, node):
                found.append(Step(node, before, decay, increment))
    return found


def _products(node: Node) -> Iterator[tuple[Sequence[Any], Any]]:
    """(factors, summand) of a sum one of whose summands is a product."""
    if node.target is aten.add.Tensor and not node.kwargs:
        for product, increment in (node.args, node.args[::-1]):
            if isinstance(product, FxNode) and product.target is aten.mul.Tensor:
                yield product.args, increment
    elif node.target is aten.addcmul.default and not node.kwargs:
        yield node.args[1:], node.args[0]


def _keeps_shape(before: Any, after: Node) -> bool:
    """Whether one may be the state that the other is the next of."""
    was, is_now = (each.meta.get("val") if isinstance(each, FxNode) else None for each in (before, after))
    if not isinstance(was, torch.Tensor) or not isinstance(is_now, torch.Tensor) or was.dtype != is_now.dtype:
        return False
    return list(map(str, was.shape)) == list(map(str, is_now.shape))


def _replaced(module: GraphModule, chain: Sequence[Step]) -> bool:
    """Whether all states come of one operator now, each a position of its result. The chain stays where its decays or
    increments are not positions of tensors that are there before it, nor one and the same."""
    first = chain[0]
    order = {node: number for number, node in enumerate(module.graph.nodes)}
    with module.graph.inserting_before(first.after):
        steps = Steps(module, first.after)
        b, a = _along_time(steps, chain, "increment"), _along_time(steps, chain, "decay")
        if a is None or b is None or not _are_before(first.after, (a, b), order):
            return False
        state = None if first.before.target in ZEROS else first.before
        states = steps.node(torch.ops.hamsa.linear_recurrence.default, a, b, state)
        value = first.after.meta["val"]
        states.meta["val"] = value.new_empty((len(chain), *value.shape))
        for position, step in enumerate(chain):
            one = steps.node(aten.select.int, states, 0, position)
            one.meta["val"] = step.after.meta["val"]
            step.after.replace_all_uses_with(one)
    return True


def _along_time(steps: Steps, chain: Sequence[Step], part: str) -> Node | None:
    """The decays or increments of all steps, (L, ...), or (1, ...) for one that all have, of as many axes as states."""
    values = [getattr(step, part) for step in chain]
    rank = chain[0].after.meta["val"].ndim
    if all(value is values[0] or (not isinstance(value, FxNode) and value == values[0]) for value in values):
        if not isinstance(values[0], FxNode) and part == "increment":
            return None  # a number at every step
        if not isinstance(values[0], FxNode):
            return steps.node(aten.full.default, [1] * (rank + 1), values[0], dtype=chain[0].after.meta["val"].dtype)
        own, node = values[0].meta["val"].ndim, steps.node(aten.unsqueeze.default, values[0], 0)
    elif (rolled := steps.rolled(values)) is None:
        return None
    else:
        own, node = rolled[2] - 1, steps.with_axis_at(rolled, 0)
    for _ in range(rank - own):
        node = steps.node(aten.unsqueeze.default, node, 1)
    return node if part == "decay" else _whole(steps, node, values, chain)


def _whole(steps: Steps, node: Node, values: Sequence[Node], chain: Sequence[Step]) -> Node | None:
    """Increments of the states' own shape, where they are broadcast to it; None where that has sizes of its own."""
    shape = list(chain[0].after.meta["val"].shape)
    own = list(values[0].meta["val"].shape)
    own = [1] * (len(shape) - len(own)) + own
    sizes = [-1 if str(size) == str(wanted) else wanted for size, wanted in zip(own, shape, strict=True)]
    if all(size == -1 for size in sizes) and any(value is not values[0] for value in values):
        return node
    if not all(isinstance(size, int) for size in sizes):
        return None
    return steps.node(aten.expand.default, node, [len(chain), *sizes])


def _are_before(place: Node, nodes: Iterable[Node], order: Mapping[Node, int]) -> bool:
    """Whether all that these new nodes are computed from stands in the graph before a place."""
    waiting, seen = list(nodes), set[Node]()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if node not in order:
            waiting.extend(node.all_input_nodes)
        elif order[node] >= order[place]:
            return False
    return True
