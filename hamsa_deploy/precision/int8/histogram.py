"""How the magnitudes of a tensor are distributed, in bounded memory, whatever arrives.

BINS bins of equal width divide [0, 2^e); exact zeros are counted apart. When a value does not fit, e grows, and
neighbouring bins are added up: since all ranges are powers of two, nothing is lost and the order of the arrays does not
matter. e is the smallest that fits, so at least half of the bins lie below the largest magnitude.

Of a large array a regular sample is counted, with the weight of what it stands for; the largest magnitude is that of
all elements.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hamsa_deploy.precision.observers import Observer
from hamsa_runtime.errors import InputError

BINS = 4096
SAMPLE = 2**17  # elements of one array that are counted: HAMSA-S has values of 1.6 million elements

Floats = NDArray[np.float64]


class Histogram:
    """The magnitudes of one tensor over many arrays.

    Attributes:
        counts: float64 (BINS,), how many elements fell into each bin, without exact zeros.
        zeros: how many elements were 0.
        largest: the largest magnitude of all; 0.0 before anything but zeros came.
    """

    def __init__(self) -> None:
        self.counts: Floats = np.zeros(BINS)
        self.zeros = 0.0
        self.largest = 0.0

    @property
    def width(self) -> float:
        """Of one bin; 0.0 before anything but zeros came."""
        return math.ldexp(1.0, _exponent(self.largest)) / BINS if self.largest else 0.0

    @property
    def total(self) -> float:
        """How many elements were counted."""
        return self.zeros + float(self.counts.sum())

    def add(self, values: np.ndarray, name: str = "a tensor") -> None:
        """Count an array.

        Args:
            values: of any floating-point type and shape.
            name: of the tensor, for the error.

        Raises:
            InputError: there is NaN or Inf among the values.
        """
        if not values.size:
            return
        largest = max(float(values.max()), -float(values.min()))  # NaN if there is one
        if not math.isfinite(largest):
            raise InputError(
                f"{name} holds NaN or Inf during calibration",
                expected="finite values on every calibration image",
                cause="the float32 model overflows on this input, or the input is not finite",
                fix="leave that input out, or check the weights",
            )
        self._grow(largest)
        flat = values.reshape(-1)
        sample = np.abs(flat[:: _stride(flat.size)].astype(np.float64))
        self._count(sample, weight=flat.size / sample.size)

    def _grow(self, largest: float) -> None:
        """Widen the bins until `largest` fits."""
        if largest <= self.largest:
            return
        doublings = _exponent(largest) - _exponent(self.largest) if self.largest else 0
        self.largest = largest
        merged = 2 ** min(doublings, BINS.bit_length() - 1)
        pairs = self.counts.reshape(-1, merged).sum(axis=1)
        self.counts = np.pad(pairs, (0, BINS - pairs.size))

    def _count(self, sample: Floats, weight: float) -> None:
        nonzero = sample[sample > 0]
        self.zeros += weight * (sample.size - nonzero.size)
        if nonzero.size:
            bins = (nonzero / self.width).astype(np.int64)
            self.counts += weight * np.bincount(bins, minlength=BINS)


def _exponent(value: float) -> int:
    """The smallest e with value < 2^e."""
    return math.frexp(value)[1]


def _stride(size: int) -> int:
    """A stride that leaves at most SAMPLE elements, and that has no factor in common with the size of the array.

    It then has none in common with any dimension, and the sample holds as much of each channel as of any other.
    """
    stride = -(-size // SAMPLE)
    while math.gcd(stride, size) > 1:
        stride += 1
    return stride


def _look(so_far: Histogram | None, array: np.ndarray, name: str) -> Histogram:
    histogram = so_far or Histogram()
    histogram.add(array, f"the value {name!r}")
    return histogram


def _pack(histogram: Histogram) -> np.ndarray:
    return np.concatenate([[histogram.zeros, histogram.largest], histogram.counts])


def _unpack(array: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.zeros, histogram.largest = map(float, array[:2])
    histogram.counts = array[2:].copy()
    return histogram


# Raises InputError for a value that is NaN or Inf somewhere.
HISTOGRAMS = Observer("histograms", _look, _pack, _unpack)
