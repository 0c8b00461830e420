"""Percentiles, ratios and verdicts of given times."""

from __future__ import annotations

import pytest

from hamsa_deploy.bench.percentiles import FASTER, SLOWER, UNCLEAR, Ratio, percentiles, ratio, verdict

QUIET = Ratio(1.0, 0.99, 1.01)


def test_percentiles_of_a_hundred_runs() -> None:
    found = percentiles([float(k) for k in range(101)])
    assert found == pytest.approx({"p50": 50.0, "p90": 90.0, "p99": 99.0})


@pytest.mark.parametrize(("runs", "known"), [(1, ["p50"]), (9, ["p50"]), (10, ["p50", "p90"]), (99, ["p50", "p90"])])
def test_percentiles_need_a_run_beyond_them(runs: int, known: list[str]) -> None:
    found = percentiles([1.0] * runs)
    assert [name for name, value in found.items() if value is not None] == known


def test_ratio_is_by_round_so_that_drift_cancels() -> None:
    first = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert ratio([0.5 * t for t in first], first) == Ratio(0.5, 0.5, 0.5)


def test_quartiles_of_the_ratio() -> None:
    assert ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == Ratio(3.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Ratio(0.9, 0.88, 0.92), FASTER),
        (Ratio(1.1, 1.05, 1.2), SLOWER),
        (Ratio(0.9, 0.8, 1.0), UNCLEAR),  # the quartiles do not lie on one side of 1
        (Ratio(1.1, 0.99, 1.3), UNCLEAR),
        (Ratio(0.995, 0.994, 0.996), UNCLEAR),  # steady, but less than the first differs from itself
    ],
)
def test_a_difference_counts_beyond_the_spread_and_the_control(found: Ratio, expected: str) -> None:
    assert verdict(found, QUIET) == expected


def test_a_noisy_machine_hides_what_a_quiet_one_shows() -> None:
    found = Ratio(0.9, 0.88, 0.92)
    assert verdict(found, QUIET) == FASTER
    assert verdict(found, Ratio(1.0, 0.97, 1.15)) == UNCLEAR
