"""Metrics on small arrays with known answers, and everything that must never pass."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cosine as cosine_distance
from sklearn.metrics import max_error, mean_absolute_error, mean_squared_error

from hamsa_deploy.parity.comparison import compare
from hamsa_deploy.parity.differences import (
    MAX_DECIBELS,
    correlation,
    cosines,
    relative_errors,
    scales,
    signal_to_noise,
    value_errors,
)
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_runtime.errors import ParityError

B = np.array([[1.0, 2.0, 4.0], [0.5, -1.0, 0.25]], np.float32)
EXACT = Thresholds(max_relative_error=1e-6, cosine=0.999999, top1=1.0)


def largest(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return relative_errors(found, expected).max(axis=1)


def test_relative_errors_are_relative_to_how_far_values_are_apart() -> None:
    """Few values have one scale for all images: 2, from 4 to the median 2."""
    np.testing.assert_allclose(largest(B + np.array([[0, 0, 0.4], [0, 0, 0]]), B), [0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(largest(np.full((1, 3), 0.5), np.zeros((1, 3))), [0.5])


@pytest.mark.parametrize("stretched", ["an offset", "a mask", "one huge value"])
def test_no_value_stretches_the_scale(stretched: str) -> None:
    b = np.random.default_rng(0).standard_normal((4, 100))
    usual = scales(b)
    if stretched == "an offset":
        b = b + 1000
    elif stretched == "a mask":
        b[:, :10] = -1e9
    else:
        b[1, 3] = 1e6
    np.testing.assert_allclose(scales(b), usual, rtol=1e-9 if stretched == "an offset" else 0.5)


def test_probabilities_have_their_own_scale() -> None:
    b = np.full((2, 100), 1e-6)
    b[:, 0] = 1 - 99e-6
    np.testing.assert_allclose(scales(b), 1, rtol=1e-3)


def test_the_correlation_is_of_what_images_do_not_share() -> None:
    rng = np.random.default_rng(0)
    shared, one, other = 30 * rng.standard_normal(50), *rng.standard_normal((2, 20, 50))
    assert cosines(shared + other, shared + one).min() > 0.99
    assert correlation(shared + other, shared + one, 2.0**-23) < 0.2
    assert correlation(shared + one + 1e-3 * other, shared + one, 2.0**-23) > 0.999
    # One image, or several that are all the same: then of what the values do not share.
    assert correlation(other[:1] + 5, one[:1] + 5, 2.0**-23) < 0.5
    assert correlation(one[[0, 0]] + 1e-3, one[[0, 0]], 2.0**-23) > 0.999
    assert correlation(np.array([[1.1]]), np.array([[1.0]]), 2.0**-23) == 1


def test_cosines() -> None:
    np.testing.assert_allclose(cosines(B * 3, B), [1, 1])
    np.testing.assert_allclose(cosines(np.array([[2.0, 0]]), np.array([[0, 2.0]])), [0])
    np.testing.assert_allclose(cosines(np.zeros((1, 2)), np.zeros((1, 2))), [1])
    np.testing.assert_allclose(cosines(np.zeros((1, 2)), np.full((1, 2), 2.0)), [0])
    # Of two values, which may happen to be near zero, one for all images.
    np.testing.assert_allclose(cosines(np.array([[-1e-3, 0], [3, 1]]), np.array([[1e-3, 0], [3, 1]])), 1, atol=1e-5)


def test_absolute_errors_by_hand_and_by_scikit_learn() -> None:
    largest, mean = value_errors(B + np.array([[0, 0, 0.5], [0.25, 0, -0.25]]), B)
    np.testing.assert_allclose(largest, [0.5, 0.25])
    np.testing.assert_allclose(mean, [0.5 / 3, 0.5 / 3])
    a, b = noisy((20, 30))
    largest, mean = value_errors(a, b)
    assert largest.max() == pytest.approx(max_error(b.ravel(), a.ravel()), rel=1e-12)
    assert mean.mean() == pytest.approx(mean_absolute_error(b, a), rel=1e-12)


def test_cosines_are_those_of_scipy() -> None:
    a, b = noisy((20, 30))
    np.testing.assert_allclose(cosines(a, b), [1 - cosine_distance(u, v) for u, v in zip(a, b, strict=True)])


def test_signal_to_noise_by_hand_and_by_scikit_learn() -> None:
    assert signal_to_noise(B * 1.1, B) == pytest.approx(20, abs=1e-5)  # a tenth of the amplitude; 1.1 is float32 here
    a, b = noisy((20, 30))
    judge = 10 * np.log10(np.square(b).mean() / mean_squared_error(b, a))
    assert signal_to_noise(a, b) == pytest.approx(judge, rel=1e-12)


def test_signal_to_noise_stays_finite() -> None:
    silence = np.zeros((1, 3))
    assert (signal_to_noise(B, B), signal_to_noise(silence, silence)) == (MAX_DECIBELS, MAX_DECIBELS)
    assert signal_to_noise(silence + 1, silence) == -MAX_DECIBELS
    assert signal_to_noise(np.full((1, 3), 1e150), np.full((1, 3), 1e-150)) == -MAX_DECIBELS


def test_outputs_of_any_shape_are_compared_image_by_image() -> None:
    a, b = noisy((4, 3, 2, 5))
    np.testing.assert_array_equal(relative_errors(a, b), relative_errors(a.reshape(4, 30), b.reshape(4, 30)))


def noisy(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What an exported model and its reference could give."""
    generator = np.random.default_rng(0)
    expected = generator.standard_normal(shape)
    return expected + 0.1 * generator.standard_normal(shape), expected


def test_equal_outputs_pass_and_say_what_was_compared() -> None:
    report = compare({"logits": B}, {"logits": B}, EXACT, "Net")
    assert report.passed
    assert (report.images, report.metrics["logits"]["top1"]) == (2, 1.0)
    report.require()


def test_an_error_beyond_the_threshold_fails_with_exit_code_3() -> None:
    report = compare({"logits": B * 1.01}, {"logits": B}, EXACT, "Net")
    assert not report.passed
    with pytest.raises(ParityError, match="max relative error") as caught:
        report.require()
    assert caught.value.exit_code == 3


def test_a_changed_class_fails_but_a_tie_does_not() -> None:
    loose = Thresholds(max_relative_error=0.1, cosine=0.0, top1=1.0, tie=0.2)
    near, clear = np.array([[1.0, 0.95, 0.0]]), np.array([[1.0, 0.5, 0.0]])
    swapped = np.array([[0.95, 1.0, 0.0]])
    assert compare({"logits": swapped}, {"logits": near}, loose, "Net").passed
    report = compare({"logits": np.array([[0.5, 1.0, 0.0]])}, {"logits": clear}, loose, "Net")
    assert any("top-1" in failure for failure in report.failures)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(np.where(B == 4, np.nan, B), id="NaN"),
        pytest.param(np.where(B == 4, np.inf, B), id="infinite"),
        pytest.param(B[:, :2], id="another shape"),
        pytest.param(B[:1], id="fewer images"),
    ],
)
def test_outputs_that_cannot_be_compared_never_pass(found: np.ndarray) -> None:
    with pytest.raises(ParityError):
        compare({"logits": found}, {"logits": B}, THRESHOLDS["bf16"], "Net")


def test_no_images_and_other_outputs_never_pass() -> None:
    with pytest.raises(ParityError, match="empty"):
        compare({"logits": B[:0]}, {"logits": B[:0]}, EXACT, "Net")
    with pytest.raises(ParityError, match="outputs"):
        compare({"logits": B}, {"logits": B, "embedding": B}, EXACT, "Net")
