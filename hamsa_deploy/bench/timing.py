"""Candidates take turns: one turn of each is a round, and a slow moment of the machine hits all of them.

Every other round goes backwards, so that what drifts within a round favours nobody. A turn begins with a run that does
not count: it pays for the caches, and for the threads that still spin, of the one before. Then the candidate runs for a
while. All of these runs make the percentiles, and their median is the turn's time, of which ratios are made. (Their
shortest would be less disturbed, but another figure than p50: on two busy cores it made a bundle three times as fast as
another whose p50 was shorter.)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Run = Callable[[], object]
Key = TypeVar("Key", bound=Hashable)

# Rounds stop at the time that is given to them, though not before the fifth: quartiles of fewer say nothing.
FEWEST_ROUNDS = 5
MOST_ROUNDS = 200
TURN_SECONDS = 0.05
# A run of a second does not notice what was before it.
WARM_UP_BELOW_SECONDS = 1.0


@dataclass(frozen=True)
class Turn:
    """One candidate's part of a round: seconds of each run, and joules of all of them, where they are metered."""

    seconds: tuple[float, ...]
    joules: float | None = None

    @property
    def median(self) -> float:
        """Seconds of a typical run."""
        return statistics.median(self.seconds)


Meter = Callable[[], Callable[[float], float]]
"""Starts to measure energy; what it returns is called at the end with the seconds since then, and returns joules."""


def interleaved(
    runs: Mapping[Key, Run], seconds: float, *, turn_seconds: float = TURN_SECONDS, meter: Meter | None = None
) -> dict[Key, list[Turn]]:
    """The turns of each candidate, round by round.

    Args:
        runs: one inference of each candidate.
        seconds: how long all rounds may take together.
        turn_seconds: how long a turn lasts at least, without its warm-up.
        meter: of the machine's energy.
    """
    turns: dict[Key, list[Turn]] = {key: [] for key in runs}
    for run in runs.values():
        run()  # allocates memory, and compiles what was left for the first run
    end = time.perf_counter() + seconds
    for order in _orders(list(runs)):
        for key in order:
            turns[key].append(_turn(runs[key], turns[key], turn_seconds, meter))
        done = len(turns[order[0]])
        if done >= MOST_ROUNDS or (done >= FEWEST_ROUNDS and time.perf_counter() >= end):
            return turns
    raise AssertionError("there is always another round")


def _orders(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """Forwards, backwards, forwards..."""
    while True:
        yield keys
        yield keys[::-1]


def _turn(run: Run, before: Sequence[Turn], least: float, meter: Meter | None) -> Turn:
    if not before or before[-1].median < WARM_UP_BELOW_SECONDS:
        run()
    finish = None if meter is None else meter()
    start = time.perf_counter()
    seconds = [_seconds(run)]
    while time.perf_counter() - start < least:
        seconds.append(_seconds(run))
    return Turn(tuple(seconds), None if finish is None else finish(time.perf_counter() - start))


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
