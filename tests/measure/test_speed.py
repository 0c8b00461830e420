"""Timing against float32, on a clock that only moves when a run is made."""

from __future__ import annotations

import pytest

from hamsa_deploy.measure.execution import BUDGET_SECONDS, FEWEST_ROUNDS, measure_speed


class Clock:
    """Runs of given lengths. What follows another run is slower, as it is on a machine with caches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.last, self.counts = 0.0, "", {"narrow": 0, "wide": 0}
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def run(self, name: str, seconds: float, after_another: float = 0.0) -> None:
        self.now += seconds + (after_another if self.last != name else 0.0)
        self.last = name
        self.counts[name] += 1


@pytest.mark.parametrize("ms", [2.0, 100.0])
def test_the_run_after_another_bundles_run_does_not_count(monkeypatch: pytest.MonkeyPatch, ms: float) -> None:
    clock = Clock(monkeypatch)
    found = measure_speed(lambda: clock.run("narrow", ms / 1e3, 5e-3), lambda: clock.run("wide", ms / 500, 1e-3))
    assert found == pytest.approx((ms, 2 * ms, 0.5))
    assert clock.now < BUDGET_SECONDS + 1.0  # what a whole export may spend on it


def test_a_slow_moment_of_the_machine_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def narrow() -> None:
        clock.run("narrow", 8e-3 if clock.counts["narrow"] % 3 == 0 else 2e-3)  # every third run

    assert measure_speed(narrow, lambda: clock.run("wide", 4e-3)).ratio == pytest.approx(0.5)


def test_a_drifting_machine_keeps_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    found = measure_speed(
        lambda: clock.run("narrow", 2e-3 * (1 + clock.now)), lambda: clock.run("wide", 4e-3 * (1 + clock.now))
    )
    assert found.ratio == pytest.approx(0.5, abs=0.01)  # the clock drifts by 2 % within a round
    assert found.milliseconds > 2.2


def test_a_model_of_seconds_runs_once_a_round_and_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert measure_speed(lambda: clock.run("narrow", 3.0), lambda: clock.run("wide", 6.0)).ratio == pytest.approx(0.5)
    assert clock.counts == {"narrow": 1 + FEWEST_ROUNDS, "wide": 1 + FEWEST_ROUNDS}
