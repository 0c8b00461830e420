"""The forms in which a scan is computed, what each costs, and which one an engine gets.

    h_t = a_t h_{t-1} + b_t,   t = 0 .. L - 1

Loop(U)        one ONNX Scan whose body makes U steps: little memory, a handful of operators at any length.
Tree(r1, ..)   L = r1 r2 .. : runs of r1 steps are joined into one step each, p = a_{r-1} .. a_0 and the state s behind
               them from zero, then runs of r2 of those, ..; the states in front of all runs come back down that way.
               (2, 2, ..) is Blelloch's scan of depth 2 log2 L, (Q, L / Q) the two passes over chunks of Q.

No form divides by a decay or takes the exponential of a positive number: products of decays of at most 1 can only
underflow to 0, which is their right value. The form with cumulative sums, exp(S_t) sum_s exp(-S_s) b_s, is wrong in
float32 as soon as decays are strong.

Source: Blelloch, Prefix sums and their applications (1990).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from hamsa_deploy.spectral.costs import Rates, Work, nanoseconds
from hamsa_deploy.spectral.values import functions

STEPS = (1, 2, 4, 7, 8, 14, 16, 28, 32)  # of a loop's body: beyond, its operators cost as much as the trips they save
NEAR = 2**17  # numbers: decays and increments of one trip stay in a core's own cache
RADICES = (2, 4, 8)
MANY = 1000  # operators


@dataclass(frozen=True)
class Loop:
    """So many steps in the body of a loop."""

    steps: int

    def work(self, length: int, state: int, states: int) -> Work:
        """Of a scan of so many steps of a state of so many numbers, N of which each channel has."""
        trips, several = -(-length // self.steps), self.steps > 1
        operators = 2 * self.steps + 3 * several + (4 if states > 1 else 0)
        padded = 4 * length * state / states if length % self.steps else 0
        numbers = length * state * (5 if several else 2)
        return Work(trips=trips, operators=trips * operators, moved=numbers + padded)


@dataclass(frozen=True)
class Tree:
    """Runs of so many steps, then of so many runs, and so on: the product is the length, padded to it."""

    factors: tuple[int, ...]

    @property
    def length(self) -> int:
        return math.prod(self.factors)

    def work(self, length: int, state: int, states: int) -> Work:
        """See `Loop.work`: of each level two copies, and five operators for each number on the way up and down."""
        numbers, total, operators = self.length, 0.0, 8.0
        for level, radix in enumerate(self.factors):
            is_top = level == len(self.factors) - 1
            total += numbers * (0.5 if is_top else 1)
            operators += 4 + 2 * radix + (0 if is_top else 3 * radix)
            numbers //= radix
        return Work(operators=operators, moved=10 * total * state, pointwise=4 * total * state)


Form = Loop | Tree


def cheapest(length: int | torch.SymInt, state: int, states: int, rates: Rates, *, loops: bool = True) -> Form:
    """The form with the smallest estimate; a loop where the length is not known.

    Args:
        length: L, steps.
        state: numbers of one step's state, of a batch of one.
        states: N, of them for each channel.
        rates: of the engine.
        loops: whether they are among the forms to choose from.
    """
    if not isinstance(length, int):
        return Loop(1)
    known = length
    most = rates.largest_tree if loops else MANY
    forms = [*(loops_of(known, state) if loops else ()), *trees_of(known, state, most)]
    return min(forms, key=lambda form: nanoseconds(form.work(known, state, states), rates, 1))


def loops_of(length: int, state: int) -> Iterator[Loop]:
    """Those worth an estimate."""
    return (Loop(steps) for steps in STEPS if steps == 1 or (steps <= length and steps * state <= NEAR))


def trees_of(length: int, state: int, most: float) -> Iterator[Tree]:
    """Those worth an estimate, of so many operators at most: one radix, with another one at either end."""
    for radix in RADICES:
        for first, last in itertools.product((radix, 16, 32), (radix, 4)):
            inner: tuple[int, ...] = ()
            while first * math.prod(inner) * last < length:
                inner = (*inner, radix)
            tree = Tree((first, *inner, last) if first * math.prod(inner) < length else (first, *inner))
            if tree.work(length, state, 1).operators <= most:
                yield tree


def states_of_tree(a: Any, b: Any, first: Any, tree: Tree) -> Any:
    """All states h (L, ...).

    Args:
        a, b: (L, ...), real or complex, L the product of the tree's factors; a may be broadcast behind its first axis.
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
    """(T r, ...) to r of (T, 1, ...), one for each place in a run."""
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
