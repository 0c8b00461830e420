"""Scans as trees: runs of steps are joined into one step each, p = a_{r-1} .. a_0 and the state s behind them from
zero, level by level, and the states in front of all runs come back down."""

from __future__ import annotations

from typing import Any

from hamsa_deploy.scan.forms import Tree
from hamsa_deploy.spectral.values import functions


def states_of_tree(a: Any, b: Any, first: Any, tree: Tree) -> Any:
    """All states h (L, ...).

    Args:
        a, b: (L, ...), real or complex, L the product of the tree's factors; a may be broadcast, and is (1, ...) where
            all steps have the same.
        first: the state before the first step, (1, ...).
    """
    decays, increments, levels = a, b, []
    for radix in tree.factors[:-1]:
        run = _split(decays, radix), _split(increments, radix)
        levels.append(run)
        decays, increments = _joined(*run)
    radix = tree.factors[-1]
    run = _split(decays, radix), _split(increments, radix)
    starts = functions.unsqueeze(first, 0)
    for level in reversed(levels):
        starts = _behind(*run, starts, is_leaf=False)
        run = level
    return functions.squeeze(_behind(*run, starts, is_leaf=True), 1)


def _split(x: Any, radix: int) -> list[Any]:
    """(T r, ...) to r of (T, 1, ...), one for each place in a run; decays that all steps have are those of each."""
    if x.shape[0] == 1 and radix > 1:
        return [functions.unsqueeze(x, 1)] * radix
    runs = functions.reshape(x, [x.shape[0] // radix, radix, *x.shape[1:]])
    return list(functions.split(runs, 1, 1))


def _joined(a: list[Any], b: list[Any]) -> tuple[Any, Any]:
    """Each run as one step: the product of its decays, and the state behind it from zero; (T, ...)."""
    p, s = a[0], b[0]
    for decay, increment in zip(a[1:], b[1:], strict=True):
        p, s = decay * p, decay * s + increment
    return functions.squeeze(p, 1), functions.squeeze(s, 1)


def _behind(a: list[Any], b: list[Any], start: Any, *, is_leaf: bool) -> Any:
    """(T r, 1, ...) from the states (T, 1, ...) in front of runs: at a leaf those behind each step, else those in front
    of each, which are what the runs of the next level start from."""
    h, states = start, [] if is_leaf else [start]
    for decay, increment in zip(a, b, strict=True):
        h = decay * h + increment
        states.append(h)
    joined = functions.cat(states if is_leaf else states[:-1], 1)
    return functions.reshape(joined, [joined.shape[0] * joined.shape[1], 1, *joined.shape[2:]])
