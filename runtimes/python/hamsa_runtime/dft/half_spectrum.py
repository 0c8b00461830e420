"""Which frequencies are stored, in which order.

The spectrum X[k] of a real signal of length n is Hermitian, X[-k] = conj(X[k]), so a *half spectrum* tells
all of it. It lists the frequencies that a plan produces (`half`), in the plan's own order, and their mirror images
-k mod n (`mirror`). Every k is in one of the two; a few are in both (k = 0 and k = n/2 always are).

A one-sided spectrum, frequencies 0..n//2 as torch.fft.rfft gives them, is a half spectrum of length n//2 + 1 in which
every frequency is its own mirror image: what a plan stores at k > n/2 stands for n - k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class HalfSpectrum:
    """Half of the positions along a frequency axis.

    Args:
        n: length of the axis.
        half: (h,) integers in 0..n-1, in the order in which the plan produces them.
        mirror: (h,) the mirror image of each; together they cover 0..n-1.
    """

    n: int
    half: np.ndarray
    mirror: np.ndarray

    @classmethod
    def hermitian(cls, n: int, half: np.ndarray) -> HalfSpectrum:
        """The half spectrum of a transform of length n; the mirror image of k is -k mod n."""
        return cls(n, half, (-half) % n)

    @cached_property
    def one_sided(self) -> HalfSpectrum:
        """The same stored values read as a one-sided spectrum."""
        folded = np.minimum(self.half, self.mirror)
        return HalfSpectrum(self.n // 2 + 1, folded, folded)

    @cached_property
    def one_sided_signs(self) -> np.ndarray:
        """(h,): what multiplies an odd value in that reading; -1 where what is stored at k > n/2 stands for n - k."""
        return np.where(self.half > self.n // 2, -1.0, 1.0)

    def relabelled(self, index: np.ndarray) -> HalfSpectrum:
        """That of y, where y[i] = x[index[i]] and index is a permutation: nothing moves but the labels."""
        position = np.argsort(index)
        return HalfSpectrum(self.n, position[self.half], position[self.mirror])

    @cached_property
    def weight(self) -> np.ndarray:
        """(n,): 1 / how often position k is covered by half and mirror together, so that the sum over stored
        positions of weight * (value at half + value at mirror) counts every position once."""
        covered = np.bincount(self.half, minlength=self.n) + np.bincount(self.mirror, minlength=self.n)
        return 1.0 / covered

    @cached_property
    def order(self) -> np.ndarray:
        """(n,): where position k stands in the concatenation of half and mirror."""
        position = np.empty(self.n, dtype=np.int64)
        position[self.mirror] = np.arange(len(self.half)) + len(self.half)
        position[self.half] = np.arange(len(self.half))
        return position

    def same_order(self, other: HalfSpectrum) -> bool:
        return self is other or (
            self.n == other.n and np.array_equal(self.half, other.half) and np.array_equal(self.mirror, other.mirror)
        )
