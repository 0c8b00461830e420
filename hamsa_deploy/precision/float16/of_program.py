"""Which nodes of a program of PyTorch float16 cannot hold, and why: `islands.py`, for engines that take no ONNX file.

What is measured is what each node computes of feeds. A node stays in float32 where its value, or one that it takes, is
too large or small; where it is said to (scans); and where it leads to a root, a logarithm or a divisor, by sums and
products alone: what float16 rounds to 0 there would become infinite, and squares have twice the exponents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from hamsa_deploy.precision.float16.islands import HEADROOM, range_reason
from hamsa_deploy.precision.observers import Ranges
from hamsa_deploy.spectral.provenance import FLOAT32, module_path
from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import Manifest, State

aten = torch.ops.aten
# The operand whose zeros become infinite, or whose exponents are twice those of the result.
ROOTS = {
    aten.sqrt.default: 0, aten.rsqrt.default: 0, aten.log.default: 0, aten.log2.default: 0, aten.log10.default: 0,
    aten.log1p.default: 0, aten.reciprocal.default: 0, aten.div.Tensor: 1,
}  # fmt: skip
SUMS_AND_PRODUCTS = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.neg.default, aten.abs.default}


def islands_of_program(
    program: ExportedProgram, manifest: Manifest, feeds: Iterable[Arrays], states: Sequence[tuple[State, np.ndarray]]
) -> dict[str, str]:
    """The nodes of `program.module()` that stay in float32, each with its reason, "kind: what was found".

    Args:
        program: in float32.
        manifest: what it takes and gives.
        feeds: inputs by name, one dict for each call, in order.
        states: what it keeps between calls, each with its first value.
    """
    module = program.module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    ranges = _ranges(module, manifest, feeds, states)
    reasons: dict[str, str] = {}
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        said = node.meta.get("custom", {}).get(FLOAT32) or _reason_by_range(node, ranges)
        if said:
            reasons.setdefault(node.name, said)
        for each in _leading_to(node):
            reasons.setdefault(each.name, f"division: {each.name} leads to {node.target.name()}, whose zeros count")
    return reasons


def by_layer(program: ExportedProgram, islands: Mapping[str, str]) -> dict[str, str]:
    """The reasons by `module/node`, with the module's path in the user's model."""
    paths = {node.name: module_path(node) for node in program.graph.nodes}
    return {f"{paths[name]}/{name}" if paths.get(name) else name: reason for name, reason in islands.items()}


class _Watching(fx.Interpreter):
    """Runs a program, and keeps the largest magnitude of all that is float32."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        """One node."""
        found = super().run_node(n)
        if isinstance(found, torch.Tensor) and found.dtype == torch.float32 and found.numel():
            finite = found.abs() if n.op != "get_attr" else found.abs().nan_to_num(posinf=0.0)  # -Inf is in masks
            self.seen[n.name] = max(self.seen.get(n.name, 0.0), finite.nan_to_num(nan=float("inf")).max().item())
        return found


def _ranges(
    module: fx.GraphModule, manifest: Manifest, feeds: Iterable[Arrays], states: Sequence[tuple[State, np.ndarray]]
) -> Ranges:
    watching, kept = _Watching(module), {state.input: value for state, value in states}
    for feed in feeds:
        given = [torch.from_numpy(np.array({**feed, **kept}[spec.name])) for spec in manifest.graph_inputs]
        with torch.no_grad():
            found = pytree.tree_leaves(watching.run(*given))
        by_name = dict(zip((spec.name for spec in manifest.graph_outputs), found, strict=True))
        kept = {state.input: by_name[state.output].numpy() for state, _ in states}
    return watching.seen


def _reason_by_range(node: fx.Node, ranges: Ranges) -> str:
    """Why the numbers that a node meets do not fit; empty if they do."""
    taken = [*node.all_input_nodes, node]
    # Small numbers beside large ones are the epsilons of norms and divisors, which stay in float32 by themselves.
    numbers = (abs(each) for each in node.args if isinstance(each, float) and each and node.target in SUMS_AND_PRODUCTS)
    said = [
        *(_value_reason(each, ranges.get(each.name, 0.0)) for each in taken),
        *(range_reason(f"a number reaches {each:.2g}", each, 1.0) for each in numbers),
    ]
    return next(filter(None, said), "")


def _value_reason(node: fx.Node, largest: float) -> str:
    return range_reason(f"{node.name} reaches {largest:.2g}", largest, 1.0 if node.op == "get_attr" else HEADROOM)


def _leading_to(node: fx.Node) -> Iterator[fx.Node]:
    """What computes a root's operand, and what that is made of by sums and products."""
    if node.target not in ROOTS:
        return
    ahead, seen = [node.args[ROOTS[node.target]]], set()
    while ahead:
        each = ahead.pop()
        if isinstance(each, fx.Node) and each.op == "call_function" and each not in seen:
            seen.add(each)
            yield each
            made_of = each.all_input_nodes if each.target in SUMS_AND_PRODUCTS else []
            ahead += [other for other in made_of if other.target in SUMS_AND_PRODUCTS]
