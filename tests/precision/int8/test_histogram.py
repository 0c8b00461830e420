"""Histograms of magnitudes: nothing lost, whatever the order; bounded memory; no NaN."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hamsa_deploy.precision.int8.histogram import BINS, HISTOGRAMS, SAMPLE, Histogram
from hamsa_runtime.errors import InputError

# 0.3 fits bins up to 0.5; 3.0 needs three doublings; 1e9 moves everything before it into the first bins.
PARTS = [
    np.linspace(-0.3, 0.3, 1001, dtype=np.float32),
    np.array([0.0, 3.0, -2.5, 0.0], np.float32),
    np.array([[1e-6, -1e9]], np.float32),
]


def histogram_of(*arrays: np.ndarray) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(array)
    return histogram


def test_every_element_is_counted_once_in_its_bin() -> None:
    x = np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)
    histogram = histogram_of(x)
    edges = np.arange(BINS + 1) * histogram.width
    np.testing.assert_array_equal(histogram.counts, np.histogram(np.abs(x), edges)[0])
    assert histogram.largest == np.abs(x).max()
    assert edges[BINS // 2] <= histogram.largest < edges[-1]


def test_a_histogram_that_grew_is_the_one_that_was_large_at_once() -> None:
    edges = np.arange(BINS + 1) * histogram_of(*PARTS[:2]).width
    expected = np.histogram(np.abs(np.concatenate(PARTS[:2])), edges)[0].astype(float)
    expected[0] -= 3  # exact zeros are counted apart: two of them, and one in the middle of the line
    np.testing.assert_array_equal(histogram_of(*PARTS[:2]).counts, expected)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_does_not_matter(order: tuple[int, ...]) -> None:
    expected, found = histogram_of(*PARTS), histogram_of(*(PARTS[i] for i in order))
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert (found.zeros, found.largest, found.total) == (expected.zeros, expected.largest, 1007)


def test_zeros_are_counted_apart_also_before_anything_else() -> None:
    histogram = histogram_of(np.zeros((2, 3), np.float32))
    assert (histogram.zeros, histogram.largest, histogram.width, histogram.total) == (6, 0, 0, 6)
    histogram.add(np.array([1.0, 0.0, -0.0], np.float32))
    assert (histogram.zeros, histogram.counts.sum()) == (8, 1)


@pytest.mark.parametrize("value", [1e-45, 1e-38, 1.0, 2.0, 3.4e38])
def test_any_magnitude_of_float32_has_a_bin(value: float) -> None:
    histogram = histogram_of(np.full(4, -value, np.float32))
    assert np.flatnonzero(histogram.counts).tolist() == [int(float(np.float32(value)) / histogram.width)]


def test_of_a_large_array_a_sample_is_counted_with_its_weight_and_the_largest_is_found() -> None:
    x = np.full((1, 5000, 96), 0.5, np.float32)
    x[0, 1, 1] = 7.0  # not in the sample
    histogram = histogram_of(x)
    assert histogram.largest == 7.0
    assert histogram.total == pytest.approx(x.size)  # weights are not whole: float64 rounding
    assert np.flatnonzero(histogram.counts).tolist() == [int(0.5 / histogram.width)]


@pytest.mark.parametrize("channels", [96, 128, 1000])
def test_the_sample_takes_every_channel_alike(channels: int) -> None:
    """With a stride that divides the number of channels, most of them would never be seen."""
    x = np.broadcast_to(np.arange(1, channels + 1, dtype=np.float32), (20 * SAMPLE // channels, channels))
    histogram = histogram_of(x)
    per_channel = histogram.counts[(np.arange(1, channels + 1) / histogram.width).astype(int)]
    # A regular sample visits each residue equally often, give or take one visit in about 120.
    np.testing.assert_allclose(per_channel / x.shape[0], 1.0, atol=0.01 * channels / 96)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_the_tensors_name(bad: float) -> None:
    x = np.zeros(2 * SAMPLE, np.float32)
    x[SAMPLE + 1] = bad
    with pytest.raises(InputError, match=r"blocks\.0 holds NaN or Inf"):
        Histogram().add(x, "blocks.0")


@pytest.mark.parametrize("histogram", [histogram_of(PARTS[0]), histogram_of(*PARTS), Histogram()])
def test_a_histogram_survives_as_an_array(histogram: Histogram) -> None:
    found = HISTOGRAMS.unpack(HISTOGRAMS.pack(histogram))
    np.testing.assert_array_equal(found.counts, histogram.counts)
    assert (found.zeros, found.largest) == (histogram.zeros, histogram.largest)
    found.add(PARTS[2])  # and can go on
    assert found.largest == 1e9
