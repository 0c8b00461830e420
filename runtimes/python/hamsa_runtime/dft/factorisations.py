r"""Discrete Fourier transforms as products of small dense matrices.

    forward   X[k] = n^{-1/2} sum_t x[t] exp(-2 pi i t k / n)        for k in half a spectrum, x real
    inverse   x[t] = n^{-1/2} Re sum_k X[k] exp(+2 pi i t k / n)     from the same half, X Hermitian

Both are orthonormal, whatever the model's own normalisation: float16 sums over thousands of points overflow otherwise.
All matrices are computed in float64.

dense      one (h x n) matrix for the real parts and one for the imaginary parts, h = n // 2 + 1
factors    n = n1 n2 n3 ..,   t = t1 n/n1 + t2 n/(n1 n2) + ..,   k = k1 + n1 k2 + n1 n2 k3 + ..:

    S[k1, t2, t3]      = n1^{-1/2} sum_{t1} x[t] exp(-2 pi i t1 k1 / n1)                      k1 = 0..n1/2, one matrix
    S[k1, k2, t3]      = n2^{-1/2} sum_{t2} S[k1, t2, t3] exp(-2 pi i t2 (k1 + n1 k2) / (n1 n2))   one for each k1
    X[k1 + n1 k2 + ..] = n3^{-1/2} sum_{t3} S[k1, k2, t3] exp(-2 pi i t3 k / n)               one for each (k1, k2)

The twiddle factors are inside the matrices of the second and later steps. The rows k1 = 0 and, for n1 even,
k1 = n1/2 hold a frequency and its mirror image both; `HalfSpectrum.weight` accounts for that.

rader      n prime: X[g^-q] = x[0] + sum_m x[g^m] exp(-2 pi i g^(m - q) / n), a cyclic convolution of length n - 1 with
           a constant, by a real transform of length n - 1 and half of an inverse one; g generates the group modulo n.

native     One DFT operator of ONNX (dft_operator.py), on request only, for engines with an FFT of their own: on the two
           measured here it never clearly wins, and costs accuracy. benchmarks/native_dft.py, 32 signals: on ONNX
           Runtime 1.31 it takes 1.4 to 7 times the plan's time at powers of two from 64 to 65,536, 17 times at 3136
           (error 3e-4); on OpenVINO 2026.4 0.9 to 1.1 times at powers of two, where all frequencies are asked for and
           in natural order (a filter or a gate needs half of them, in any order), 57 times at 3136, and its one-sided
           transforms are read wrongly.

What wins where, measured by benchmarks/fit_costs.py (two cores with AMX, 32 to 512 signals):

    two factors    from 100 to 144 points on, on ONNX Runtime; from 196 on OpenVINO
    three factors  from 2048 points on, on ONNX Runtime; from 784 (level) to 1600 on OpenVINO
    four factors   at 24,336 points, by 10 %
    Rader's form   from primes of 1531 on, on ONNX Runtime (at 1021 dense is 1.3 to 1.7 times faster); from 1021 on
                   OpenVINO (at 601 they are level)

Sources: Cooley and Tukey (1965), Rader (1968); the real-input halving over k1, and over q, is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from hamsa_runtime.dft.costs import CPU, Rates, Work, nanoseconds
from hamsa_runtime.dft.half_spectrum import HalfSpectrum


@dataclass(frozen=True)
class Plan:
    """How a real transform of length n is computed.

    Args:
        n: length.
        factors: (n,) for the dense form, (n1, n2, ..) for more steps; their product is n. Empty for Rader's form.
        native: whether the engine's own transform computes it, from all samples to all frequencies; factors are (n,).
    """

    n: int
    factors: tuple[int, ...]
    native: bool = False

    @property
    def is_dense(self) -> bool:
        return len(self.factors) == 1 and not self.native

    @property
    def is_rader(self) -> bool:
        return not self.factors

    @property
    def kind(self) -> str:
        if self.native:
            return "native"
        if self.is_rader:
            return "Rader"
        return "dense" if self.is_dense else f"{len(self.factors)} factors"

    @property
    def first_rows(self) -> int:
        """h1: how many k1 the first step keeps."""
        return self.factors[0] // 2 + 1

    @cached_property
    def work(self) -> Work:
        """What one forward transform of one real signal takes; the inverse takes the same.

        Nothing, if it is native: what it takes is the engine's secret, and no product shall be preferred to it.
        """
        if self.native:
            return Work()
        if self.is_rader:
            inner = plan_for(self.n - 1).work  # forward, and an inverse with complex result
            return (
                inner + inner + inner + Work(moved=3 * self.n, pointwise=11 * self.n, stored=2 * self.n, operators=34)
            )
        h1, rest = self.first_rows, self.n // self.factors[0]
        if self.is_dense:
            return Work(plain=2 * h1 * self.n, moved=2 * h1, stored=2 * h1 * self.n, operators=2)
        matrices, products, stored = h1, 0, 2 * h1 * self.factors[0]
        for factor in self.factors[1:]:
            stored += matrices * 4 * factor * factor
            products += matrices
            matrices *= factor
        return Work(
            plain=2 * h1 * self.n,
            batched=4 * h1 * rest * sum(self.factors[1:]),
            moved=2 * h1 * rest * len(self.factors),
            stored=stored,
            operators=len(self.factors) + 1,
            matrices=products + matrices // self.factors[-1],  # the last step has two products for each
        )

    @cached_property
    def half_spectrum(self) -> HalfSpectrum:
        if self.is_rader:
            generator = primitive_root(self.n)
            powers = [pow(generator, -q, self.n) for q in range((self.n - 1) // 2)]
            return HalfSpectrum.hermitian(self.n, np.array([0, *powers]))
        frequencies, stride = np.arange(self.first_rows), self.factors[0]
        for factor in self.factors[1:]:
            frequencies = (frequencies[:, None] + stride * np.arange(factor)).reshape(-1)
            stride *= factor
        return HalfSpectrum.hermitian(self.n, frequencies)

    @cached_property
    def weight(self) -> np.ndarray:
        """(n,): what multiplies the entries of a spectrum before the inverse transform adds up its half of it. A
        native one counts mirror images itself, and takes the mean of an entry and its image."""
        return np.full(self.n, 0.5) if self.native else self.half_spectrum.weight

    def first_matrix(self) -> np.ndarray:
        """(h1 * 2, n1): real and imaginary row of each k1 in turn."""
        n1 = self.factors[0]
        c, s = rows_of_dft(n1, np.arange(self.first_rows), np.arange(n1))
        return np.stack([c, s], axis=1).reshape(-1, n1)

    def later_matrices(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Two arrays (P, n_j, 2 n_j): for each (k1, .., k_{j-1}) what takes [Re S; Im S] to the real and to the
        imaginary parts of the next S; P is their number, j = step + 1."""
        frequencies, stride = np.arange(self.first_rows), self.factors[0]
        for factor in self.factors[1:step]:
            frequencies = (frequencies[:, None] + stride * np.arange(factor)).reshape(-1)
            stride *= factor
        nj = self.factors[step]
        k = frequencies[:, None, None] + stride * np.arange(nj)[None, :, None]
        c, s = _phases(np.arange(nj)[None, None, :] * k, stride * nj, nj)
        return np.concatenate([c, -s], axis=-1), np.concatenate([s, c], axis=-1)

    def middle_matrix(self, step: int) -> np.ndarray:
        """(P, 2 n_j, 2 n_j) with real and imaginary row of each k_j in turn, for a step that is not the last."""
        re, im = self.later_matrices(step)
        return np.stack([re, im], axis=2).reshape(len(re), -1, re.shape[-1])

    def last_matrices(self, one_sided: bool) -> tuple[np.ndarray, np.ndarray]:
        """Those of the last step. One-sided, what is stored at k > n/2 stands for n - k: the other sign."""
        re, im = self.later_matrices(len(self.factors) - 1)
        if one_sided:
            im = im * self.half_spectrum.one_sided_signs.reshape(*im.shape[:2], 1)
        return re, im


