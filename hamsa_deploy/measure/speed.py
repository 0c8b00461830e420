"""How long a bundle takes beside the float32 bundle of the same model, on this machine.

Both are loaded, and take turns. What disturbs a run only ever makes it longer: of the runs of one round the shortest
counts. A slow moment hits both bundles, and what drifts between rounds cancels in the ratio of each round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

MOST_ROUNDS = 25
# Rounds stop here, though not before the third: a model of many seconds is measured with fewer.
BUDGET_SECONDS = 4.0
FEWEST_ROUNDS = 3
# What is shorter is repeated for so long within one round, after a run that does not count: it pays for the caches and
# for the threads, which still spin, of the one before. A run of a second does not notice.
ROUND_SECONDS = 0.02
WARM_UP_BELOW_SECONDS = 1.0

Run = Callable[[], object]


class Speed(NamedTuple):
    """Medians over the rounds: of both times, and of their ratio (below 1: faster than float32)."""

    milliseconds: float
    float32_milliseconds: float
    ratio: float


def speed(run: Run, float32: Run) -> Speed:
    """Time one inference of each."""
    for each in (run, float32):
        each()  # allocates memory
    rounds: list[tuple[float, float]] = []
    end = time.perf_counter() + BUDGET_SECONDS
    while len(rounds) < MOST_ROUNDS and (len(rounds) < FEWEST_ROUNDS or time.perf_counter() < end):
        rounds.append((_shortest(run), _shortest(float32)))
    found, expected = zip(*rounds, strict=True)
    return Speed(
        1e3 * statistics.median(found),
        1e3 * statistics.median(expected),
        statistics.median(a / b for a, b in rounds),
    )


def _shortest(run: Run) -> float:
    """Seconds of the shortest run in a round."""
    end = time.perf_counter() + ROUND_SECONDS
    first = _seconds(run)
    if first >= WARM_UP_BELOW_SECONDS:
        return first
    times = [_seconds(run)]
    while time.perf_counter() < end:
        times.append(_seconds(run))
    return min(times)


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
