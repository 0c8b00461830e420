"""The front, against what it is by definition."""

from __future__ import annotations

import numpy as np

from hamsa_deploy.sweep.pareto import SAME_DB, Point, agreement, front


def test_the_front_is_what_nothing_beats_on_random_points() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        values = random.integers(0, 6, size=(8, 2)).astype(float)
        points = {str(i): Point(*row) for i, row in enumerate(values)}
        # By definition: no other point is <= in time and >= in agreement without being the same in both.
        expected = {
            str(i)
            for i, (t, a) in enumerate(values)
            if not ((values[:, 0] <= t) & (values[:, 1] >= a) & ((values[:, 0] < t) | (values[:, 1] > a))).any()
        }
        assert front(points) == expected


def test_equal_points_are_both_on_the_front() -> None:
    assert front({"a": Point(1.0, 50.0), "b": Point(1.0, 50.0)}) == {"a", "b"}


def test_above_float32s_rounding_a_slower_bundle_is_beaten_though_it_has_more_decibels() -> None:
    points = {"fast": Point(1.0, SAME_DB + 1), "slow": Point(2.0, SAME_DB + 9), "coarse": Point(0.5, SAME_DB - 1)}
    assert front(points) == {"fast", "coarse"}


def test_agreement_is_that_of_the_worst_output() -> None:
    metrics = {"logits": {"signal_to_noise_db": 44.0, "top1": 1.0}, "embedding": {"signal_to_noise_db": 39.5}}
    assert agreement(metrics) == 39.5
