"""Operators without a rule, made of operators with one.

PyTorch knows how most of its operators are composed of simpler ones. An operator on complex values that has no rule of
its own is taken apart by that knowledge before the graph is interpreted, and its pieces again, until they have rules.
The same operator on real values stays whole, so that engines can fuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.dispatch import ENTRY_RULES, operator_name, supported_operators

Decomposition = Callable[..., Any]

# Real operators that see no difference: of a lazy value they need all of it, whole or in pieces.
WHOLE = set(
    """
    flatten unflatten layer_norm group_norm instance_norm batch_norm softmax log_softmax scaled_dot_product_attention
    max_pool1d max_pool2d max_pool3d avg_pool1d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
    upsample_trilinear3d lstm gru pixel_shuffle pixel_unshuffle prelu
    """.split()
)


@cache
def decompositions() -> dict[Any, Decomposition]:
    """For ExportedProgram.run_decompositions: how to take apart each operator that has no rule.

    Being given a table at all, it also makes in-place operators functional.
    """
    with_rules = set(supported_operators())
    known = dict(torch.export.default_decompositions().items())
    table = {
        op: taken_apart_if_complex(decompose) for op, decompose in known.items() if operator_name(op) not in with_rules
    }
    # The overload of stft that pads the signal itself; the rule is for the other one, which torch.stft calls.
    table[torch.ops.aten.stft.center] = known[torch.ops.aten.stft.center]
    return table


def taken_apart(program: ExportedProgram) -> ExportedProgram:
    """The program in operators that have rules, or that are applied to real values as they are.

    Where that is so already, half of the time of a small program is saved: PyTorch's run_decompositions overrides all
    operators that it knows, one by one, before it looks at the program.
    """
    if any(isinstance(node.target, torch._ops.HigherOrderOperator) for node in program.graph.nodes):
        # Regions, such as torch.autocast: inlined, with their conversions. Under a table of ours these would be lost.
        program = program.run_decompositions({})
    return program.run_decompositions(decompositions()) if has_any(program) else program


def has_any(program: ExportedProgram) -> bool:
    """Whether there is anything to take apart, or to make functional."""
    with_rules, behind = set(supported_operators()), set[torch.fx.Node]()
    for node in program.graph.nodes:
        if node.op == "call_function":
            if _may_begin(node) or not behind.isdisjoint(node.all_input_nodes):
                behind.add(node)
            if _is_composite(node, with_rules, node in behind):
                return True
    return False


def _may_begin(node: torch.fx.Node) -> bool:
    """Whether complex or lazy values may come of an operator on ordinary ones."""
    return operator_name(node.target) in ENTRY_RULES or _has_complex_values(node)


def _is_composite(node: torch.fx.Node, with_rules: set[str], is_behind: bool) -> bool:
    """What no complex or lazy value can reach, such as a conversion of pixels, stays whole."""
    op = node.target
    if not isinstance(op, torch._ops.OpOverload):
        return isinstance(op, torch._ops.HigherOrderOperator)  # others pick from tuples, and compute sizes
    if op._schema.is_mutable or op is torch.ops.aten.stft.center:
        return True
    if operator_name(op) in with_rules:
        return False
    if _has_complex_values(node):
        return True
    return is_behind and op._can_decompose() and operator_name(op) not in WHOLE


def _has_complex_values(node: torch.fx.Node) -> bool:
    values = [each.meta.get("val") for each in (node, *node.all_input_nodes)]
    return any(map(_is_complex, pytree.tree_leaves((values, node.args, node.kwargs))))


def taken_apart_if_complex(decompose: Decomposition) -> Decomposition:
    """A decomposition that leaves its operator whole, as PyTorch takes NotImplemented, where all values are real."""

    def conditionally(*args: Any, **kwargs: Any) -> Any:
        if not any(_is_complex(leaf) for leaf in pytree.tree_leaves((args, kwargs))):
            return NotImplemented
        try:
            return decompose(*args, **kwargs)
        except (RuntimeError, TypeError, ValueError):
            # A decomposition for real values only. The interpreter will name the operator and its place.
            return NotImplemented

    return conditionally


def _is_complex(leaf: Any) -> bool:
    if isinstance(leaf, torch.Tensor):
        return leaf.is_complex()
    return isinstance(leaf, complex) or (isinstance(leaf, torch.dtype) and leaf.is_complex)
