"""Transforms of prime length p as cyclic convolutions of length N = p - 1 (Rader, 1968).

With g a generator of the group modulo p, and b[q] = exp(-2 pi i g^-q / p):

    forward   X[0] = sum_t x[t],   X[g^-q] = x[0] + sum_m x[g^m] b[q - m]                   q = 0 .. N/2 - 1
    inverse   x[0] = sum_q a[q],   x[g^m]  = a_0 + Re sum_q (a[q] + i b[q]) conj(b)[..]     see idft

g^(N/2) = -1, so that the first half of the frequencies g^-q is a half lattice: no more of them is computed.
"""

from __future__ import annotations

import numpy as np
import torch

from hamsa_deploy.spectral.factorisations import Plan, primitive_root
from hamsa_deploy.spectral.values import Complex, Real, constant_from, functions, gather


def dft(x: Real, axis: int, plan: Plan) -> tuple[Real, Real]:
    """Real and imaginary part of the orthonormal DFT, in the order of the plan's lattice.

    Args:
        x: ordinary real tensor, (..., p, ...).
        axis: counted from the end.
        plan: Rader's, for length p.
    """
    from hamsa_deploy.spectral.transforms import real_dft, real_idft

    p, root = plan.n, np.sqrt(plan.n)
    every, half = np.arange(p - 1), np.arange((p - 1) // 2)
    kernel = np.exp(-2j * np.pi * _powers(p, -1) / p) / root
    spectrum = Complex(*real_dft(gather(x, axis, _powers(p, 1)), axis, every))
    z = functions.mul(spectrum, _response(kernel, axis, x.dtype))
    re, im = (real_idft(a, b, axis, p - 1, half) for a, b in ((z.re, z.im), (z.im, -z.re)))
    first, total = torch.narrow(x, axis, 0, 1) * (1 / root), torch.sum(x, axis, keepdim=True) * (1 / root)
    return torch.cat([total, first + re], axis), torch.cat([torch.zeros_like(total), im], axis)


def idft(re: Real | None, im: Real | None, axis: int, plan: Plan, times: np.ndarray) -> Real:
    """The signal at some times from weighted halves in the order of the plan's lattice; None for zero.

    x[t] = sum over stored k of (re[k] cos(2 pi k t / p) - im[k] sin(2 pi k t / p)) / sqrt(p)
    """
    from hamsa_deploy.spectral.padded import Padded
    from hamsa_deploy.spectral.transforms import real_dft, real_idft

    p, root = plan.n, np.sqrt(plan.n)
    every, half = np.arange(p - 1), np.arange((p - 1) // 2)
    kernel = np.exp(2j * np.pi * _powers(p, 1) / p) / root
    total: Complex | None = None
    for part, response in ((re, kernel.real), (im, -kernel.imag)):
        if part is None:
            continue
        tail = Padded(torch.narrow(part, axis, 1, len(half)), axis, p - 1, half)
        z = functions.mul(Complex(*real_dft(tail, axis, every)), _response(response, axis, part.dtype))
        total = z if total is None else functions.add(total, z)
    assert total is not None
    tail = real_idft(total.re, total.im, axis, p - 1, every)
    if re is None:
        first = torch.zeros_like(torch.narrow(tail, axis, 0, 1))
    else:
        tail = tail + torch.narrow(re, axis, 0, 1) * (1 / root)
        first = torch.sum(re, axis, keepdim=True) * (1 / root)
    order = np.empty(p, dtype=np.int64)
    order[np.concatenate([[0], _powers(p, 1)])] = np.arange(p)
    return gather(torch.cat([first, tail], axis), axis, order[times])


def _powers(p: int, sign: int) -> np.ndarray:
    """g^(sign m) modulo p for m = 0 .. p - 2."""
    generator = pow(primitive_root(p), sign, p)
    powers = [1]
    for _ in range(p - 2):
        powers.append(powers[-1] * generator % p)
    return np.array(powers)


def _response(kernel: np.ndarray, axis: int, dtype: torch.dtype) -> Real:
    """The DFT of a kernel, to be multiplied with an orthonormal one."""
    dtypes = {torch.float64: torch.complex128}
    return constant_from(np.fft.fft(kernel).reshape(-1, *[1] * (-axis - 1)), dtypes.get(dtype, torch.complex64))
