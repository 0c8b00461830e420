"""What `--tune` measures: the least that is a transform, a scan or a complex layer, with inputs as a model has them."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from hamsa_deploy.scan import linear_recurrence, selective_scan, ssd
from hamsa_deploy.scan.forms import Size
from hamsa_deploy.spectral.complex_linear import Layer
from hamsa_runtime.dft.costs import Work
from hamsa_runtime.dft.factorisations import Plan, framed_work


class Signals(NamedTuple):
    """So many signals of one length; with a hop, so many frames of one signal, that many samples apart."""

    length: int
    columns: int
    hop: int | None = None

    def work(self, plan: Plan) -> Work:
        """What the transform of one of them takes."""
        return plan.work if self.hop is None else framed_work(plan, self.hop)


Task: TypeAlias = Signals | Size | Layer


def trial_of(task: Task, batch: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A module, and inputs of so many at a time."""
    if isinstance(task, Signals) and task.hop is not None:
        samples = max((task.columns - 1) * task.hop, task.length)
        return FramedRoundTrip(task.length, task.hop).eval(), (_normal(batch, samples),)
    if isinstance(task, Layer):
        return ComplexRows(task).eval(), (_normal(batch, task.rows, task.inputs, 2),)
    if isinstance(task, Signals):
        return RoundTrip().eval(), (_normal(batch, task.length, task.columns),)
    if task.kind == "selective_scan":
        return Selective(*task.state).eval(), (
            *(_normal(batch, task.state[0], task.length) for _ in range(2)),
            *(_normal(batch, 1, task.state[1], task.length) for _ in range(2)),
        )
    if task.kind == "ssd":
        heads, width, states = task.state
        return Dual(heads).eval(), (
            _normal(batch, task.length, heads, width),
            _normal(batch, task.length, heads),
            *(_normal(batch, task.length, 1, states) for _ in range(2)),
        )
    return Recurrence(task).eval(), (_normal(1, task.length, *task.state),)


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(math.prod(shape)))


class ComplexRows(nn.Module):
    """A complex linear layer between two products with real numbers, as it has them in a gated spectrum."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.weight = nn.Parameter(_normal(layer.outputs, layer.inputs) / math.sqrt(layer.inputs))

    def forward(self, x: Tensor) -> Tensor:
        re, im = x.unbind(-1)
        gate = torch.sigmoid(re)
        z = nn.functional.linear(torch.complex(re * gate, im * gate), torch.complex(self.weight, self.weight.flip(0)))
        return z.real * torch.sigmoid(z.imag)


class RoundTrip(nn.Module):
    """Forward transform, gate by the power, inverse transform, along the second dimension."""

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.fft(x, dim=1, norm="ortho")
        return torch.fft.ifft(z * (z.real * z.real + z.imag * z.imag), dim=1, norm="ortho").real


class FramedRoundTrip(nn.Module):
    """stft, gate by the power, istft, of (batch, samples); without an inverse where the frames leave gaps.

    Args:
        n: samples of a frame.
        hop: samples from one frame to the next.
    """

    def __init__(self, n: int, hop: int) -> None:
        super().__init__()
        self.n, self.hop = n, hop
        self.window: Tensor
        self.register_buffer("window", torch.hamming_window(n))  # nowhere zero: the inverse divides by its squares

    def forward(self, x: Tensor) -> Tensor:
        z = torch.stft(x, self.n, self.hop, window=self.window, pad_mode="constant", return_complex=True)
        power = z.real * z.real + z.imag * z.imag
        return power if self.hop > self.n else torch.istft(z * power, self.n, self.hop, window=self.window)


class Selective(nn.Module):
    """A selective scan of D channels of N states."""

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(channels, 1))

    def forward(self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor) -> Tensor:
        return selective_scan(u, delta, -self.A_log.exp(), B, C, delta_softplus=True)[0]


class Dual(nn.Module):
    """State-space duality of so many heads."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.arange(1.0, heads + 1).log())

    def forward(self, x: Tensor, dt: Tensor, B: Tensor, C: Tensor) -> Tensor:
        return ssd(x, dt, -self.A_log.exp(), B, C, dt_softplus=True)[0]


class Recurrence(nn.Module):
    """A linear recurrence whose decays are constant or computed."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        decays = torch.linspace(0.5, 0.999, max(size.decays, 1))
        self.decays = nn.Parameter(torch.polar(decays, decays) if size.is_complex else decays)

    def forward(self, x: Tensor) -> Tensor:
        b = x[0]
        b = torch.complex(b, -b) if self.size.is_complex else b
        a = self._of_each_state() if self.size.decays else self.decays * torch.sigmoid(x[0])
        h = linear_recurrence(a, b)
        return (h.real + h.imag if self.size.is_complex else h)[None]

    def _of_each_state(self) -> Tensor:
        """(1, ...): as many as there are, along the last axes that have so many numbers."""
        shape: list[int] = []
        for axis in reversed(self.size.state):
            shape.insert(0, axis if math.prod(shape) < self.size.decays else 1)
        known = math.prod(shape) == self.size.decays
        return self.decays.reshape(1, *shape) if known else self.decays[:1].reshape(1, *[1] * len(shape))
