"""Transforms of prime length p as cyclic convolutions of length N = p - 1 (Rader, 1968): their constants.

With g a generator of the group modulo p, and b[q] = exp(-2 pi i g^-q / p):

    forward   X[0] = sum_t x[t],   X[g^-q] = x[0] + sum_m x[g^m] b[q - m]                   q = 0 .. N/2 - 1
    inverse   x[0] = sum_q a[q],   x[g^m]  = a_0 + Re sum_q (a[q] + i b[q]) conj(b)[..]     see transforms._rader_idft

g^(N/2) = -1, so that the frequencies of the first half of the g^-q are half a spectrum: no more of them is computed.
The convolutions are transforms of length N, times a constant, and back; transforms.py computes them as any others.
"""

from __future__ import annotations

import numpy as np

from hamsa_runtime.dft.factorisations import primitive_root


def powers(p: int, sign: int) -> np.ndarray:
    """(p - 1,): g^(sign m) modulo p for m = 0 .. p - 2."""
    generator = pow(primitive_root(p), sign, p)
    found = [1]
    for _ in range(p - 2):
        found.append(found[-1] * generator % p)
    return np.array(found)


def forward_response(p: int) -> np.ndarray:
    """(p - 1,), complex: what multiplies the orthonormal DFT of x[g^m], over sqrt(p)."""
    return np.fft.fft(np.exp(-2j * np.pi * powers(p, -1) / p) / np.sqrt(p))


def inverse_responses(p: int) -> tuple[np.ndarray, np.ndarray]:
    """Two of (p - 1,), complex: what multiplies the orthonormal DFTs of the real and of the imaginary parts."""
    kernel = np.exp(2j * np.pi * powers(p, 1) / p) / np.sqrt(p)
    return np.fft.fft(kernel.real), np.fft.fft(-kernel.imag)


def places(p: int) -> np.ndarray:
    """(p,): where sample t stands in x[0], x[g^0], x[g^1], .."""
    order = np.empty(p, dtype=np.int64)
    order[np.concatenate([[0], powers(p, 1)])] = np.arange(p)
    return order
