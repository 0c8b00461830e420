"""Short-time Fourier transforms: frames of n samples, hop samples apart, each under a window w.

    X[k, m] = sum_t w[t] x[m hop + t] exp(-2 pi i k t / n)
    y[t]    = sum_m w[t - m hop] irfft(X[:, m])[t - m hop]  /  sum_m w[t - m hop]^2

Under a constant window and while the transform of a frame is dense, w[t] exp(-2 pi i k t / n) is the kernel of one
convolution with stride hop, and the sum over frames its adjoint. Otherwise the frames are cut out, transformed by the
rules of fourier.py, and added up.

Source: Griffin and Lim, Signal estimation from modified short-time Fourier transform (1984), for the division.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.dispatch import apply, entry_rule, full
from hamsa_deploy.spectral.factorisations import plan_for
from hamsa_deploy.spectral.half_spectrum import HalfSpectrum
from hamsa_deploy.spectral.mirrored import EVEN, ODD, Mirrored
from hamsa_deploy.spectral.provenance import module_path
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
)
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

    def is_convolution(self, x: Any) -> bool:
        """Whether the window and the DFT become one kernel, for this signal or these spectra.

        With two factors a number of frames that varies leads to reshapes that torch.export cannot prove possible.
        """
        if not isinstance(self.window, Constant) or self.window.dtype != PART.get(x.dtype, x.dtype):
            return False
        return plan_for(self.n).is_dense or isinstance(x.shape[-1], torch.SymInt)

    def column(self) -> Any:
        """The window as (n, 1), for frames (batch, n, frames)."""
        return functions.unsqueeze(self.window, -1)

    def kernel(self) -> Real:
        """(2 h, 1, n): rows that give the real parts of frequencies 0..n//2, then those for the imaginary parts."""
        rows = functions.transpose(functions.fft.rfft(functions.diag(self.window), norm="ortho"), 0, 1)
        return functions.unsqueeze(functions.cat([functions.real(rows), functions.imag(rows)]), 1)


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
    signal = torch.unsqueeze(x, 0) if x.ndim == 1 else x
    z = _analysed(signal, framing, two_sided)
    if not normalized:
        z = functions.mul(z, float(n_fft) ** 0.5)
    z = functions.squeeze(z, 0) if x.ndim == 1 else z
    return functions.view_as_real(z) if return_complex is False else z


def _analysed(x: Any, framing: Framing, two_sided: bool) -> Complex:
    """The orthonormal spectra (batch, frequencies, frames) of all frames."""
    if not framing.is_convolution(x):
        transform = fft if two_sided else rfft
        frames = functions.transpose(apply(torch.ops.aten.unfold.default, (x, -1, framing.n, framing.hop), {}), 1, 2)
        return transform(functions.mul(frames, framing.column()), dim=-2, norm="ortho")
    if not is_complex(x):
        return _convolved(x, framing, two_sided)
    z = as_complex(x)
    a, b = _convolved(z.re, framing, True), _convolved(z.im, framing, True)
    return Complex(a.re - b.im, a.im + b.re)


def _convolved(x: Real, framing: Framing, two_sided: bool) -> Complex:
    _note(framing)
    half = np.arange(framing.n // 2 + 1)
    both = functions.conv1d(torch.unsqueeze(x, 1), framing.kernel(), stride=framing.hop)
    re, im = (torch.narrow(both, 1, start, len(half)) for start in (0, len(half)))
    if not two_sided:
        return Complex(re, im)
    half_spectrum = HalfSpectrum.hermitian(framing.n, half)
    return Complex(Mirrored(re, None, EVEN, -2, half_spectrum), Mirrored(im, None, ODD, -2, half_spectrum))


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
    if not normalized:
        signal = signal * float(n_fft) ** -0.5
    envelope = _envelope(framing, z.shape[-1])
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
    if not framing.is_convolution(z):
        return _added_up(irfft(z, framing.n, dim=-2, norm="ortho"), framing)
    _note(framing)
    # Of a real signal's frequencies all but 0 and n/2 stand for two.
    half = np.arange(framing.n // 2 + 1)
    weight = 2 * HalfSpectrum.hermitian(framing.n, half).weight[half]
    weights = constant_from(np.tile(weight, 2).reshape(-1, 1, 1), framing.window.dtype)
    both = torch.cat([z.re, z.im], 1)
    return torch.squeeze(torch.conv_transpose1d(both, framing.kernel() * weights, stride=framing.hop), 1)


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


def _note(framing: Framing) -> None:
    state = compilation.current()
    module = module_path(state.node) if state.node is not None else ""
    state.transforms.append(Transform(module, framing.n, (framing.n,), "convolution of frames"))
