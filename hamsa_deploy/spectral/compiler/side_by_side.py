"""Selective scans of one shape that do not wait for each other become one, their channels side by side.

Both directions of a bidirectional block, or the routes of a cross-scan that a model scans one by one: the steps of a
scan follow each other, and what an engine pays for a step it pays once for all of them.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from hamsa_deploy.spectral.compiler.rolling import Node, Steps

aten = torch.ops.aten
SCAN = torch.ops.hamsa.selective_scan.default
U, DELTA, A, B, C, D, GATE, BIAS, SOFTPLUS, FIRST = range(10)  # arguments
AXES = {U: 1, DELTA: 1, A: 0, B: 1, C: 1, D: 0, BIAS: 0, FIRST: 1}  # of the channels, or of their groups


def join(module: GraphModule) -> None:
    """Join what can be, in place."""
    for group in _groups(module):
        if len(group) > 1:
            _join(module, group)
    module.graph.eliminate_dead_code()


def _groups(module: GraphModule) -> list[list[Node]]:
    """Neighbours of one kind, none of which needs another."""
    order = {node: number for number, node in enumerate(module.graph.nodes)}
    groups: list[list[Node]] = []
    for node in order:
        if node.target is not SCAN:
            continue
        if groups and _kind(groups[-1][0]) == _kind(node) and not _needs(node, groups[-1], order):
            groups[-1].append(node)
        else:
            groups.append([node])
    return groups


def _arguments(node: Node) -> list[Any]:
    names = [argument.name for argument in SCAN._schema.arguments]
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    return [given.get(name, False if name == "delta_softplus" else None) for name in names]


def _kind(node: Node) -> list[str]:
    """Shapes and types of what it is given; alike for scans that can be one."""
    values = [each.meta.get("val") if isinstance(each, FxNode) else each for each in _arguments(node)]
    return [f"{x.dtype}{list(map(str, x.shape))}" if isinstance(x, torch.Tensor) else str(x) for x in values]


def _needs(node: Node, others: Sequence[Node], order: dict[Node, int]) -> bool:
    """Whether it is computed from one of them, which stand before it."""
    first, waiting, seen = min(order[other] for other in others), [node], {node}
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source in others:
                return True
            if order[source] > first and source not in seen:
                seen.add(source)
                waiting.append(source)
    return False


def _join(module: GraphModule, group: Sequence[Node]) -> None:
    last, every = group[-1], [_arguments(node) for node in group]
    behind = _behind(module, group)
    with module.graph.inserting_before(last):
        steps = Steps(module, last)
        given = [
            steps.node(aten.cat.default, list(parts), AXES[place])
            if place in AXES and parts[0] is not None
            else parts[0]
            for place, parts in enumerate(zip(*every, strict=True))
        ]
        given[GATE] = None
        scan = steps.node(SCAN, *given)
        outputs = [steps.node(operator.getitem, scan, index) for index in (0, 1)]
        width = last.args[U].meta["val"].shape[1]
        for number, (node, own) in enumerate(zip(group, every, strict=True)):
            own_steps = Steps(module, node)
            for output, whole in enumerate(outputs):
                part = own_steps.node(aten.slice.Tensor, whole, 1, number * width, (number + 1) * width)
                if output == 0 and own[GATE] is not None:
                    part = own_steps.node(aten.mul.Tensor, part, own_steps.node(aten.silu.default, own[GATE]))
                for user in list(node.users):
                    if user.args[1] == output:
                        part.meta.setdefault("val", user.meta.get("val"))
                        user.replace_all_uses_with(part)
    place = last
    for node in behind:
        place.append(node)
        place = node


def _behind(module: GraphModule, group: Sequence[Node]) -> list[Node]:
    """What stands before the last of them and is computed from one of the others, in order: it has to move behind."""
    found: dict[Node, None] = {}
    for node in module.graph.nodes:
        if node is group[-1]:
            return list(found)
        if any(source in group or source in found for source in node.all_input_nodes):
            found[node] = None
    raise AssertionError("the last scan is a node of the graph")
