"""A cyclic convolution with a constant kernel, computed without transforms.

    y[t] = sum_s h[(t - s) mod n] x[s]        t in `times`, s where x is not zero

As one matrix where h is the same for every signal, or as a depthwise convolution where it varies along one other axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.lazy_inverse import LazyInverse
from hamsa_deploy.spectral.mirrored import Mirrored
from hamsa_deploy.spectral.padded import Padded, linearly
from hamsa_deploy.spectral.products import multiply
from hamsa_deploy.spectral.spectrum import Spectrum
from hamsa_deploy.spectral.values import Constant, Lazy, Real, at_times, constant_from, settled
from hamsa_runtime.dft.costs import Work

# What rounding in float64 leaves of a zero: a causal kernel has exact zeros before it was transformed.
ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class Convolution:
    """The convolution that a filtered spectrum and an inverse transform are.

    Args:
        x: the real signal, (..., n, ...), perhaps Padded.
        axis: counted from the end.
        times: the samples of the result that are wanted.
        kernel: (..., n, ...), float64; of the rank of x, with size 1 along axes on which it does not depend.
    """

    x: Real
    axis: int
    times: np.ndarray
    kernel: np.ndarray

    @classmethod
    def of(cls, z: Spectrum, times: np.ndarray, scale: float, one_sided: bool, imaginary: bool) -> Convolution | None:
        """The convolution of z's inverse transform; None if its kernel varies along more than one other axis."""
        rank = len(z.x.shape)
        shape = [1] * rank
        shape[z.axis] = len(z.index)
        response = np.ones(shape) if z.response is None else _values(z.response)
        if response.ndim > rank:
            return None
        response = (
            scale
            * z.scale
            * np.broadcast_to(
                response.reshape((1,) * (rank - response.ndim) + response.shape),
                np.broadcast_shapes(shape, response.shape),
            )
        )
        inverse = np.fft.irfft(response, z.n, z.axis) if one_sided else np.fft.ifft(response, axis=z.axis)
        kernel = inverse.imag if imaginary else inverse.real
        convolution = cls(settled(z.x, LazyInverse), z.axis, times, kernel)
        return convolution if convolution._is_possible() else None

    def _is_possible(self) -> bool:
        channels = self._channels()
        together = np.array_equal(self.times, np.arange(self.times[0], self.times[0] + len(self.times)))
        if len(channels) > 1 or (channels and not together):
            return False
        return all(self.kernel.shape[axis] == self.x.shape[axis] for axis in channels)

    def _channels(self) -> list[int]:
        """The other axes along which the kernel varies, counted from the end."""
        rank = self.kernel.ndim
        return [i - rank for i in range(rank) if i - rank != self.axis and self.kernel.shape[i] > 1]

    def _parts(self, x: Real) -> tuple[Real, np.ndarray]:
        """What is not zero of x along the axis, and where it stands."""
        if isinstance(x, Padded) and x.axis == self.axis:
            return x.value, x.index
        return x, np.arange(self.kernel.shape[self.axis])

    @cached_property
    def _support(self) -> tuple[int, int]:
        """(first, taps): where the kernel is not zero, as one cyclic interval."""
        n = self.kernel.shape[self.axis]
        size = np.abs(np.moveaxis(self.kernel, self.axis, 0)).reshape(n, -1).max(axis=1)
        there = np.flatnonzero(size > ROUNDING * max(size.max(), 1e-300))
        if not len(there):
            return 0, 1
        gaps = np.diff(np.append(there, there[0] + n))
        widest = int(np.argmax(gaps))
        first, last = int(there[(widest + 1) % len(there)]), int(there[widest])
        taps = (last - first) % n + 1
        return (first if first + taps <= n else first - n), taps

    @property
    def work(self) -> Work:
        """What it costs for one signal."""
        results, first_taps = len(self.times), self._support
        if first_taps == (0, 1) and not self._channels():
            return Work(moved=results)
        if not self._channels():
            macs = results * len(self._parts(self.x)[1])
            return Work(plain=macs, moved=results, stored=macs, operators=1)
        taps = first_taps[1]
        return Work(depthwise=results * taps, moved=3 * results + taps, operators=4)

    def emit(self) -> Real:
        """The result at `times`, (..., len(times), ...)."""
        if self._support == (0, 1) and not self._channels():
            factor = float(self.kernel.reshape(-1)[0])
            x = at_times(settled(self.x, Padded), self.axis, self.times)
            return x if factor == 1.0 else x * factor
        return self._depthwise() if self._channels() else self._as_matrix()

    def _as_matrix(self) -> Real:
        n = self.kernel.shape[self.axis]

        def along(x: Real) -> tuple[Real]:
            values, samples = self._parts(settled(x, Mirrored))
            matrix = self.kernel.reshape(-1)[(self.times[:, None] - samples[None, :]) % n]
            return (multiply(matrix, values, self.axis),)

        return linearly(along, self.axis, self.x)[0]

    def _depthwise(self) -> Real:
        channel, rank = self._channels()[0], self.kernel.ndim
        order = [i for i in range(rank) if i - rank not in (channel, self.axis)] + [channel + rank, self.axis + rank]
        x = torch.permute(self._extended(), order)
        others, tail = list(x.shape[:-2]), list(x.shape[-2:])
        flat = torch.reshape(x, (math.prod(others), *tail))
        weight = constant_from(self._taps(channel)[:, None, :], x.dtype)
        y = torch.conv1d(flat, weight, groups=tail[0])
        y = torch.reshape(y, (*others, tail[0], len(self.times)))
        return torch.permute(y, [int(i) for i in np.argsort(order)])

    def _taps(self, channel: int) -> np.ndarray:
        """(channels, taps): conv1d computes sum_j w[j] e[t + j], so the kernel runs backwards."""
        first, taps = self._support
        n = self.kernel.shape[self.axis]
        rows = np.moveaxis(self.kernel, (channel, self.axis), (-2, -1)).reshape(-1, n)
        return rows[:, (first + taps - 1 - np.arange(taps)) % n]

    def _extended(self) -> Real:
        """x at all times that the result depends on, wrapped around or with zeros beyond its ends."""
        first, taps = self._support
        n = self.kernel.shape[self.axis]
        wanted = np.arange(self.times[0] - first - taps + 1, self.times[-1] - first + 1) % n
        where = np.full(n, -1)
        values, samples = self._parts(self.x)
        where[samples] = np.arange(len(samples))
        return _assembled(settled(values, Lazy), self.axis, where[wanted])


def _assembled(x: Real, axis: int, positions: np.ndarray) -> Real:
    """x at some positions, -1 for zero, from as few pieces as possible."""
    steps = np.diff(positions)
    joined = ((positions[:-1] >= 0) & (steps == 1)) | ((positions[:-1] == -1) & (steps == 0))
    pieces = []
    for run in np.split(positions, np.flatnonzero(~joined) + 1):
        if run[0] >= 0:
            pieces.append(torch.narrow(x, axis, int(run[0]), len(run)))
        else:
            shape = list(x.shape)
            shape[axis] = len(run)
            pieces.append(torch.zeros(shape, dtype=x.dtype))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, axis)


def _values(constant: Constant) -> np.ndarray:
    return np.asarray(compilation.eagerly(lambda: constant.wide().resolve_conj().numpy()))
