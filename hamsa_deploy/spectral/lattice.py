"""Which frequencies are stored, in which order.

The spectrum X[k] of a real signal of length n is Hermitian, X[-k] = conj(X[k]), so a *half lattice* of frequencies
tells all of it. A lattice lists the frequencies that a plan produces (`half`), in the plan's own order, and their
mirror images -k mod n (`mirror`). Every k is in one of the two; a few are in both (k = 0 and k = n/2 always are).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Lattice:
    """Half of the frequencies of a transform of length n.

    Args:
        n: transform length.
        half: (h,) integers in 0..n-1, in the order in which the plan produces them.
    """

    n: int
    half: np.ndarray

    @cached_property
    def mirror(self) -> np.ndarray:
        """(h,): the mirror image -k mod n of each stored frequency."""
        return (-self.half) % self.n

    @cached_property
    def weight(self) -> np.ndarray:
        """(h,): 1 / how often {k, -k} is covered by half and mirror together, so that the sum over
        stored frequencies of weight * (value at k + value at -k) counts every frequency once."""
        covered = np.bincount(self.half, minlength=self.n) + np.bincount(self.mirror, minlength=self.n)
        return 1.0 / covered[self.half]

    @cached_property
    def order(self) -> np.ndarray:
        """(n,): where frequency k stands in the concatenation of half and mirror."""
        position = np.empty(self.n, dtype=np.int64)
        position[self.mirror] = np.arange(len(self.half)) + len(self.half)
        position[self.half] = np.arange(len(self.half))
        return position

    def same_order(self, other: Lattice) -> bool:
        return self is other or (self.n == other.n and np.array_equal(self.half, other.half))
