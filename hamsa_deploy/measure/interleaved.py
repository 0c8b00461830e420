"""Candidates take turns: one turn of each is a round, and a slow moment of the machine hits all of them.

Every other round goes backwards, so that what drifts within a round favours nobody. A turn begins with a run that does
not count: it pays for the caches, and for the threads that still spin, of the one before. Then the candidate runs for a
while. Of these runs a turn has two times, and neither is right for all:

    median     where percentiles of the runs stand beside it (hamsa-bench): the shortest would be another figure than
               p50, and on two busy cores made a bundle three times as fast as another whose p50 was shorter
    shortest   where one question is to be answered in a few seconds (does a precision pay?): what disturbs a run only
               ever makes it longer, so that the answer is the same again on a machine that does something else, too
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hamsa_runtime.energy import Meter

Run = Callable[[], object]
Clock = Callable[[], float]
Key = TypeVar("Key", bound=Hashable)

# Quartiles of fewer say nothing.
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

    @property
    def shortest(self) -> float:
        """Seconds of the run that was disturbed least."""
        return min(self.seconds)


def time_in_turn(
    runs: Mapping[Key, Run],
    seconds: float,
    *,
    turn_seconds: float = TURN_SECONDS,
    fewest: int = FEWEST_ROUNDS,
    most: int = MOST_ROUNDS,
    meter: Meter | None = None,
    clock: Clock | None = None,
) -> dict[Key, list[Turn]]:
    """Run all candidates in turn; returns the turns of each, round by round.

    Args:
        runs: one inference of each candidate; there may be none.
        seconds: how long all rounds may take together; a round that has begun is finished.
        turn_seconds: how long a turn lasts at least, without its warm-up; 0 for one run.
        fewest, most: rounds, however long or short they are.
        meter: of the machine's energy.
        clock: what times the runs, the wall's by default; `time.process_time`, for runs on one thread, does not count
            what a neighbour takes.
    """
    turns: dict[Key, list[Turn]] = {key: [] for key in runs}
    if not runs:
        return turns
    last = {key: _seconds(run) for key, run in runs.items()}  # allocates memory, compiles what was left for the first
    end = time.perf_counter() + seconds
    for order in _orders(list(runs)):
        for key in order:
            turns[key].append(_turn(runs[key], last[key], turn_seconds, meter, clock))
            last[key] = turns[key][-1].median
        done = len(turns[order[0]])
        if done >= most or (done >= fewest and time.perf_counter() >= end):
            return turns
    raise AssertionError("there is always another round")


def _orders(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """Forwards, backwards, forwards..."""
    while True:
        yield keys
        yield keys[::-1]


def _turn(run: Run, last: float, least: float, meter: Meter | None, clock: Clock | None) -> Turn:
    if last < WARM_UP_BELOW_SECONDS:
        run()
    finish = None if meter is None else meter()
    start = time.perf_counter()
    seconds = [_seconds(run, clock)]
    while time.perf_counter() - start < least:
        seconds.append(_seconds(run, clock))
    return Turn(tuple(seconds), None if finish is None else finish(time.perf_counter() - start))


def _seconds(run: Run, clock: Clock | None = None) -> float:
    now = clock or time.perf_counter
    start = now()
    run()
    return now() - start
