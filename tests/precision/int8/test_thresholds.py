"""Clipping thresholds: each method's promise, on distributions whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamsa_deploy.precision.int8.histogram import BINS, Histogram
from hamsa_deploy.precision.int8.thresholds import (
    LEVELS,
    SMALLEST_SCALE,
    divergence,
    scale,
    squared_errors,
    threshold,
)
from hamsa_runtime.errors import InputError
from hamsa_runtime.vocabulary import METHODS

N = 100_000
DRAWS = {
    "normal": lambda rng: rng.standard_normal(N),
    "laplace": lambda rng: rng.laplace(size=N),
    "uniform": lambda rng: rng.uniform(-1, 1, N),
    "relu": lambda rng: np.maximum(rng.standard_normal(N), 0),
    "lognormal": lambda rng: rng.lognormal(sigma=1.5, size=N),
    "two widths": lambda rng: rng.standard_normal(N) * np.where(rng.random(N) < 0.01, 30, 1),
}


def drawn(kind: str, seed: int = 0, outlier: float = 0.0) -> np.ndarray:
    return np.append(DRAWS[kind](np.random.default_rng(seed)), outlier).astype(np.float32)


def histogram_of(x: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(x)
    return histogram


def quantised(x: np.ndarray, t: float) -> np.ndarray:
    s = t / LEVELS
    return s * np.clip(np.rint(x.astype(np.float64) / s), -LEVELS, LEVELS)


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.02])
def test_the_expected_squared_error_is_the_measured_one(kind: str, share: float) -> None:
    x = drawn(kind)
    t = share * float(np.abs(x).max())
    measured = np.square(x - quantised(x, t)).mean()
    [expected] = squared_errors(histogram_of(x), np.array([t]))
    # The mean of N squared errors scatters by its own standard deviation over sqrt(N); and inside a bin elements are
    # not spread evenly: (width / step)^2 of the error, where the step is 127 times smaller than t.
    scatter = np.square(x - quantised(x, t)).std() / np.sqrt(N)
    assert abs(measured - expected) < 4 * scatter + 0.02 * measured


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(DRAWS)), seed=st.integers(0, 2**32 - 1), outlier=st.floats(0, 1e4))
def test_no_method_has_a_smaller_squared_error_than_mse(kind: str, seed: int, outlier: float) -> None:
    histogram = histogram_of(drawn(kind, seed, outlier))
    errors = {m: squared_errors(histogram, np.array([threshold(histogram, m)]))[0] for m in METHODS}
    # mse tries thresholds 0.1 % apart; the error grows at most with the square of the threshold where it rounds
    assert errors["mse"] <= 1.002 * min(errors.values())


@pytest.mark.parametrize("method", ["percentile", "entropy"])
@pytest.mark.parametrize("outlier", [30.0, 100.0])
def test_a_huge_outlier_is_clipped(method: str, outlier: float) -> None:
    t = threshold(histogram_of(drawn("normal", outlier=outlier)), method)
    # the largest of 1e5 normal numbers is about 4.4, and nothing sensible clips below three standard deviations
    assert 3 < t < 5


@pytest.mark.parametrize("count", [1e5, 1e6])
def test_the_mse_threshold_weighs_an_outlier_against_all_others(count: float) -> None:
    """One outlier L among n elements: the minimum of t^2 / (12 127^2) + (L - t)^2 / n."""
    histogram = normal_histogram(count, largest=100.0)
    histogram.counts[int(100.0 / histogram.width)] += 1
    # thresholds tried are 0.1 % apart, and the outlier is known to half a bin, 0.02 % of it
    assert threshold(histogram, "mse") == pytest.approx(100 / (1 + count / (12 * LEVELS**2)), rel=2e-3)


def test_the_mse_threshold_of_a_normal_distribution() -> None:
    """The minimum of t^2 / (12 127^2) + 2 int_t^inf (x - t)^2 phi(x) dx, where the derivative is zero."""
    t = np.arange(3, 5, 1e-4)
    phi = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    above = np.array([math.erfc(x / math.sqrt(2)) / 2 for x in t])
    best = t[np.argmin(np.abs(t / (6 * LEVELS**2) - 4 * (phi - t * above)))]
    # thresholds tried are 0.1 % apart; the last step reaches half a step further than the integral says: 0.4 %
    assert threshold(normal_histogram(1e9, largest=7.0), "mse") == pytest.approx(best, rel=5e-3)


def normal_histogram(count: float, largest: float) -> Histogram:
    """Of standard normal numbers: as many in each bin as there should be."""
    histogram = Histogram()
    histogram.largest = largest
    edges = np.arange(BINS + 1) * histogram.width / math.sqrt(2)
    histogram.counts = count * np.diff([math.erf(x) for x in edges])
    return histogram


@pytest.mark.parametrize("method", METHODS)
def test_uniform_values_are_clipped_by_less_than_one_step(method: str) -> None:
    """(For mse the best is half a step below the largest: 127.5 steps then cover everything.)"""
    x = drawn("uniform")
    t = threshold(histogram_of(x), method)
    assert 1 - 1 / LEVELS < t / np.abs(x).max() <= 1


def test_min_max_clips_nothing() -> None:
    x = drawn("two widths")
    assert threshold(histogram_of(x), "min-max") == np.abs(x).max()


@pytest.mark.parametrize("kind", DRAWS)
def test_the_percentile_is_that_of_the_elements(kind: str) -> None:
    x = drawn(kind)
    histogram = histogram_of(x)
    share = (np.abs(x) <= threshold(histogram, "percentile")).mean()
    # within one bin, in which there are at most that many elements
    top = histogram.counts[histogram.counts.cumsum() > 0.999 * histogram.counts.sum()].max()
    assert share == pytest.approx(0.9999, abs=top / x.size)


def test_divergence_against_a_plain_loop() -> None:
    counts = np.random.default_rng(1).integers(0, 5, 400).astype(float)
    for kept in (128, 200, 333, 400):
        counts[kept - 1] = 3  # or else the last level may be empty, and the divergence infinite
        assert divergence(counts, kept) == pytest.approx(slow_divergence(counts, kept), rel=1e-12)


def slow_divergence(counts: np.ndarray, kept: int) -> float:
    p, q = [0.0] * kept, [0.0] * kept
    levels: dict[int, list[int]] = {}
    for b in range(kept):
        levels.setdefault(min(round((b + 0.5) * LEVELS / kept), LEVELS), []).append(b)
        p[b] = counts[b] + (sum(counts[kept:]) if b == kept - 1 else 0)
    for bins in levels.values():
        full = [b for b in bins if p[b] > 0]
        for b in full:
            q[b] = sum(counts[c] for c in bins) / len(full)
    terms = [p[b] / sum(p) * np.log((p[b] / sum(p)) / (q[b] / sum(q))) for b in range(kept) if p[b] > 0]
    return float(sum(terms))


def test_a_level_that_holds_nothing_but_what_was_clipped_diverges_infinitely() -> None:
    counts = np.zeros(300)
    counts[:100] = counts[299] = 1
    assert divergence(counts, 200) == np.inf
    assert np.isfinite(divergence(counts, 300))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-38, 1e-20, 1.0, 3.4e38])
def test_the_scale_is_always_normal_and_so_are_its_inverse_and_its_square(method: str, value: float) -> None:
    x = np.zeros(1000, np.float32)
    x[::7] = value
    found = np.float32(scale(threshold(histogram_of(x), method)))
    assert found >= SMALLEST_SCALE
    assert np.isfinite(found)
    assert np.isfinite(1 / found)
    assert found > 1e18 or found * found >= np.finfo(np.float32).tiny


@pytest.mark.parametrize("method", METHODS)
def test_values_that_the_sample_missed_still_count_as_the_largest(method: str) -> None:
    histogram = Histogram()
    histogram.zeros, histogram.largest = 1e6, 2.0
    assert threshold(histogram, method) == 2.0


@pytest.mark.parametrize("method", METHODS)
def test_no_threshold_exceeds_the_largest_magnitude(method: str) -> None:
    histogram = histogram_of(np.array([2.0 - 1e-6, 1e-3, 0.0], np.float32))
    assert histogram.width * BINS == 2.0
    assert threshold(histogram, method) <= histogram.largest


def test_a_misspelt_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'entropy'"):
        threshold(Histogram(), "entropi")
