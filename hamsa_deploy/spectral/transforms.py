"""Emits real transforms along one axis, forward and inverse, as products with constants.

A plan says which products. Left out is what nobody needs: samples that are zero (a Padded signal or spectrum), and
results that are cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from hamsa_deploy.spectral import compilation, dft_operator, factored, framed
from hamsa_deploy.spectral.frames import Frames
from hamsa_deploy.spectral.mirrored import EVEN, ODD, Mirrored
from hamsa_deploy.spectral.padded import Padded, linearly
from hamsa_deploy.spectral.products import multiply
from hamsa_deploy.spectral.values import (
    Complex,
    Lazy,
    Part,
    Real,
    at_times,
    constant_from,
    functions,
    gather,
    is_zero,
    settled,
)
from hamsa_runtime.dft import rader
from hamsa_runtime.dft.costs import Work, nanoseconds
from hamsa_runtime.dft.factorisations import Plan, rows_of_dft
from hamsa_runtime.dft.half_spectrum import HalfSpectrum
from hamsa_runtime.manifest import Transform


def real_dft(x: Real, axis: int, index: np.ndarray) -> tuple[Real, Real]:
    """Orthonormal DFT of a real value at some frequencies.

    Args:
        x: real, (..., n, ...).
        axis: the axis of length n, counted from the end.
        index: the frequencies, in order.

    Returns:
        The real and the imaginary part, (..., len(index), ...).
    """
    re, im = linearly(lambda part: _dft_along(settled(part, Mirrored), axis, index), axis, x)
    return re, im


def _dft_along(x: Real, axis: int, index: np.ndarray) -> tuple[Real, Real]:
    if isinstance(x, Frames) and x.axis == axis:
        return _dft_of_frames(x, index)
    n, columns = x.shape[axis], columns_of(x, axis)
    samples = x.index if isinstance(x, Padded) else np.arange(n)
    plan = compilation.current().plan(n, columns)
    if len(set(index)) == n:
        re, im = _planned_dft(x, axis, plan, one_sided=False)
        spectrum = Mirrored(re, None, EVEN, axis, plan.half_spectrum), Mirrored(im, None, ODD, axis, plan.half_spectrum)
        return spectrum[0].picked(index), spectrum[1].picked(index)
    needed = np.unique(np.minimum(index, n - index))
    if set(index) == set(range(n // 2 + 1)) or not _dense_is_cheaper(plan, len(needed), len(samples), columns):
        return _one_sided_dft(x, axis, plan, index)
    _note(n, (n,), f"dense, {len(needed)} frequencies", columns)
    if len(needed) == len(index):
        return _dense_dft(x, axis, rows_of_dft(n, index, samples))
    re, im = _dense_dft(x, axis, rows_of_dft(n, needed, samples))
    return _with_mirror_images(re, im, axis, n, needed, index)


def _dft_of_frames(x: Frames, index: np.ndarray) -> tuple[Real, Real]:
    """Of all frames together; whatever their axis, with the frames along the last one, which is that of the columns."""
    needed = np.unique(np.minimum(index, x.n - index))
    turned = x.axis == -1
    both = framed.dft(x, needed, in_turn=turned)  # so that the complex values are one transposition away
    if both is None:
        re, im = _dft_along(x.cut(-2), -2, index)
        if turned:
            re, im = (torch.transpose(settled(part, Lazy), -1, -2) for part in (re, im))
        return re, im
    re, im = (Part(both, number, in_turn=turned, turned=turned) for number in (0, 1))
    return (re, im) if np.array_equal(needed, index) else _with_mirror_images(re, im, x.axis, x.n, needed, index)


def _with_mirror_images(
    re: Real, im: Real, axis: int, n: int, needed: np.ndarray, index: np.ndarray
) -> tuple[Real, Real]:
    """From frequencies up to n/2, those at `index`: with their mirror images or repeated."""
    position = np.full(n, -1)
    position[index] = np.arange(len(index))
    half, mirror = position[needed], position[-needed % n]
    if len(set(index)) == len(index) and min(half.min(), mirror.min()) >= 0:
        half_spectrum = HalfSpectrum(len(index), half, mirror)
        return Mirrored(re, None, EVEN, axis, half_spectrum), Mirrored(im, None, ODD, axis, half_spectrum)
    order = np.searchsorted(needed, np.minimum(index, n - index))
    signs = _along(np.where(index > n // 2, -1.0, 1.0), axis)
    return gather(re, axis, order), gather(im, axis, order) * constant_from(signs, im.dtype)


def _dense_dft(x: Real, axis: int, matrices: tuple[np.ndarray, np.ndarray]) -> tuple[Real, Real]:
    """Products with the samples that are not zero. Two, so that the one whose result nobody uses can be dropped."""
    values = x.value if isinstance(x, Padded) else x
    re, im = linearly(lambda v: tuple(multiply(matrix, v, axis) for matrix in matrices), axis, values)
    return re, im


def _one_sided_dft(x: Real, axis: int, plan: Plan, index: np.ndarray) -> tuple[Real, Real]:
    """At frequencies of which none is above n/2; others come from their mirror images."""
    re, im = _planned_dft(x, axis, plan, one_sided=True)
    half_spectrum = plan.half_spectrum.one_sided
    mirrored = index > plan.n // 2
    index = np.where(mirrored, plan.n - index, index)
    re, im = (Mirrored(part, None, EVEN, axis, half_spectrum).picked(index) for part in (re, im))
    if mirrored.any():
        im = im * constant_from(_along(np.where(mirrored, -1.0, 1.0), axis), im.dtype)
    return re, im


def real_idft(
    re: Real,
    im: Real,
    axis: int,
    n: int,
    times: np.ndarray,
    *,
    imaginary: bool = False,
    one_sided: bool = False,
    scale: float = 1.0,
    weighted: bool = False,
) -> Real:
    """One part of scale times the orthonormal inverse DFT of z = re + i im, at some times.

    Re IDFT(z)[t] = sum_k (re[k] cos(2 pi k t / n) - im[k] sin(2 pi k t / n)) / sqrt(n)
    Im IDFT(z)[t] = sum_k (im[k] cos(2 pi k t / n) + re[k] sin(2 pi k t / n)) / sqrt(n)

    Only the even part of what meets a cosine, and the odd part of what meets a sine, contribute, so half of the
    frequencies suffice.

    Args:
        re, im: real, (..., n, ...) or, one-sided, (..., n // 2 + 1, ...).
        axis: the frequency axis, counted from the end.
        n: transform length.
        times: the samples wanted, in order.
        imaginary: which part.
        one_sided: whether z stands for its Hermitian extension, as in torch.fft.irfft.
        scale: what multiplies the result.
        weighted: whether `inverse_weight` and the scale are in re and im already.

    Returns:
        Real, (..., len(times), ...).
    """
    inverse = _Inverse(axis, n, times, -1 if imaginary else 1, one_sided, scale, weighted)
    both = ((im, EVEN), (re, ODD)) if imaginary else ((re, EVEN), (im, ODD))
    parts = [None if inverse.vanishes(part, parity) else part for part, parity in both]
    if all(part is None for part in parts):
        return _zeros(re, axis, len(times))
    return linearly(inverse.along, axis, *parts)[0]


def inverse_weight(n: int, axis: int, columns: int, *, one_sided: bool) -> np.ndarray:
    """What multiplies the entries of a spectrum before the products of the inverse, in natural order."""
    weight = compilation.current().plan(n, columns).weight
    return _along(2 * weight[: n // 2 + 1] if one_sided else weight, axis)


@dataclass(frozen=True)
class _Inverse:
    """One inverse transform: the sum of what meets the cosines and, times `sign`, of what meets minus the sines.

    See `real_idft` for the other fields."""

    axis: int
    n: int
    times: np.ndarray
    sign: int
    one_sided: bool
    scale: float
    weighted: bool

    def vanishes(self, part: Real, parity: int) -> bool:
        """Whether a part contributes nothing: it is zero, or has the other parity."""
        if is_zero(part) or self.one_sided:
            return is_zero(part)
        if not isinstance(part, Mirrored) or part.axis != self.axis or part.parity != -parity:
            return False
        # A spectrum that was rolled is symmetric about another frequency than 0.
        return part.half_spectrum.same_order(HalfSpectrum.hermitian(self.n, part.half_spectrum.half))

    def along(self, even: Real | None, odd: Real | None) -> tuple[Real]:
        """The transform of parts that are lazy along this axis only, or whose other laziness is inside of that."""
        known = [part for part in (even, odd) if part is not None]
        columns = columns_of(known[0], self.axis)
        plan = compilation.current().plan(self.n, columns)
        if all(isinstance(part, Padded) for part in known):
            index = known[0].index
            alike = all(known[0].same_positions(part) for part in known)
            if alike and _dense_is_cheaper(plan, len(index), len(self.times), columns):
                values = (None if part is None else part.value for part in (even, odd))
                return linearly(lambda a, b: (self._from_few(a, b, index),), self.axis, *values)
        _note(self.n, plan.factors, plan.kind, columns)
        halves = [
            None if part is None else self._half(settled(part, Padded), plan, parity)
            for part, parity in ((even, EVEN), (odd, ODD))
        ]
        return linearly(lambda a, b: (_planned_idft(a, b, self.axis, plan, self),), self.axis, *halves)

    def _from_few(self, even: Real | None, odd: Real | None, index: np.ndarray) -> Real:
        """From the few frequencies that are not zero."""
        known = odd if even is None else even
        assert known is not None
        _note(self.n, (self.n,), f"dense, {len(index)} frequencies", columns_of(known, self.axis))
        twice = self.one_sided & ((2 * index) % self.n != 0)  # these stand for their mirror images, too
        weight = _along(np.where(twice, 2.0, 1.0) * self.scale, -2)
        cosines, sines = rows_of_dft(self.n, index, self.times)
        return _dense_idft(even, odd, self.axis, (weight * cosines, self.sign * weight * sines))

    def _half(self, part: Real, plan: Plan, parity: int) -> Real:
        """weight (Z[k] + parity Z[-k]) on half of the frequencies; one-sided, weight 2 Z[k]."""
        half_spectrum = plan.half_spectrum.one_sided if self.one_sided else plan.half_spectrum
        if not isinstance(part, Mirrored) or not part.half_spectrum.same_order(half_spectrum):
            part = _on_half(settled(part, Mirrored), self.axis, half_spectrum)
        if self.one_sided or part.parity == parity:
            half, factor = part.plus, 2.0
        else:
            half, factor = (part.plus + part.minus if parity == EVEN else part.plus - part.minus), 1.0
        factor *= self.sign if parity == ODD else 1
        if self.weighted:
            factor = factor / 2 if self.one_sided else factor
            return half if factor == 1.0 else half * factor
        weight = factor * self.scale * plan.weight[plan.half_spectrum.half]
        if (weight == weight[0]).all():
            return half if weight[0] == 1 else half * float(weight[0])
        return half * constant_from(_along(weight, self.axis), half.dtype)


def _on_half(x: Real, axis: int, half_spectrum: HalfSpectrum) -> Mirrored:
    """A full spectrum as a Mirrored; free where the order is natural."""
    plus = x if np.array_equal(half_spectrum.half, np.arange(x.shape[axis])) else gather(x, axis, half_spectrum.half)
    if half_spectrum.mirror is half_spectrum.half:
        return Mirrored(plus, None, EVEN, axis, half_spectrum)
    return Mirrored(plus, gather(x, axis, half_spectrum.mirror), 0, axis, half_spectrum)


def _planned_dft(x: Real, axis: int, plan: Plan, one_sided: bool) -> tuple[Real, Real]:
    """Real and imaginary part on the plan's half spectrum, from an ordinary or Padded signal."""
    _note(plan.n, plan.factors, plan.kind, columns_of(x, axis))
    if plan.is_dense:
        samples = x.index if isinstance(x, Padded) else np.arange(plan.n)
        return _dense_dft(x, axis, rows_of_dft(plan.n, plan.half_spectrum.half, samples))
    if plan.is_rader:
        re, im = _rader_dft(settled(x, Padded), axis, plan)
        return re, _signed(im, axis, plan) if one_sided else im
    if plan.native:
        return dft_operator.dft(settled(x, Padded), axis)
    return factored.dft(x, axis, plan, one_sided)


def _planned_idft(even: Real | None, odd: Real | None, axis: int, plan: Plan, inverse: _Inverse) -> Real:
    """The signal at some times, from weighted halves in the plan's order; None for zero."""
    times = inverse.times
    if plan.is_dense:
        return _dense_idft(even, odd, axis, rows_of_dft(plan.n, plan.half_spectrum.half, times))
    if plan.is_rader:
        odd = odd if odd is None or not inverse.one_sided else _signed(odd, axis, plan)
        return _rader_idft(even, odd, axis, plan, times)
    if plan.native:
        return at_times(dft_operator.idft(even, odd, axis, plan.n), axis, times)
    return factored.idft(even, odd, axis, plan, times, inverse.one_sided)


def _dense_idft(even: Real | None, odd: Real | None, axis: int, matrices: tuple[np.ndarray, np.ndarray]) -> Real:
    """One product for both parts, if both are there."""
    if even is not None and odd is not None:
        return multiply(np.concatenate(matrices), torch.cat([even, odd], axis), axis, transposed=True)
    part, matrix = (even, matrices[0]) if odd is None else (odd, matrices[1])
    return multiply(matrix, part, axis, transposed=True)


def _signed(im: Real, axis: int, plan: Plan) -> Real:
    return im * constant_from(_along(plan.half_spectrum.one_sided_signs, axis), im.dtype)


def _rader_dft(x: Real, axis: int, plan: Plan) -> tuple[Real, Real]:
    """Real and imaginary part in the order of the plan's half spectrum, from an ordinary signal (..., p, ...)."""
    p, root = plan.n, np.sqrt(plan.n)
    every, half = np.arange(p - 1), np.arange((p - 1) // 2)
    spectrum = Complex(*real_dft(gather(x, axis, rader.powers(p, 1)), axis, every))
    z = functions.mul(spectrum, _response(rader.forward_response(p), axis, x.dtype))
    re, im = (real_idft(a, b, axis, p - 1, half) for a, b in ((z.re, z.im), (z.im, -z.re)))
    first, total = torch.narrow(x, axis, 0, 1) * (1 / root), torch.sum(x, axis, keepdim=True) * (1 / root)
    return torch.cat([total, first + re], axis), torch.cat([torch.zeros_like(total), im], axis)


def _rader_idft(re: Real | None, im: Real | None, axis: int, plan: Plan, times: np.ndarray) -> Real:
    """The signal at some times, from weighted halves in the order of the plan's half spectrum; None for zero.

    x[t] = sum over stored k of (re[k] cos(2 pi k t / p) - im[k] sin(2 pi k t / p)) / sqrt(p)
    """
    p, root = plan.n, np.sqrt(plan.n)
    every, half = np.arange(p - 1), np.arange((p - 1) // 2)
    total: Complex | None = None
    for part, response in zip((re, im), rader.inverse_responses(p), strict=True):
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
    return gather(torch.cat([first, tail], axis), axis, rader.places(p)[times])


def _response(response: np.ndarray, axis: int, dtype: torch.dtype) -> Real:
    dtypes = {torch.float64: torch.complex128}
    return constant_from(_along(response, axis), dtypes.get(dtype, torch.complex64))


def _dense_is_cheaper(plan: Plan, frequencies: int, samples: int, columns: int) -> bool:
    """Whether products with just these frequencies and samples beat the whole transform."""
    if plan.is_dense:
        return True
    macs = 2 * frequencies * samples
    few = Work(plain=macs, moved=2 * frequencies, stored=macs, operators=2)
    rates = compilation.current().rates
    return nanoseconds(few, rates, columns) < nanoseconds(plan.work, rates, columns)


def columns_of(x: Real, axis: int) -> int:
    """How many signals a transform along an axis has, as far as that is known: the batch counts as one."""
    sizes = [size for i, size in enumerate(x.shape) if i not in (0, axis + x.ndim) and isinstance(size, int)]
    return max(1, math.prod(sizes))


def _along(values: np.ndarray, axis: int) -> np.ndarray:
    """(n,) -> (n, 1, ..), to be broadcast along an axis."""
    return values.reshape(-1, *[1] * (-axis - 1))


def _zeros(like: Real, axis: int, length: int) -> Real:
    first = torch.zeros_like(torch.narrow(like, axis, 0, 1))
    shape = list(like.shape)
    shape[axis] = length
    return first.expand(shape)


def _note(n: int, factors: tuple[int, ...], kind: str, columns: int) -> None:
    state = compilation.current()
    state.transforms.append(Transform(state.module_path, n, factors, kind, columns))
