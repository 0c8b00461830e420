"""torch.fft on real transforms along one axis at a time.

    FFT(a + i b)  = FFT(a) + i FFT(b)                   two real transforms
    Re IFFT(Z)    = real inverse of Z,  Im IFFT(Z) = real inverse of -i Z = Zi - i Zr
    irfft(Z)      = real inverse of the Hermitian extension of Z
    hfft(x)       = irfft(conj x) with the opposite normalisation,  ihfft(x) = conj rfft(x), likewise

Each function takes the arguments of its torch.fft namesake. Transforms are emitted orthonormal; what the model's norm
wants beyond that multiplies the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hamsa_deploy.spectral.dispatch import entry_rule
from hamsa_deploy.spectral.frames import Frames
from hamsa_deploy.spectral.inverse import inverse_part
from hamsa_deploy.spectral.padded import padded
from hamsa_deploy.spectral.spectrum import Spectrum
from hamsa_deploy.spectral.values import Complex, Real, as_complex, functions, is_complex, split
from hamsa_runtime.errors import UnsupportedTransformError

OPPOSITE = {"backward": "forward", None: "forward", "forward": "backward", "ortho": "ortho"}


@entry_rule("fft_fft")
def fft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Complex:
    """DFT along one axis; computed when a part of it is needed."""
    axis, x = _prepare(x, n, dim)
    length = x.shape[axis]
    return _spectrum(_real(x), axis, np.arange(length), _scale(length, norm, inverse=False))


@entry_rule("fft_ifft")
def ifft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Complex:
    """Inverse DFT along one axis; a part that nobody uses is never computed."""
    axis, z = _prepare(x, n, dim)
    length = z.shape[axis]
    z, scale = as_complex(_real(z)), _scale(length, norm, inverse=True)
    return Complex(inverse_part(z, axis, length, scale), inverse_part(z, axis, length, scale, imaginary=True))


@entry_rule("fft_rfft")
def rfft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Complex:
    """DFT of a real signal at frequencies 0..n//2."""
    axis, x = _prepare(x, n, dim)
    length = x.shape[axis]
    return _spectrum(_real(x), axis, np.arange(length // 2 + 1), _scale(length, norm, inverse=False))


@entry_rule("fft_irfft")
def irfft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Real:
    """Real inverse DFT of frequencies 0..n//2; the imaginary parts at 0 and n/2 are ignored, as torch does."""
    axis = _axis(x, dim)
    length = 2 * (x.shape[axis] - 1) if n is None else n
    _check_length(length)
    _, z = _prepare(x, length // 2 + 1, dim)
    z = as_complex(_real(z))
    return inverse_part(z, axis, length, _scale(length, norm, inverse=True), one_sided=True)


@entry_rule("fft_hfft")
def hfft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Real:
    """DFT of a signal with Hermitian symmetry; real."""
    z = as_complex(_real(x))
    return irfft(Complex(z.re, -z.im), n, dim, OPPOSITE[norm])


@entry_rule("fft_ihfft")
def ihfft(x: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Complex:
    """Inverse of hfft."""
    z = rfft(x, n, dim, OPPOSITE[norm])
    return Complex(z.re, -z.im)


@entry_rule("fft_fftn")
def fftn(x: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """DFT along several axes, the last one first: a real input is halved there."""
    for axis, n in reversed(_axes(x, s, dim)):
        x = fft(x, n, axis, norm)
    return x


@entry_rule("fft_ifftn")
def ifftn(x: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """Inverse DFT along several axes."""
    for axis, n in _axes(x, s, dim):
        x = ifft(x, n, axis, norm)
    return x


@entry_rule("fft_rfftn")
def rfftn(x: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """Real DFT along the last axis, complex ones along the others."""
    *others, (axis, n) = _axes(x, s, dim)
    x = rfft(x, n, axis, norm)
    for axis, n in reversed(others):
        x = fft(x, n, axis, norm)
    return x


@entry_rule("fft_irfftn")
def irfftn(x: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """Inverse of rfftn."""
    *others, (axis, n) = _axes(x, s, dim)
    for other, length in others:
        x = ifft(x, length, other, norm)
    return irfft(x, n, axis, norm)


@entry_rule("fft_hfftn")
def hfftn(x: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """DFT of a signal that is Hermitian along the last axis; real."""
    *others, (axis, n) = _axes(x, s, dim)
    for other, length in others:
        x = fft(x, length, other, norm)
    return hfft(x, n, axis, norm)


@entry_rule("fft_ihfftn")
def ihfftn(x: Any, s: Any = None, dim: Any = None, norm: str | None = None) -> Any:
    """Inverse of hfftn."""
    *others, (axis, n) = _axes(x, s, dim)
    x = ihfft(x, n, axis, norm)
    for other, length in reversed(others):
        x = ifft(x, length, other, norm)
    return x


LAST_TWO = (-2, -1)


@entry_rule("fft_hfft2")
def hfft2(x: Any, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Any:
    """hfftn over two axes."""
    return hfftn(x, s, dim, norm)


@entry_rule("fft_ihfft2")
def ihfft2(x: Any, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Any:
    """ihfftn over two axes."""
    return ihfftn(x, s, dim, norm)


@entry_rule("fft_fft2")
def fft2(x: Any, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Any:
    """fftn over two axes."""
    return fftn(x, s, dim, norm)


@entry_rule("fft_ifft2")
def ifft2(x: Any, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Any:
    """ifftn over two axes."""
    return ifftn(x, s, dim, norm)


@entry_rule("fft_rfft2")
def rfft2(x: Any, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Any:
    """rfftn over two axes."""
    return rfftn(x, s, dim, norm)


@entry_rule("fft_irfft2")
def irfft2(x: Any, s: Any = None, dim: Any = LAST_TWO, norm: str | None = None) -> Any:
    """irfftn over two axes."""
    return irfftn(x, s, dim, norm)


def _axis(x: Any, dim: int) -> int:
    """The axis counted from the end."""
    return dim - x.ndim if dim >= 0 else dim


def _axes(x: Any, s: Sequence[int] | None, dim: Sequence[int] | None) -> list[Any]:
    """(axis, length or None) of each transformed axis, in the order given."""
    if dim is None:
        dim = range(-len(s), 0) if s is not None else range(-x.ndim, 0)
    axes = [_axis(x, d) for d in dim]
    lengths = [None if n == -1 else n for n in s] if s is not None else [None] * len(axes)
    return list(zip(axes, lengths, strict=True))


def _prepare(x: Any, n: int | None, dim: int) -> tuple[int, Any]:
    """The axis, and x cropped or padded with zeros to length n along it."""
    axis = _axis(x, dim)
    length = x.shape[axis]
    _check_length(length)
    if n is None or n == length:
        return axis, x
    _check_length(n)
    if n < length:
        return axis, torch.narrow(x, axis, 0, n)
    if is_complex(x):
        re, im = split(x)
        return axis, Complex(padded(re, axis, 0, n - length), padded(im, axis, 0, n - length))
    return axis, padded(x, axis, 0, n - length)


def _spectrum(x: Any, axis: int, index: np.ndarray, scale: float) -> Spectrum:
    """The DFT at some frequencies, times a number, which costs nothing in the window of frames."""
    parts = [x.re, x.im] if type(x) is Complex else [x]
    if scale != 1 and all(isinstance(part, Frames) and part.axis == axis for part in parts):
        return Spectrum(functions.mul(x, scale), axis, index)
    return Spectrum(x, axis, index, scale)


def _check_length(n: Any) -> None:
    if isinstance(n, torch.SymInt):
        raise UnsupportedTransformError(
            "a transform along an axis of dynamic length",
            expected="a fixed length: the matrices of the transform are computed when the model is compiled",
            fix="leave that size fixed: --batch N, or no --dynamic; dynamic_shapes={} in Python; or give n=",
        )
    if n < 1:
        raise UnsupportedTransformError(f"a transform of length {n}", expected="a length of at least 1")


def _real(x: Any) -> Any:
    """Integers and booleans as the default float, as torch.fft does."""
    if is_complex(x) or x.dtype.is_floating_point:
        return x
    from hamsa_deploy.spectral.dispatch import apply

    return apply(torch.ops.aten._to_copy.default, (x,), {"dtype": torch.get_default_dtype()})


def _scale(n: int, norm: str | None, inverse: bool) -> float:
    """What the model's normalisation multiplies an orthonormal transform with."""
    if norm == "ortho":
        return 1.0
    shrinks = (norm == "forward") != inverse
    return float(n) ** (-0.5 if shrinks else 0.5)
