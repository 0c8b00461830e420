"""Turns and rounds, on a clock that only moves when a run is made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hamsa_deploy.measure.interleaved import FEWEST_ROUNDS, MOST_ROUNDS, Turn, time_in_turn


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
    time_in_turn({name: clock.run(name, 2.0) for name in "abc"}, seconds=1.0)
    assert clock.made == "abc" + "abccbaabccbaabc"
    assert len(clock.made) == 3 + 3 * FEWEST_ROUNDS


def test_what_is_shorter_than_a_second_is_warmed_up_before_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    time_in_turn({name: clock.run(name, 0.9) for name in "ab"}, seconds=0.0, fewest=2)
    assert clock.made == "ab" + "aabb" + "bbaa"


def test_the_run_after_another_candidates_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turns = time_in_turn({"a": clock.run("a", 0.01, 0.5), "b": clock.run("b", 0.02, 0.3)}, seconds=10.0)
    assert max(run for turn in turns["a"] for run in turn.seconds) == pytest.approx(0.01)
    assert max(turn.median for turn in turns["b"]) == pytest.approx(0.02)


def test_a_turn_lasts_as_long_as_it_should_and_holds_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turns = time_in_turn({"a": clock.run("a", 0.25)}, seconds=1.0, turn_seconds=1.0)
    assert [len(turn.seconds) for turn in turns["a"]] == [4] * FEWEST_ROUNDS


def test_another_clock_times_the_runs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    run = clock.run("a", 0.25)
    turns = time_in_turn({"a": run}, seconds=0.0, turn_seconds=1.0, clock=lambda: clock.now / 10)
    assert [turn.seconds for turn in turns["a"]] == [pytest.approx((0.025,) * 4)] * FEWEST_ROUNDS


def test_rounds_stop_at_the_time_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    # A turn is a warm-up and one run: half a second each, a round of two candidates two seconds.
    turns = time_in_turn({name: clock.run(name, 0.5) for name in "ab"}, seconds=20.0)
    assert {len(each) for each in turns.values()} == {10}


def test_there_is_an_end_to_the_rounds_of_a_fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert len(time_in_turn({"a": clock.run("a", 0.1)}, seconds=1e9)["a"]) == MOST_ROUNDS


def test_energy_is_metered_around_the_runs_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    starts: list[float] = []

    def meter() -> Callable[[float], float]:
        starts.append(clock.now)
        return lambda seconds: 10.0 * seconds  # a machine of ten watts

    turns = time_in_turn({"a": clock.run("a", 0.5)}, seconds=1.0, turn_seconds=1.0, meter=meter)
    assert starts[0] == pytest.approx(1.0)  # after the run that allocates and the warm-up
    assert [turn.joules for turn in turns["a"]] == pytest.approx([10.0] * FEWEST_ROUNDS)


def test_without_a_meter_energy_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert {turn.joules for turn in time_in_turn({"a": clock.run("a", 0.5)}, seconds=1.0)["a"]} == {None}


@pytest.mark.parametrize(("fewest", "most", "rounds"), [(2, 200, 2), (3, 3, 3)])
def test_the_number_of_rounds_has_bounds_whatever_the_time(
    monkeypatch: pytest.MonkeyPatch, fewest: int, most: int, rounds: int
) -> None:
    clock = Clock(monkeypatch)
    seconds = 0.0 if fewest < most else 1e9
    assert len(time_in_turn({"a": clock.run("a", 0.1)}, seconds, fewest=fewest, most=most)["a"]) == rounds


def test_a_turn_of_no_length_is_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turns = time_in_turn({"a": clock.run("a", 0.1)}, 0.0, turn_seconds=0.0)
    assert {len(turn.seconds) for turn in turns["a"]} == {1}


def test_a_turns_times_are_the_median_and_the_shortest_of_its_runs() -> None:
    turn = Turn((0.3, 0.1, 0.2))
    assert (turn.median, turn.shortest) == (0.2, 0.1)


def test_without_a_candidate_there_is_nothing_to_wait_for() -> None:
    assert time_in_turn({}, seconds=10.0) == {}
