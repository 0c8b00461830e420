r"""Discrete Fourier transforms as products of small dense matrices.

    forward   X[k] = n^{-1/2} sum_t x[t] exp(-2 pi i t k / n)        for k on a half lattice, x real
    inverse   x[t] = n^{-1/2} Re sum_k X[k] exp(+2 pi i t k / n)     from the same half, X Hermitian

Both are orthonormal, whatever the model's own normalisation: float16 sums over thousands of points overflow otherwise.
All matrices are computed in float64.

dense            one (2h x n) matrix, h = n // 2 + 1
two factors      n = n1 n2,  t = n2 t1 + t2,  k = k1 + n1 k2:

    S[k1, t2]      = n1^{-1/2} sum_{t1} x[n2 t1 + t2] exp(-2 pi i t1 k1 / n1)               k1 = 0..n1/2, one matrix
    X[k1 + n1 k2]  = n2^{-1/2} sum_{t2} S[k1, t2] exp(-2 pi i t2 (k1 + n1 k2) / n)          one matrix for each k1

The twiddle factors exp(-2 pi i t2 k1 / n) are inside the second set of matrices. The rows k1 = 0 and, for n1 even,
k1 = n1/2 hold a frequency and its mirror image both; `Lattice.weight` accounts for that.

Source: Cooley and Tukey (1965); the real-input halving over k1 is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from hamsa_deploy.spectral.lattice import Lattice

# Up to here one product beats two smaller ones on both engines, although it has more multiply-accumulates: HAMSA-S,
# whose longest dense transform is 196, is as fast as its prototype was with this limit. Not yet fitted by length.
DENSE_LIMIT = 400


@dataclass(frozen=True)
class Plan:
    """How a real transform of length n is computed.

    Args:
        n: length.
        factors: (n,) for the dense form, (n1, n2) for two factors.
    """

    n: int
    factors: tuple[int, ...]

    @property
    def is_dense(self) -> bool:
        return len(self.factors) == 1

    @property
    def kind(self) -> str:
        return "dense" if self.is_dense else "two factors"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward transform of one real signal; the inverse costs the same."""
        if self.is_dense:
            return 2 * (self.n // 2 + 1) * self.n
        n1, n2 = self.factors
        h1 = n1 // 2 + 1
        return 2 * h1 * self.n + 4 * h1 * n2 * n2

    @property
    def stored(self) -> int:
        """Numbers in the matrices, which the inverse shares."""
        if self.is_dense:
            return self.macs
        n1, n2 = self.factors
        return 2 * (n1 // 2 + 1) * (n1 + 2 * n2 * n2)

    @cached_property
    def lattice(self) -> Lattice:
        if self.is_dense:
            return Lattice(self.n, np.arange(self.n // 2 + 1))
        n1, n2 = self.factors
        k1, k2 = np.arange(n1 // 2 + 1)[:, None], np.arange(n2)[None, :]
        return Lattice(self.n, (k1 + n1 * k2).reshape(-1))

    def dense_matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """(h, n) cosines and (h, n) minus sines: X = (C + i S) x."""
        rows = np.arange(self.n // 2 + 1)
        return _phases(np.outer(rows, np.arange(self.n)), self.n, self.n)

    def first_matrix(self) -> np.ndarray:
        """(h1 * 2, n1): real and imaginary row of each k1 in turn."""
        n1, _ = self.factors
        c, s = _phases(np.outer(np.arange(n1 // 2 + 1), np.arange(n1)), n1, n1)
        return np.stack([c, s], axis=1).reshape(-1, n1)

    def second_matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Two arrays (h1, n2, 2 * n2): for each k1 what takes [Re S; Im S] to Re X and to Im X."""
        n1, n2 = self.factors
        k1 = np.arange(n1 // 2 + 1)[:, None, None]
        k2, t2 = np.arange(n2)[None, :, None], np.arange(n2)[None, None, :]
        c, s = _phases(t2 * (k1 + n1 * k2), self.n, n2)
        return np.concatenate([c, -s], axis=-1), np.concatenate([s, c], axis=-1)


def _phases(integers: np.ndarray, period: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and -sin of 2 pi integers / period, over sqrt(points); reduced modulo the period first, for accuracy."""
    turns = integers % period
    angle = 2 * np.pi * turns / period
    # sin is exactly zero at whole and half turns, so that the imaginary part of k = 0 and k = n/2 is, too.
    sine = np.where(2 * turns % period == 0, 0.0, -np.sin(angle))
    return np.cos(angle) / np.sqrt(points), sine / np.sqrt(points)


@cache
def plan_for(n: int) -> Plan:
    """The plan with the fewest multiply-accumulates and numbers to store, dense up to DENSE_LIMIT and for primes."""
    dense = Plan(n, (n,))
    if n <= DENSE_LIMIT:
        return dense
    splits = [Plan(n, (n1, n // n1)) for n1 in range(2, n // 2 + 1) if n % n1 == 0]
    return min([dense, *splits], key=lambda plan: plan.macs + plan.stored)
