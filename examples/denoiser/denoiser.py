"""A denoiser for speech that works block by block, in plain PyTorch: nothing in it is trained, and nothing knows hamsa.

With Y the spectrum of a frame, P = |Y|^2, and sums over time as recursions that each block goes on with:

    S     = 0.8 S + 0.2 P                                    smoothed power
    S_min = min(S, 1.002 S_min)                              its floor, which may rise by 1 dB in a second
    N     = N + 0.05 (P - N), where S < 4 S_min              noise, learnt where no speech is
    xi    = 0.97 G_-1^2 P_-1 / N + 0.03 max(P / N - 1, 0)    speech over noise, decision-directed
    G     = max(xi / (1 + xi), 0.1)                          Wiener's gain, with a floor
    y     = overlap-add of irfft(G Y)

(Ephraim and Malah 1984, equation 51; Cohen and Berdugo 2002, section II.)

Frames of 512 samples start every 128, windowed by the root of Hann's before and after, whose squares add up to 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FRAME, HOP = 512, 128
DELAY = FRAME - HOP  # samples that the output lags behind
RATE = 16000


class Denoiser(nn.Module):
    """Takes HOP samples (1, HOP), gives those that the frame before has completed."""

    heard: Tensor
    sums: Tensor
    power: Tensor
    floor: Tensor
    noise: Tensor
    speech: Tensor
    blocks: Tensor

    def __init__(self) -> None:
        super().__init__()
        bins = FRAME // 2 + 1
        self.register_buffer("window", torch.hann_window(FRAME).sqrt())
        self.register_buffer("heard", torch.zeros(1, DELAY))
        self.register_buffer("sums", torch.zeros(1, DELAY))
        for name in ("power", "floor", "noise", "speech"):
            self.register_buffer(name, torch.zeros(1, bins))
        self.register_buffer("blocks", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """(1, HOP) -> (1, HOP), DELAY samples later."""
        frame = torch.cat([self.heard, x], -1)
        self.heard = frame[:, HOP:]
        spectrum = torch.fft.rfft(frame * self.window)
        y = torch.fft.irfft(self._gain(spectrum.abs() ** 2) * spectrum) * self.window / 2
        y = y + nn.functional.pad(self.sums, (0, HOP))
        self.sums = y[:, HOP:]
        return y[:, :HOP]

    def _gain(self, power: Tensor) -> Tensor:
        power = power + 1e-9
        is_first = self.blocks < FRAME // HOP  # the frame is not full yet
        self.blocks = self.blocks + 1
        self.power = torch.where(is_first, power, 0.8 * self.power + 0.2 * power)
        self.floor = torch.where(is_first, power, torch.minimum(self.power, 1.002 * self.floor))
        learns = self.power < 4 * self.floor
        noise = torch.where(learns, self.noise + 0.05 * (power - self.noise), self.noise)
        self.noise = torch.where(is_first, power, noise)
        ratio = 0.97 * self.speech / self.noise + 0.03 * (power / self.noise - 1).clamp(min=0)
        gain = (ratio / (1 + ratio)).clamp(min=0.1)
        self.speech = gain**2 * power
        return gain


def make() -> Denoiser:
    """The factory for hamsa-export."""
    return Denoiser().eval()


def example_inputs() -> tuple[Tensor, ...]:
    """A block."""
    return (torch.zeros(1, HOP),)


make.example_inputs = example_inputs  # type: ignore[attr-defined]
