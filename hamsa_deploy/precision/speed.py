"""How long a bundle takes beside the float32 bundle of the same model, on this machine.

Both are loaded, and take turns. A slow moment of the machine hits both, and what drifts between rounds cancels in the
ratio of each round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from hamsa_deploy.timing import milliseconds

MOST_ROUNDS = 51
# Rounds stop here, though not before the third: a model of many seconds is measured with fewer.
BUDGET_SECONDS = 3.0
FEWEST_ROUNDS = 3
# A shorter run is repeated this long within one round, after one that is not timed: nobody pays for the caches, or for
# the threads that still spin, of the one before. A run of a second does not notice.
SHORTEST_MS = 10.0
WARM_UP_BELOW_MS = 1000.0

Run = Callable[[], object]


class Speed(NamedTuple):
    """Medians: of both times, and of their ratio in each round (below 1: faster than float32)."""

    milliseconds: float
    float32_milliseconds: float
    ratio: float


def speed(run: Run, float32: Run) -> Speed:
    """Time one inference of each."""
    once = [_second_time(each) for each in (run, float32)]
    repeats = [max(1, round(SHORTEST_MS / each)) for each in once]
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + BUDGET_SECONDS
    while len(times) < MOST_ROUNDS and (len(times) < FEWEST_ROUNDS or time.perf_counter() < end):
        one, other = (_warm(*each) for each in zip((run, float32), once, repeats, strict=True))
        times.append((one, other))
    found, expected = zip(*times, strict=True)
    return Speed(statistics.median(found), statistics.median(expected), statistics.median(a / b for a, b in times))


def _second_time(run: Run) -> float:
    """The first run of a model allocates its memory."""
    run()
    return milliseconds(run)


def _warm(run: Run, usual: float, repeats: int) -> float:
    if usual < WARM_UP_BELOW_MS:
        run()
    return milliseconds(run, repeats)
