"""Inverse transforms that wait for what is asked of them, and the convolutions that some of them are.

Between two transforms of one length, a product with a constant is a cyclic convolution with its inverse transform h:

    IDFT(response * DFT(x))[t] = sum_s h[(t - s) mod n] x[s]

Three ways to compute it are compared by their cost: the two transforms; one matrix, where h is the same for every
signal; a depthwise convolution, where h varies along one other axis.
"""

from __future__ import annotations

import numpy as np
import torch

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.convolution import Convolution
from hamsa_deploy.spectral.lazy_inverse import LazyInverse
from hamsa_deploy.spectral.spectrum import Spectrum
from hamsa_deploy.spectral.transforms import columns_of, inverse_weight, real_idft
from hamsa_deploy.spectral.values import PART, Complex, Real, constant_from, is_complex
from hamsa_runtime.dft.costs import nanoseconds


def inverse_part(
    z: Complex, axis: int, n: int, scale: float, *, one_sided: bool = False, imaginary: bool = False
) -> LazyInverse:
    """One part of scale times the orthonormal inverse DFT of z, not computed yet.

    Args:
        z: (..., n, ...) or, one-sided, (..., n // 2 + 1, ...).
        axis: counted from the end.
        n: transform length.
        scale: what multiplies the orthonormal transform.
        one_sided: whether z stands for its Hermitian extension.
        imaginary: which part.
    """

    def compute(times: np.ndarray) -> Real:
        if isinstance(z, Spectrum) and _is_whole(z, axis, n, one_sided):
            return _of_spectrum(z, axis, n, times, scale, one_sided, imaginary)
        return real_idft(z.re, z.im, axis, n, times, imaginary=imaginary, one_sided=one_sided, scale=scale)

    shape = list(z.shape)
    shape[axis] = n
    return LazyInverse(compute, axis, np.arange(n), torch.Size(shape), PART[z.dtype])


def _is_whole(z: Spectrum, axis: int, n: int, one_sided: bool) -> bool:
    """Whether the inverse transform undoes just this spectrum's transform."""
    frequencies = n // 2 + 1 if one_sided else n
    return (z.axis, z.n) == (axis, n) and np.array_equal(z.index, np.arange(frequencies))


def _of_spectrum(
    z: Spectrum, axis: int, n: int, times: np.ndarray, scale: float, one_sided: bool, imaginary: bool
) -> Real:
    columns = columns_of(z, axis)
    if not is_complex(z.x):
        convolution = Convolution.of(z, times, scale, one_sided, imaginary)
        if convolution is not None and _is_cheaper(convolution, n, columns):
            return convolution.emit()
    if z.response is None:
        re, im, scale = z.transform.re, z.transform.im, scale * z.scale
        return real_idft(re, im, axis, n, times, imaginary=imaginary, one_sided=one_sided, scale=scale)
    weight = constant_from(scale * inverse_weight(n, axis, columns, one_sided=one_sided), PART[z.dtype])
    w = z.weighted(weight)
    return real_idft(w.re, w.im, axis, n, times, imaginary=imaginary, one_sided=one_sided, weighted=True)


def _is_cheaper(convolution: Convolution, n: int, columns: int) -> bool:
    state = compilation.current()
    transforms = state.plan(n, columns).work
    return nanoseconds(convolution.work, state.rates, columns) < nanoseconds(
        transforms + transforms, state.rates, columns
    )
