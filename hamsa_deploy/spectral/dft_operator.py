"""Transforms that stay one operator, ONNX's DFT, for an engine with an FFT of its own.

    forward   X = DFT(x / sqrt(n))           real to complex, frequencies 0..n//2
    inverse   x = sqrt(n) IDFT(Z)            complex to real, from the same; IDFT divides by n itself

The two factors stand where float16 has most room: in both directions no sum exceeds sqrt(n) times the largest sample.

Both transform the last axis, with the length written into the node: TensorRT's plugin (11.2, plugin/fftPlugin) has
real to complex and complex to real along the innermost axis, and needs the length to tell odd from even. In the program
they are torch.fft between view_as_real and complex, so that PyTorch can run it; these are its only complex tensors.
ONNX wrote down in January 2026 (its pull request 7574) what inverse=1 with onesided=1 computes, for opset 20 as it
stands; ONNX Runtime computes it from 1.27 on.
"""

from __future__ import annotations

import math

import torch

from hamsa_deploy.spectral.dispatch import emit
from hamsa_deploy.spectral.values import Real


def dft(x: Real, axis: int) -> tuple[Real, Real]:
    """Real and imaginary part of the orthonormal DFT at frequencies 0..n//2, in this order.

    Args:
        x: ordinary real tensor, (..., n, ...).
        axis: counted from the end.

    Returns:
        Two of (..., n // 2 + 1, ...).
    """
    signal = torch.transpose(emit(x), axis, -1)
    spectrum = torch.view_as_real(torch.fft.rfft(signal * (1 / math.sqrt(signal.shape[-1]))))
    re, im = (torch.transpose(torch.select(spectrum, -1, part), axis, -1) for part in (0, 1))
    return re, im


def idft(re: Real | None, im: Real | None, axis: int, n: int) -> Real:
    """The real signal (..., n, ...) whose orthonormal DFT at 0..n//2 is re + i im; None for zero.

    The imaginary parts at 0 and n/2 do not count.
    """
    known = im if re is None else re
    parts = [torch.zeros_like(emit(known)) if part is None else emit(part) for part in (re, im)]
    spectrum = torch.complex(*(torch.transpose(part, axis, -1) for part in parts))
    return torch.transpose(torch.fft.irfft(spectrum, n) * math.sqrt(n), axis, -1)
