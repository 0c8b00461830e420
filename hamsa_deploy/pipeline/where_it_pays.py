"""`--only-where-it-pays`: int8 for the products that it makes faster here, and for none where another precision is.

Products of one size are one group, and what is timed is the whole model, run by its engine: what int8 costs at a
product's borders is not in the product alone. Candidates take turns, and the time of one, T, is a low percentile of its
turns: what disturbs a run only ever makes it longer. With T(S) that of an inference with the groups S in int8:

    1. around int8        float32, or bfloat16 where engine and processor have it: the faster of both with all in int8
    2. of each group g    T(all but g) / T(all): below 1, and the model is faster with g in floating point
    3. together           all; all but those groups that are clearly slower; all but those that are slower at all: a
                          ratio of 0.99 may be noise once, but a dozen of them are not
    4. files as written   float32, each other precision that the processor has kernels for, int8 everywhere, and what is
                          left of it after 3. and after what accuracy forbids: the fastest is the bundle

What is within AS_FAST of the fastest is as fast: of these the most accurate is the bundle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from hamsa_deploy.measure.execution import inference
from hamsa_deploy.measure.interleaved import time_in_turn
from hamsa_deploy.precision.int8.int8_sites import Site
from hamsa_runtime import Engine
from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import TimedForm, TimedLayers

logger = logging.getLogger("hamsa_deploy")

# Medians of repeated measurements differ by 1 to 3 % on a machine that does nothing else.
AS_FAST = 1.03
# Groups that take turns with all: an engine with the whole model for each.
TOGETHER = 4
# Of one comparison; a model of seconds has the fewest rounds.
BUDGET_SECONDS = 8.0
FEWEST_ROUNDS, MOST_ROUNDS = 3, 25
PERCENTILE = 25
TURN_SECONDS = 0.02

Key = TypeVar("Key", bound=Hashable)
Form = tuple[str, int, str]
"""A candidate of step 4: precision, number of layers in int8, and precision of all else."""
Times = Mapping[Key, Sequence[float]]
"""Milliseconds of each candidate, round by round."""
Kept = tuple[str, ...]
"""Nodes in floating point, where all others of the sites are in int8."""
Timer = Callable[[Sequence[Kept]], Times[Kept]]


@dataclass(frozen=True)
class Group:
    """Products of one size, which are timed as one: what they multiply, and their sites."""

    product: str
    sites: tuple[Site, ...]

    @property
    def nodes(self) -> Kept:
        """Of the graph."""
        return tuple(site.node for site in self.sites)


def groups_of(graph: ir.Graph, sites: Sequence[Site]) -> list[Group]:
    """The sites by operator and shapes of both factors, in the order of the graph."""
    nodes = {str(node.name): node for node in graph}
    found: dict[str, list[Site]] = {}
    for site in sites:
        found.setdefault(_product(nodes[site.node]), []).append(site)
    return [Group(product, tuple(some)) for product, some in found.items()]


def _product(node: ir.Node) -> str:
    """`MatMul [batch, 196, 384] x [384, 1536]`, with what else the time of a convolution depends on."""
    shapes = [str(value.shape).replace("'", "") for value in node.inputs[:2] if value is not None]
    numbers = (f"{name} {node.attributes[name].value}" for name in ("group", "strides") if name in node.attributes)
    return " ".join([str(node.op_type), " x ".join(shapes), *numbers])


def _time(times: Times[Key], key: Key) -> float:
    """T, in milliseconds."""
    return float(np.percentile(times[key], PERCENTILE))


def _ratio(times: Times[Key], one: Key, other: Key) -> float:
    return _time(times, one) / _time(times, other)


def time_groups(groups: Sequence[Group], timer: Timer) -> list[TimedLayers]:
    """Steps 2 and 3: each group, and whether int8 pays there.

    Args:
        groups: all that may be in int8.
        timer: times the model with some nodes in floating point, in turn.
    """
    ratios: dict[Kept, float] = {}
    times: dict[Kept, tuple[float, float]] = {}
    for start in range(0, len(groups), TOGETHER):
        some = [group.nodes for group in groups[start : start + TOGETHER]]
        found = timer([(), *some])
        logger.info("%d of %d sizes of products timed", start + len(some), len(groups))
        ratios |= {nodes: _ratio(found, nodes, ()) for nodes in some}
        times |= {nodes: (_time(found, ()), _time(found, nodes)) for nodes in some}
    slower = _slower(ratios, timer)
    return [
        TimedLayers(
            group.product, tuple(site.layer for site in group.sites), group.nodes not in slower,
            *map(rounded, times[group.nodes]),
        )
        for group in groups
    ]  # fmt: skip


def _slower(ratios: Mapping[Kept, float], timer: Timer) -> set[Kept]:
    """The groups to leave in floating point: the fastest of all that the ratios suggest, timed together."""
    suggested = [{nodes for nodes, each in ratios.items() if each < limit} for limit in (1 / AS_FAST, 1.0)]
    if suggested[1] == set(ratios):  # none pays by itself: float32 takes part in the last step, and needs no other name
        return suggested[1]
    found = {tuple(node for nodes in ratios if nodes in some for node in nodes): some for some in (set(), *suggested)}
    if len(found) == 1:
        return set()
    times = timer(list(found))
    return found[min(found, key=lambda kept: _time(times, kept))]


def fastest(times: Times[Key], order: Sequence[Key]) -> Key:
    """Steps 1 and 4: of the candidates that are as fast as the fastest, the first in `order`, the most accurate."""
    shortest = min(_time(times, key) for key in order)
    return next(key for key in order if _time(times, key) <= AS_FAST * shortest)


def rounded(milliseconds: float) -> float:
    """As the manifest has it."""
    return float(f"{milliseconds:.4g}")


def recorded(times: Times[Form], order: Sequence[Form], chosen: Form) -> tuple[TimedForm, ...]:
    """What the manifest says of the candidates of step 4, the most accurate first."""
    return tuple(
        TimedForm(*form, rounded(_time(times, form)), rounded(_ratio(times, form, order[0])), form == chosen)
        for form in order
    )


def time_bundles(folders: Mapping[Key, Path], inputs: Arrays, device: str | None = None) -> dict[Key, list[float]]:
    """Milliseconds of one inference of each bundle on a device, in turn: the shortest of each turn."""
    with ExitStack() as stack:
        engines = {key: stack.enter_context(Engine(folder, device=device)) for key, folder in folders.items()}
        runs = {key: inference(engine, inputs) for key, engine in engines.items()}
        turns = time_in_turn(runs, BUDGET_SECONDS, turn_seconds=TURN_SECONDS, fewest=FEWEST_ROUNDS, most=MOST_ROUNDS)
    return {key: [1e3 * turn.shortest for turn in each] for key, each in turns.items()}
