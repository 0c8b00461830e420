"""Paired accuracies against published values and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from hamsa_deploy.parity.significance import Z95, PairedAccuracy, paired_accuracy, wilson_interval


@pytest.mark.parametrize(
    ("table", "interval", "digits"),
    [
        # Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014) 2850-2875: airway hyper-responsiveness
        pytest.param((1, 7, 1, 12), (-0.507, -0.026), 3, id="Fagerland"),
        # Newcombe and Altman in Altman et al., Statistics with Confidence, 2nd edition (2000), page 52: marijuana users
        pytest.param((4, 3, 9, 16), (-0.03, 0.38), 2, id="Altman"),
    ],
)
def test_the_interval_is_the_published_one(
    table: tuple[int, int, int, int], interval: tuple[float, float], digits: int
) -> None:
    found = PairedAccuracy(*table).interval()
    assert [round(limit, digits) for limit in found] == list(interval)


def test_the_interval_of_no_change_has_a_width_that_shrinks_with_more_images() -> None:
    few, many = PairedAccuracy(9, 0, 0, 1).interval(), PairedAccuracy(900, 0, 0, 100).interval()
    assert few[0] < many[0] < 0 < many[1] < few[1]
    np.testing.assert_allclose(few[0], -few[1])
    assert many[1] < 0.005


def test_exchanging_both_models_mirrors_the_interval() -> None:
    low, high = PairedAccuracy(50, 7, 2, 10).interval()
    np.testing.assert_allclose(PairedAccuracy(50, 2, 7, 10).interval(), (-high, -low), rtol=1e-12)


def test_the_interval_covers_the_truth_about_19_times_out_of_20() -> None:
    generator, truth = np.random.default_rng(0), (0.85, 0.05, 0.02, 0.08)
    draws = [PairedAccuracy(*map(int, generator.multinomial(300, truth))).interval() for _ in range(2000)]
    covered = np.mean([low <= truth[2] - truth[1] <= high for low, high in draws])
    # 2000 draws have a standard error of 0.005; Newcombe reports coverage between 0.94 and 0.97 for such tables.
    assert 0.94 <= covered <= 0.97


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (7, 1), (6, 16), (40, 40), (300, 260), (2000, 1900)])
def test_mcnemar_s_test_is_scipy_s_binomial_test(lost: int, gained: int) -> None:
    p = PairedAccuracy(100, lost, gained, 100).p_value()
    judge = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert p == pytest.approx(judge, rel=1e-9)  # logarithms of numbers near 1e4 lose four digits


def test_mcnemar_s_test_has_the_published_value() -> None:
    assert PairedAccuracy(1, 7, 1, 12).p_value() == pytest.approx(2 * (1 + 8) / 2**8)  # Fagerland et al.: 0.070


def test_a_proportion_s_interval_is_scipy_s() -> None:
    assert pytest.approx(norm.ppf(0.975), rel=1e-15) == Z95
    judge = binomtest(18, 60).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(18, 60), (judge.low, judge.high), rtol=1e-12)
    low, high = wilson_interval(5, 5)
    assert (math.isclose(high, 1), low < 1) == (True, True)


def test_counts_come_from_what_each_model_is_right_on() -> None:
    exported = np.array([1, 1, 0, 0, 1, 0], bool)
    reference = np.array([1, 0, 1, 0, 1, 1], bool)
    found = paired_accuracy(exported, reference)
    assert found == PairedAccuracy(both=2, lost=2, gained=1, neither=1)
    assert (found.accuracy, found.reference_accuracy, found.change) == (3 / 6, 4 / 6, -1 / 6)
