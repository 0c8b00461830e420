"""Turns and rounds, on a clock that only moves when a run is made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hamsa_deploy.bench import timing
from hamsa_deploy.bench.timing import FEWEST_ROUNDS, MOST_ROUNDS, interleaved


class Clock:
    """Runs of given seconds; one that follows another candidate's is slower, as on a machine with caches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.made = 0.0, ""
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def run(self, name: str, seconds: float, after_another: float = 0.0) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds + (after_another if self.made[-1:] != name else 0.0)
            self.made += name

        return run


def test_rounds_go_forwards_and_backwards_after_one_run_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    interleaved({name: clock.run(name, 2.0) for name in "abc"}, seconds=1.0)
    assert clock.made[:3] == "abc"
    assert clock.made[3:9] == "aabbcc"  # the first turn cannot know that a warm-up is not needed
    assert clock.made[9:] == "cbaabccbaabc"
    assert len(clock.made) == 3 + 3 + 3 * FEWEST_ROUNDS


def test_the_run_after_another_candidates_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turns = interleaved({"a": clock.run("a", 0.01, 0.5), "b": clock.run("b", 0.02, 0.3)}, seconds=10.0)
    assert max(run for turn in turns["a"] for run in turn.seconds) == pytest.approx(0.01)
    assert max(turn.median for turn in turns["b"]) == pytest.approx(0.02)


def test_a_turn_lasts_as_long_as_it_should_and_holds_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turns = interleaved({"a": clock.run("a", 0.25)}, seconds=1.0, turn_seconds=1.0)
    assert [len(turn.seconds) for turn in turns["a"]] == [4] * FEWEST_ROUNDS


def test_rounds_stop_at_the_time_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    # A turn is a warm-up and one run: half a second each, a round of two candidates two seconds.
    turns = interleaved({name: clock.run(name, 0.5) for name in "ab"}, seconds=20.0)
    assert {len(each) for each in turns.values()} == {10}


def test_there_is_an_end_to_the_rounds_of_a_fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert len(interleaved({"a": clock.run("a", 0.1)}, seconds=1e9)["a"]) == MOST_ROUNDS


def test_energy_is_metered_around_the_runs_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    starts: list[float] = []

    def meter() -> Callable[[float], float]:
        starts.append(clock.now)
        return lambda seconds: 10.0 * seconds  # a machine of ten watts

    turns = interleaved({"a": clock.run("a", 0.5)}, seconds=1.0, turn_seconds=1.0, meter=meter)
    assert starts[0] == pytest.approx(1.0)  # after the run that allocates and the warm-up
    assert [turn.joules for turn in turns["a"]] == pytest.approx([10.0] * FEWEST_ROUNDS)


def test_without_a_meter_energy_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert {turn.joules for turn in interleaved({"a": clock.run("a", 0.5)}, seconds=1.0)["a"]} == {None}


def test_a_turns_time_is_the_median_of_its_runs() -> None:
    assert timing.Turn((0.3, 0.1, 0.2)).median == 0.2
