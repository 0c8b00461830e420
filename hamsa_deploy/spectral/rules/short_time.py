"""Short-time Fourier transforms: frames of n samples, hop samples apart, each under a window w.

    X[k, m] = sum_t w[t] x[m hop + t] exp(-2 pi i k t / n)
    y[t]    = sum_m w[t - m hop] irfft(X[:, m])[t - m hop]  /  sum_m w[t - m hop]^2

What cuts a signal into frames makes Frames of it, whatever it is called (stft, unfold, as_strided), and a constant
window goes into them; framed.py has the forms of their transforms. The inverse is a transform of all columns, with the
window in its matrix while that is dense, and the sum over frames; or both as one transposed convolution.

Source: Griffin and Lim, Signal estimation from modified short-time Fourier transform (1984), for the division.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.dispatch import apply, entry_rule, full
from hamsa_deploy.spectral.framed import FRAMES
from hamsa_deploy.spectral.frames import Frames
from hamsa_deploy.spectral.rules.fourier import fft, ifft, irfft, rfft
from hamsa_deploy.spectral.rules.portable import overlap_added
from hamsa_deploy.spectral.values import (
    PART,
    Complex,
    Constant,
    Real,
    as_complex,
    constant_from,
    functions,
    is_complex,
    joined,
)
from hamsa_runtime.dft.factorisations import MOST_PIECES, pieces, rows_of_dft, transposed_is_cheaper
from hamsa_runtime.dft.half_spectrum import HalfSpectrum
from hamsa_runtime.manifest import Transform


@dataclass(frozen=True)
class Framing:
    """How a signal is cut into frames.

    Args:
        n: samples of a frame.
        hop: samples from one frame to the next.
        window: (n,), real or complex.
    """

    n: int
    hop: int
    window: Any

    def frames(self, x: Any) -> Any:
        """(.., n, frames) under the window, of a real or complex signal (.., L)."""
        if is_complex(x):
            z = as_complex(x)
            re, im = (Frames(part, self.n, self.hop, axis=-2) for part in (z.re, z.im))
            return functions.mul(Complex(re, im), self.column())
        return functions.mul(Frames(x, self.n, self.hop, axis=-2), self.column())

    def has_constant_window(self, dtype: torch.dtype) -> bool:
        """Whether the window and the transform become one matrix, for spectra of this dtype."""
        return isinstance(self.window, Constant) and self.window.dtype == PART[dtype]

    def column(self) -> Any:
        """The window as (n, 1), for frames (batch, n, frames)."""
        return functions.unsqueeze(self.window, -1)

    def adjoint(self) -> Real:
        """(2 h, n): the samples that the real parts of frequencies 0..n//2 stand for, then those of the imaginary
        ones. Of a real signal's frequencies all but 0 and n/2 stand for two."""
        half = np.arange(self.n // 2 + 1)
        weight = 2 * HalfSpectrum.hermitian(self.n, half).weight[half, None]
        rows = np.concatenate([weight * part for part in rows_of_dft(self.n, half, np.arange(self.n))])
        return functions.mul(constant_from(rows, self.window.dtype), self.window)


def _framing(n: int, hop: int | None, width: int | None, window: Any, dtype: torch.dtype) -> Framing:
    """PyTorch's defaults, and the window with zeros on both sides up to n."""
    width = n if width is None else width
    if window is None:
        window = constant_from(np.ones(width), PART.get(dtype, dtype))
    before = (n - width) // 2
    if width < n:
        window = functions.constant_pad_nd(window, [before, n - width - before])
    return Framing(n, n // 4 if hop is None else hop, window)


@entry_rule("stft")
def stft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """Frames of a signal (batch, samples) or (samples,) to (.., frequencies, frames). Centring came before."""
    framing = _framing(n_fft, hop_length, win_length, window, x.dtype)
    if align_to_window and win_length is not None:
        x = torch.constant_pad_nd(x, [(n_fft - win_length) // 2] * 2)
    two_sided = onesided is False or is_complex(x) or is_complex(window)
    frames = framing.frames(torch.unsqueeze(x, 0) if x.ndim == 1 else x)
    z = (fft if two_sided else rfft)(frames, dim=-2, norm="ortho" if normalized else None)
    z = functions.squeeze(z, 0) if x.ndim == 1 else z
    return functions.view_as_real(z) if return_complex is False else z


@entry_rule("unfold")
def unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Frames along the last axis; along another, or of what is complex, they are cut by the operator itself."""
    known = isinstance(size, int) and isinstance(step, int) and size > 0
    if is_complex(x) or not known or dimension not in (-1, x.ndim - 1) or not x.dtype.is_floating_point:
        return NotImplemented
    return Frames(full(x), size, step)


@entry_rule("im2col")
def im2col(
    x: Any, kernel_size: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> Any:
    """Patches of one row of one channel, (N, 1, 1, L), are frames (N, n, frames)."""
    one_row = x.ndim == 4 and (x.shape[1], x.shape[2], kernel_size[0]) == (1, 1, 1) and padding[0] == 0
    if is_complex(x) or not one_row or (dilation[1], padding[1]) != (1, 0) or not x.dtype.is_floating_point:
        return NotImplemented
    return Frames(torch.reshape(full(x), (x.shape[0], x.shape[3])), kernel_size[1], stride[1], axis=-2)


@entry_rule("istft")
def istft(
    z: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Any:
    """The signal (batch, samples) or (samples,) whose frames under the window come nearest to the spectra."""
    framing = _framing(n_fft, hop_length, win_length, window, z.dtype)
    spectra = torch.unsqueeze(z, 0) if z.ndim == 2 else z
    signal = _synthesised(spectra, framing, return_complex)
    envelope = _envelope(framing, z.shape[-1])
    if not normalized:
        envelope = functions.mul(envelope, float(n_fft) ** 0.5)
    start = n_fft // 2 if center else 0
    if isinstance(length, torch.SymInt):
        signal = _picked(signal, envelope, start, length, n_fft)
        return torch.squeeze(signal, 0) if z.ndim == 2 else signal
    samples = signal.shape[-1] - 2 * start if length is None else min(length, signal.shape[-1] - start)
    envelope = torch.narrow(envelope, -1, start, samples)
    signal = functions.mul(torch.narrow(signal, -1, start, samples), functions.reciprocal(envelope))
    if length is not None and samples < length:
        signal = torch.constant_pad_nd(signal, [0, length - samples])
    return torch.squeeze(signal, 0) if z.ndim == 2 else signal


def _picked(signal: Any, envelope: Any, start: int, length: torch.SymInt, n: int) -> Any:
    """`length` samples from `start` on, zeros after the last frame.

    By an index, because whether a slice of a length that varies is inside of another one, which varies with it, is
    more than torch.export can prove. More than n samples after the last frame nobody has.
    """
    times = functions.arange(length) + start
    ones = torch.constant_pad_nd(full(envelope), [0, n], 1.0)
    padded = torch.constant_pad_nd(full(signal), [0, n])
    return torch.index_select(padded, -1, times) / torch.index_select(ones, -1, times)


def _synthesised(z: Any, framing: Framing, complex_signal: bool) -> Any:
    """The sum of all frames under the window, (batch, samples), from orthonormal spectra."""
    if complex_signal:
        return _added_up(ifft(z, dim=-2, norm="ortho"), framing)
    z = as_complex(torch.narrow(z, -2, 0, framing.n // 2 + 1))
    state, frames = compilation.current(), z.shape[-1]
    columns = frames if isinstance(frames, int) else None
    every = columns * z.shape[0] if columns and isinstance(z.shape[0], int) else columns
    plan = state.framed_plan(framing.n, framing.hop, every)
    # To add up very many pieces takes a transposed convolution: with the transform as its kernel it takes no more.
    is_dense = plan.is_dense or pieces(framing.n, framing.hop) > MOST_PIECES
    if not is_dense or not framing.has_constant_window(z.dtype):
        state.plans.setdefault(framing.n, plan)  # the forward transform of these frames has it, too
        return _added_up(irfft(z, framing.n, dim=-2, norm="ortho"), framing)
    state.transforms.append(Transform(state.module_path, framing.n, (framing.n,), FRAMES, columns, framing.hop))
    both, matrix = joined(z.re, z.im), framing.adjoint()
    if transposed_is_cheaper(framing.n, framing.hop, state.rates, every):
        kernel = functions.unsqueeze(matrix, 1)
        return torch.squeeze(torch.conv_transpose1d(both, kernel, stride=framing.hop), 1)
    return overlap_added(torch.matmul(functions.transpose(matrix, 0, 1), both), framing.hop)


def _added_up(frames: Any, framing: Framing) -> Any:
    """Frames (batch, n, frames) under the window, each added where it stands: (batch, samples)."""
    columns = functions.mul(frames, framing.column())
    if not is_complex(columns):
        return overlap_added(columns, framing.hop)
    z = as_complex(columns)
    return Complex(overlap_added(z.re, framing.hop), overlap_added(z.im, framing.hop))


def _envelope(framing: Framing, frames: int) -> Any:
    """(1, samples): the squares of all windows, each added where it stands; a constant where the window is."""
    squares = functions.reshape(functions.square(framing.window), (1, 1, -1))
    ones = apply(torch.ops.aten.ones.default, ([1, 1, frames],), {"dtype": squares.dtype})
    return functions.squeeze(functions.conv_transpose1d(ones, squares, stride=framing.hop), 1)
