"""From a histogram of magnitudes to the threshold t of symmetric int8: what is larger is clipped to t.

The quantiser has the levels -127..127, with the step (scale) s = t / 127:

    Q(x) = s clip(round(x / s), -127, 127)

Four ways to choose t; none gives more than the largest magnitude:

- min-max: the largest magnitude. Nothing is clipped.
- percentile: PERCENTILE of all elements lie below t.
- entropy: the smallest Kullback-Leibler divergence of the quantised distribution from the original one
  (Migacz, "8-bit inference with TensorRT", GTC 2017).
- mse: the smallest expected squared error E (x - Q(x))^2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hamsa_deploy.precision.int8.histogram import Floats, Histogram
from hamsa_runtime.errors import unknown_name
from hamsa_runtime.vocabulary import METHODS

LEVELS = 127  # of each sign, beside 0
PERCENTILE = 99.99
# For a tensor that is zero everywhere. The product of two such scales, which is a bias's, is still normal in float32.
SMALLEST_SCALE = 2.0**-60

# Thresholds that mse tries: from the largest magnitude down to a thousandth of it in steps of 2 %, then between the
# neighbours of the best in steps of 0.1 %.
COARSE: Floats = 0.98 ** np.arange(342, dtype=np.float64)
FINE: Floats = np.linspace(1 / 0.98, 0.98, 41)
# Thresholds that entropy tries: this many, evenly spaced.
DIVERGENCES = 256


def threshold(histogram: Histogram, method: str) -> float:
    """The clipping threshold by one of METHODS.

    Where all values counted are zero, the largest magnitude, and never less than that of the smallest scale.

    Raises:
        InputError: no such method.
    """
    if method not in METHODS:
        raise unknown_name("calibration method", method, METHODS)
    chosen = FUNCTIONS[method](histogram) if histogram.counts.any() else histogram.largest
    return max(chosen, SMALLEST_SCALE * LEVELS)


def scale(t: float) -> float:
    """The step of int8, t / 127: normal and finite in float32 for every t from `threshold`."""
    return t / LEVELS


def min_max(histogram: Histogram) -> float:
    """The largest magnitude."""
    return histogram.largest


def percentile(histogram: Histogram) -> float:
    """Where PERCENTILE of the elements, zeros among them, are below; linear within a bin."""
    wanted = PERCENTILE / 100 * histogram.total - histogram.zeros
    below = np.concatenate(([0.0], np.cumsum(histogram.counts)))
    index = int(np.searchsorted(below[1:], wanted))
    if wanted <= 0 or index == histogram.counts.size:
        # So sparse that zeros alone make up that share: there is nothing to clip by.
        return histogram.largest
    inside = (wanted - below[index]) / histogram.counts[index]
    return min((index + float(inside)) * histogram.width, histogram.largest)


def mse(histogram: Histogram) -> float:
    """The threshold with the smallest expected squared error."""
    coarse = histogram.largest * COARSE
    best = coarse[np.argmin(squared_errors(histogram, coarse))]
    fine = np.minimum(best * FINE, histogram.largest)
    return float(fine[np.argmin(squared_errors(histogram, fine))])


def squared_errors(histogram: Histogram, thresholds: Floats) -> Floats:
    """E (x - Q(x))^2 for each threshold, if the elements of a bin are spread evenly over it.

    The integral of the squared error from 0 to x is, with n = min(round(x / s), 127) the level of x,

        F(x) = n s^3 / 12 + (x - n s)^3 / 3

    whole steps and what is left of the last one, be it rounded or clipped. A bin adds its count times the difference
    of F at its edges, over its width. Zeros have no error.

    Args:
        histogram: of a tensor that is not all zero.
        thresholds: (T,), above 0.

    Returns:
        (T,), in the unit of the tensor, squared.
    """
    used = int(np.flatnonzero(histogram.counts)[-1]) + 1
    x: Floats = np.arange(used + 1, dtype=np.float64) * histogram.width
    errors = [np.diff(_integral(x, t / LEVELS)) @ histogram.counts[:used] for t in thresholds]
    return np.array(errors) / (histogram.width * histogram.total)


def _integral(x: Floats, s: float) -> Floats:
    n = np.minimum(np.rint(x / s), LEVELS)
    rest = x - n * s
    return n * (s**3 / 12) + rest * rest * rest / 3


def entropy(histogram: Histogram) -> float:
    """The threshold whose quantised distribution diverges least.

    Zeros are left out: every threshold represents them exactly. At least 128 bins are kept, so that every level has
    one.
    """
    used = min(int(histogram.largest / histogram.width) + 1, histogram.counts.size)
    kept = np.unique(np.linspace(LEVELS + 1, used, DIVERGENCES).astype(int))
    divergences = [divergence(histogram.counts[:used], int(k)) for k in kept]
    return min(float(kept[np.argmin(divergences)]) * histogram.width, histogram.largest)


def divergence(counts: Floats, kept: int) -> float:
    """Kullback-Leibler divergence of int8 with a threshold of `kept` bins from the distribution in all bins.

    P is the distribution in the bins kept, the last of which takes in what is clipped. Q is what int8 knows of it: each
    level of the quantiser spreads what fell into it, before clipping, evenly over its bins that are not empty.

    Returns:
        sum of P log(P / Q); infinite where Q has nothing for what was clipped.
    """
    p = counts[:kept].copy()
    p[-1] += counts[kept:].sum()
    level = np.minimum(np.rint((np.arange(kept) + 0.5) * LEVELS / kept), LEVELS).astype(int)
    bins = np.bincount(level, p > 0, LEVELS + 1)
    mass = np.bincount(level, counts[:kept], LEVELS + 1)
    inside = p > 0
    q = (mass / np.maximum(bins, 1))[level][inside]
    p = p[inside]
    if not q.all():
        return np.inf
    return float(np.sum(p * np.log((p / p.sum()) / (q / q.sum()))) / p.sum())


# By name, in the vocabulary's order.
FUNCTIONS: dict[str, Callable[[Histogram], float]] = dict(
    zip(METHODS, (min_max, percentile, entropy, mse), strict=True)
)
