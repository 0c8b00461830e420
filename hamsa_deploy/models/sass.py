"""SASS, HAMSA's spectral operator: a transform along the token axis, independently per channel.

Source: Patro and Agneeswaran, arXiv 2604.14724. For real tokens u, (B, L, d):

    K_hat = FFT(psi_R + j psi_I)                 (L, d), constant at inference
    U_hat = FFT(u)                               (B, L, d)
    g     = sigmoid(|U_hat| W_g + b_g)           SpectralPulseNet: one gate per frequency and channel
    Y_hat = K_hat * g * U_hat
    Z_hat = (Y_hat W_1) * sigmoid(|Y_hat| W_2)   SAGU: gate by magnitude
    SASS(u) = Re(IFFT(Z_hat))                    (B, L, d)

K = psi_R + j psi_I is complex, so neither K_hat nor Y_hat is Hermitian, although U_hat is.
"""

from __future__ import annotations

from math import prod, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.models.checks import Norm


def sass(
    u: Tensor,
    psi: Tensor,
    gate_weight: Tensor,
    gate_bias: Tensor,
    w1_real: Tensor,
    w1_imag: Tensor | None,
    w2: Tensor,
    norm: Norm = "ortho",
) -> Tensor:
    """The spectral operator, equations above, in the form in which they are written on paper.

    Args:
        u: real tokens (B, L, d), float32 or float64.
        psi: real and imaginary part of the kernel, (L, d, 2).
        gate_weight, gate_bias: W_g (d, d) and b_g (d,). All weights are laid out (out, in).
        w1_real, w1_imag: real and imaginary part of W_1, (d, d) each; w1_imag=None makes W_1 real.
        w2: W_2 (d, d).
        norm: normalisation of all three transforms, as torch.fft names it.

    Returns: real tokens (B, L, d).
    """
    K_hat = torch.fft.fft(torch.view_as_complex(psi), dim=0, norm=norm)
    U_hat = torch.fft.fft(u, dim=1, norm=norm)
    g = torch.sigmoid(F.linear(U_hat.abs(), gate_weight, gate_bias))
    Y_hat = K_hat * (g * U_hat)
    if w1_imag is None:
        Y_hat_W_1 = torch.complex(F.linear(Y_hat.real, w1_real), F.linear(Y_hat.imag, w1_real))
    else:
        Y_hat_W_1 = F.linear(Y_hat, torch.complex(w1_real, w1_imag))
    Z_hat = Y_hat_W_1 * torch.sigmoid(F.linear(Y_hat.abs(), w2))
    return torch.fft.ifft(Z_hat, dim=1, norm=norm).real


class SASS(nn.Module):
    """`sass` with its parameters: (B, L, d) -> (B, L, d); L = h w tokens of a grid in row order."""

    def __init__(self, grid: tuple[int, int], width: int, norm: Norm = "ortho", complex_w1: bool = True) -> None:
        super().__init__()
        tokens = prod(grid)
        self.grid = grid
        self.norm = norm
        # E|K_hat|^2 = 1 whatever the normalisation, so that a fresh block neither damps nor amplifies.
        kernel_std = {"ortho": sqrt(1 / 2), "backward": sqrt(1 / (2 * tokens)), "forward": sqrt(tokens / 2)}[norm]
        weight_std = sqrt(1 / width)
        self.psi = nn.Parameter(torch.randn(tokens, width, 2) * kernel_std)
        self.gate_weight = nn.Parameter(torch.randn(width, width) * weight_std)
        self.gate_bias = nn.Parameter(torch.zeros(width))
        self.w1_real = nn.Parameter(torch.randn(width, width) * weight_std)
        self.w1_imag = nn.Parameter(torch.randn(width, width) * weight_std) if complex_w1 else None
        self.w2 = nn.Parameter(torch.randn(width, width) * weight_std)

    def forward(self, u: Tensor) -> Tensor:
        return sass(u, self.psi, self.gate_weight, self.gate_bias, self.w1_real, self.w1_imag, self.w2, self.norm)