def rows_of_dft(n: int, frequencies: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and -sin of 2 pi k t / n over sqrt(n), one row for each frequency k and one column for each time t."""
    return _phases(np.outer(frequencies, times), n, n)


def _phases(integers: np.ndarray, period: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and -sin of 2 pi integers / period, over sqrt(points); reduced modulo the period first, for accuracy."""
    turns = integers % period
    angle = 2 * np.pi * turns / period
    # sin is exactly zero at whole and half turns, so that the imaginary part of k = 0 and k = n/2 is, too.
    sine = np.where(2 * turns % period == 0, 0.0, -np.sin(angle))
    return np.cos(angle) / np.sqrt(points), sine / np.sqrt(points)


def candidates(n: int) -> Iterator[Plan]:
    """Every plan for a length: dense, all ordered products of two to four factors, and Rader's form of a prime."""
    yield Plan(n, (n,))
    for factors in _factorisations(n, MOST_FACTORS):
        if len(factors) > 1:
            yield Plan(n, factors)
    if n > 3 and is_prime(n):
        yield Plan(n, ())


MOST_FACTORS = 4


def _factorisations(n: int, most: int) -> Iterator[tuple[int, ...]]:
    yield (n,)
    if most > 1:
        for first in _proper_divisors(n):
            for rest in _factorisations(n // first, most - 1):
                yield (first, *rest)


@cache
def _proper_divisors(n: int) -> list[int]:
    small = [d for d in range(2, math.isqrt(n) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def is_prime(n: int) -> bool:
    return n > 1 and not _proper_divisors(n)


@cache
def primitive_root(p: int) -> int:
    """The smallest generator of the multiplicative group modulo a prime."""
    primes = [q for q in [*_proper_divisors(p - 1), p - 1] if is_prime(q)]
    return next(g for g in range(2, p) if all(pow(g, (p - 1) // q, p) != 1 for q in primes))


# How many signals a plan is chosen for, where nobody says: a layer of a small vision model.
USUAL_COLUMNS = 128


# Estimates are not better than this: a few percent decide nothing.
AS_GOOD_AS_EQUAL = 1.03


@cache
def plan_for(n: int, rates: Rates = CPU, columns: int = USUAL_COLUMNS) -> Plan:
    """The plan that is estimated to be fastest at these rates, see `best`."""
    return best({plan: nanoseconds(plan.work, rates, columns) for plan in candidates(n)})


@cache
def framed_plan_for(n: int, hop: int, rates: Rates = CPU, columns: int | None = None) -> Plan:
    """The plan for frames of n samples, hop apart, that is estimated to be fastest; dense for a convolution."""
    wanted = USUAL_COLUMNS if columns is None else columns
    return best({plan: nanoseconds(framed_work(plan, hop), rates, wanted) for plan in candidates(n)})


def framed_work(plan: Plan, hop: int) -> Work:
    """What the transform of one frame takes: one convolution, or cutting the frame out, the plan, and an order.

    All multiplications are counted as those of the convolution, so that the two forms are compared by rates that were
    fitted to both on one machine.
    """
    results = 2 * (plan.n // 2 + 1)
    if plan.is_dense:
        macs = results * plan.n
        return Work(convolved=macs, moved=results, stored=macs, operators=2)
    saved = 0 if plan.is_rader else plan.half_spectrum.half.size // plan.factors[-1]  # one product for both parts
    steps = replace(plan.work, plain=0.0, batched=0.0, convolved=plan.work.macs)
    return cutting(plan.n, hop) + steps + Work(moved=results, operators=1, matrices=-saved)


# Frames of more blocks than this are gathered: each block is an operator of its own.
MOST_PIECES = 32
# A gathered number takes so many times what a copied one does: 8 ns on ONNX Runtime, 1 on OpenVINO.
GATHERED = 20


def pieces(n: int, hop: int) -> int:
    """How many blocks of hop samples a frame touches."""
    return -(-n // hop)


def cutting(n: int, hop: int) -> Work:
    """What cutting one frame out of a signal takes, see frames.py: a copy into slices and one of these into frames. The
    product with the window shows no cost of its own."""
    touched = pieces(n, hop)
    if touched > MOST_PIECES:
        return Work(moved=GATHERED * n, operators=3)
    return Work(moved=hop + (2 if touched > 1 else 1) * n, operators=touched / 2 + 4)  # a slice is the least operator


def transposed_is_cheaper(n: int, hop: int, rates: Rates, columns: int | None) -> bool:
    """Whether the inverse of dense frames is one transposed convolution, and not a product and sums of its pieces."""
    results, touched = 2 * (n // 2 + 1), pieces(n, hop)
    product = Work(convolved=results * n, moved=(3 if touched > 1 else 1) * n, operators=3 * touched + 3)
    transposed = Work(transposed=results * n, moved=n, operators=2)
    wanted = USUAL_COLUMNS if columns is None else columns
    return touched > MOST_PIECES or nanoseconds(transposed, rates, wanted) < nanoseconds(product, rates, wanted)


def best(estimates: Mapping[Plan, float]) -> Plan:
    """The plan with the smallest estimate; of those that are as good as equal, the one with fewest factors."""
    limit = AS_GOOD_AS_EQUAL * min(estimates.values())
    return min(
        (plan for plan, estimate in estimates.items() if estimate <= limit),
        key=lambda plan: (plan.is_rader, len(plan.factors), estimates[plan]),
    )
