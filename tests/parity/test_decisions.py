"""Metrics of logits, by hand on small arrays, and against scipy and scikit-learn on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import rel_entr, softmax
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from hamsa_deploy.parity.decisions import (
    in_top,
    kl_divergences,
    margin_changes,
    rank_correlations,
    ranks,
    same_top1,
)

# Both sides compute in float64, in another order: some roundings of 1e-16, over sums of a hundred terms.
ROUNDING = 1e-12


@pytest.fixture
def logits() -> tuple[np.ndarray, np.ndarray]:
    """What an exported model (float32, with noise) and its reference could give for 50 images of 100 classes."""
    generator = np.random.default_rng(0)
    expected = 3 * generator.standard_normal((50, 100))
    return (expected + generator.standard_normal(expected.shape)).astype(np.float32), expected.astype(np.float32)


def test_kl_divergence_of_a_fair_coin_and_a_biased_one() -> None:
    fair, biased = np.zeros((1, 2)), np.log([[3.0, 1.0]])
    # 1/2 log(1/2 / 3/4) + 1/2 log(1/2 / 1/4) = 1/2 log(4/3)
    np.testing.assert_allclose(kl_divergences(biased, fair), [0.5 * np.log(4 / 3)], rtol=ROUNDING)
    np.testing.assert_array_equal(kl_divergences(fair + 7, fair), [0])
    np.testing.assert_allclose(kl_divergences(np.array([[0.0, 1000]]), np.array([[1000.0, 0]])), [1000], rtol=ROUNDING)


def test_kl_divergence_is_that_of_scipy(logits: tuple[np.ndarray, np.ndarray]) -> None:
    found, expected = logits
    p, q = (softmax(each.astype(np.float64), axis=1) for each in (expected, found))
    np.testing.assert_allclose(kl_divergences(found, expected), rel_entr(p, q).sum(axis=1), rtol=ROUNDING)


def test_in_top_is_whether_the_reference_s_class_is_among_the_k_best() -> None:
    expected, found = np.array([[0.0, 9, 0, 0]]), np.array([[4.0, 2, 3, 1]])
    assert [bool(in_top(found, expected, k)[0]) for k in (1, 2, 3, 4)] == [False, False, True, True]


def test_agreement_is_scikit_learn_s_accuracy_with_the_reference_s_classes_for_true(
    logits: tuple[np.ndarray, np.ndarray],
) -> None:
    found, expected = logits
    best, classes = expected.argmax(axis=1), np.arange(100)
    assert same_top1(found, expected).mean() == accuracy_score(best, found.argmax(axis=1)) < 1
    top5 = top_k_accuracy_score(best, found, k=5, labels=classes)
    assert in_top(found, expected, 5).mean() == top5 < 1
    np.testing.assert_array_equal(in_top(found, expected, 1), same_top1(found, expected))


def test_equal_logits_count_in_the_order_of_argmax() -> None:
    equal = np.zeros((1, 6))
    assert in_top(equal, np.array([[1.0, 0, 0, 0, 0, 0]]), 1)[0]
    assert not in_top(equal, np.array([[0.0, 0, 0, 0, 0, 1]]), 5)[0]


def test_ranks_share_the_mean_where_values_are_equal() -> None:
    np.testing.assert_array_equal(ranks(np.array([[3.0, 1, 3, 2]])), [[2.5, 0, 2.5, 1]])
    values = np.random.default_rng(1).integers(0, 20, (8, 50))
    np.testing.assert_array_equal(ranks(values), rankdata(values, axis=1) - 1)


def test_rank_correlation_of_reversed_shifted_and_constant_logits() -> None:
    rising = np.array([[1.0, 2, 3, 4]])
    np.testing.assert_allclose(rank_correlations(rising[:, ::-1], rising), [-1], rtol=ROUNDING)
    np.testing.assert_allclose(rank_correlations(np.exp(rising), rising), [1], rtol=ROUNDING)
    flat = np.ones((1, 4))
    assert (rank_correlations(flat, flat)[0], rank_correlations(flat, rising)[0]) == (1, 0)


def test_rank_correlation_is_that_of_scipy(logits: tuple[np.ndarray, np.ndarray]) -> None:
    found, expected = (np.round(each, 1) for each in logits)  # rounded, so that there are equal values
    judge = [spearmanr(a, b).statistic for a, b in zip(found, expected, strict=True)]
    np.testing.assert_allclose(rank_correlations(found, expected), judge, rtol=ROUNDING)


def test_margins_are_those_of_the_reference_s_class() -> None:
    expected = np.array([[5.0, 1, 3], [0, 0, 4]])
    found = np.array([[4.0, 1, 3.5], [6, 0, 4]])
    # 0.5 instead of 2; -2 (the class has changed) instead of 4
    np.testing.assert_array_equal(margin_changes(found, expected), [-1.5, -6])
