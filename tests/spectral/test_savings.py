"""Multiply-accumulates of models in the wild: what is left out is counted, not only that the values are right.

Plans are pinned, and so are rates where one of several exact forms is chosen; counts are for one signal of a batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, fft, nn
from torch.export import ExportedProgram
from torch.utils.flop_counter import FlopCounterMode

from hamsa_deploy.models import SASS
from hamsa_deploy.spectral.complex_linear import THREE, Layer
from hamsa_deploy.targets import onnx
from hamsa_runtime.dft.costs import Rates
from hamsa_runtime.dft.factorisations import Plan

from .programs import Program, check_exact, operators

BATCH = 2
GATHERS = {"index_select", "gather", "flip", "index", "roll"}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def macs(program: ExportedProgram, *inputs: Tensor) -> int:
    """Multiply-accumulates for one entry of the batch."""
    with FlopCounterMode(display=False) as counter:
        program.module()(*inputs)
    return counter.get_total_flops() // 2 // BATCH


def dense(*lengths: int) -> dict[int, Plan]:
    return {n: Plan(n, (n,)) for n in lengths}


def activations(program: ExportedProgram) -> list[tuple[int, ...]]:
    """Shapes of everything between the inputs and the outputs that depends on the batch."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    returned = set(program.graph.output_node().all_input_nodes)
    shapes = [tuple(node.meta["val"].shape) for node in nodes if node not in returned]
    return [shape for shape in shapes if shape[:1] == (BATCH,)]


def charge(monkeypatch: pytest.MonkeyPatch, **nanoseconds: float) -> None:
    """Nothing costs anything but what is named."""
    monkeypatch.setattr(onnx, "TARGET", replace(onnx.TARGET, rates=Rates(**nanoseconds)))


class LearnedFilter(nn.Module):
    """A complex filter between rfft and irfft along the tokens of (B, n, C); C = 1 in its weight: shared."""

    def __init__(self, n: int, channels: int, two_sided: bool = False) -> None:
        super().__init__()
        self.n, self.two_sided = n, two_sided
        self.weight = nn.Parameter(normal(n if two_sided else n // 2 + 1, channels, 2, seed=1))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.view_as_complex(self.weight)
        if self.two_sided:
            return fft.ifft(fft.fft(x, dim=1) * weight, dim=1).real
        return fft.irfft(fft.rfft(x, dim=1) * weight, n=self.n, dim=1)


class LearnedFilter2d(nn.Module):
    """A complex filter between rfft2 and irfft2 of an image (B, H, W, C), as in GFNet."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.weight = nn.Parameter(normal(height, width // 2 + 1, channels, 2, seed=1))

    def forward(self, x: Tensor) -> Tensor:
        z = fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.weight)
        return fft.irfft2(z, s=self.size, dim=(1, 2), norm="ortho")


class FourierOperator(nn.Module):
    """The first m frequencies of (B, C, n), mixed by a complex matrix each; the others are dropped (FNO)."""

    def __init__(self, channels: int, n: int, modes: int) -> None:
        super().__init__()
        self.n, self.modes = n, modes
        self.weight = nn.Parameter(normal(channels, channels, modes, 2, seed=1))

    def forward(self, x: Tensor) -> Tensor:
        z = fft.rfft(x)
        out = torch.zeros(*x.shape[:2], self.n // 2 + 1, dtype=z.dtype)
        weight = torch.view_as_complex(self.weight)
        out[:, :, : self.modes] = torch.einsum("bix,iox->box", z[:, :, : self.modes], weight)
        return fft.irfft(out, n=self.n)


class FourierOperator2d(nn.Module):
    """The two corners of low frequencies of (B, C, H, W), mixed by a complex matrix each (FNO)."""

    def __init__(self, channels: int, size: tuple[int, int], modes: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.modes = size, modes
        self.low = nn.Parameter(normal(channels, channels, *modes, 2, seed=1))
        self.high = nn.Parameter(normal(channels, channels, *modes, 2, seed=2))

    def forward(self, x: Tensor) -> Tensor:
        (m1, m2), equation = self.modes, "bixy,ioxy->boxy"
        z = fft.rfft2(x)
        out = torch.zeros(*x.shape[:2], self.size[0], self.size[1] // 2 + 1, dtype=z.dtype)
        out[:, :, :m1, :m2] = torch.einsum(equation, z[:, :, :m1, :m2], torch.view_as_complex(self.low))
        out[:, :, -m1:, :m2] = torch.einsum(equation, z[:, :, -m1:, :m2], torch.view_as_complex(self.high))
        return fft.irfft2(out, s=self.size)


class LongConvolution(nn.Module):
    """A causal convolution of (B, C, n) with kernels as long as the signal, by an FFT of twice the length."""

    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(normal(channels, n, seed=1))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        return fft.irfft(fft.rfft(x, n=2 * n) * fft.rfft(self.kernel, n=2 * n), n=2 * n)[..., :n]


class Autocorrelation(nn.Module):
    """The autocorrelation of (B, C, n) at lags 0..n-1, by an FFT of twice the length."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        z = fft.rfft(x, n=2 * n)
        return fft.irfft(z * z.conj(), n=2 * n)[..., :n]


class TokenMixing(nn.Module):
    """Re(fft2) over tokens and channels of (B, S, D), as in FNet."""

    def forward(self, x: Tensor) -> Tensor:
        return fft.fft(fft.fft(x, dim=-1), dim=-2).real


@pytest.mark.parametrize("two_sided", [False, True])
def test_a_learned_filter_runs_on_half_the_frequencies(monkeypatch: pytest.MonkeyPatch, two_sided: bool) -> None:
    n, channels = 32, 5
    h = n // 2 + 1
    charge(monkeypatch, plain=1, depthwise=10)
    x = normal(BATCH, n, channels)
    program = check_exact(LearnedFilter(n, channels, two_sided).double(), x, plans=dense(n))
    # h real and h imaginary parts from n samples, and back
    assert macs(program, x) == 2 * h * n * channels + 2 * h * n * channels
    assert not GATHERS & set(operators(program))
    assert all(n not in shape for shape in activations(program))


def test_a_learned_filter_in_two_dimensions_runs_on_half_the_frequencies() -> None:
    height, width, channels = 14, 10, 3
    h1, h2 = height // 2 + 1, width // 2 + 1
    x = normal(BATCH, height, width, channels)
    program = check_exact(LearnedFilter2d(height, width, channels).double(), x, plans=dense(height, width))
    # Along the width of every row: h2 complex numbers. Along the height, for each of these h2 columns: both parts are
    # real signals, with h1 complex numbers each. The way back costs the same.
    one_way = 2 * h2 * width * height + 2 * (2 * h1 * height) * h2
    assert macs(program, x) == 2 * one_way * channels
    assert not GATHERS & set(operators(program))
    stored = {tuple(constant.shape) for constant in program.buffers()}
    assert (h1, h2, channels) in stored  # the filter on half of the frequencies, and on their mirror images
    assert (height, h2, channels) not in stored


def test_a_fourier_operator_computes_its_modes_only() -> None:
    n, channels, modes = 48, 4, 7
    x = normal(BATCH, channels, n)
    program = check_exact(FourierOperator(channels, n, modes).double(), x, plans=dense(n))
    # each mode: a real and an imaginary part from n samples, and back; four real products of matrices
    assert macs(program, x) == 2 * (2 * modes * n * channels) + 4 * modes * channels * channels
    assert not GATHERS & set(operators(program))
    assert all(n // 2 + 1 not in shape for shape in activations(program))


def test_a_fourier_operator_in_two_dimensions_computes_its_modes_only() -> None:
    channels, (height, width), (m1, m2) = 3, (16, 20), (3, 5)
    x = normal(BATCH, channels, height, width)
    program = check_exact(
        FourierOperator2d(channels, (height, width), (m1, m2)).double(), x, plans=dense(height, width)
    )
    # Along the width: m2 complex numbers from each row. Along the height, for each of these columns: 2 m1 complex
    # numbers from complex samples, four real products each. The way back costs the same.
    one_way = 2 * m2 * width * height + 4 * (2 * m1) * height * m2
    mixing = 4 * (2 * m1 * m2) * channels * channels
    assert macs(program, x) == 2 * one_way * channels + mixing
    assert not GATHERS & set(operators(program))
    assert all(width // 2 + 1 not in shape for shape in activations(program))


def test_a_long_convolution_by_transforms_skips_the_zeros_and_what_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    n, channels = 24, 3
    h = n + 1  # of 2 n frequencies
    charge(monkeypatch, plain=1, depthwise=100)
    x = normal(BATCH, channels, n)
    program = check_exact(LongConvolution(channels, n).double(), x, plans=dense(2 * n))
    # n samples are not zero, n of the results are wanted
    assert macs(program, x) == 2 * (2 * h * n * channels)
    assert not GATHERS & set(operators(program))
    assert all(2 * n not in shape for shape in activations(program))


def test_an_autocorrelation_has_an_even_spectrum() -> None:
    n, channels = 24, 3
    h = n + 1  # of 2 n frequencies
    x = normal(BATCH, channels, n)
    program = check_exact(Autocorrelation(), x, plans=dense(2 * n))
    # real and imaginary parts from the n samples that are not zero; n results from a real spectrum
    assert macs(program, x) == 2 * h * n * channels + h * n * channels
    assert not GATHERS & set(operators(program))
    assert all(2 * n not in shape for shape in activations(program))


def test_token_mixing_needs_the_real_part_only() -> None:
    tokens, width = 24, 16
    h_tokens, h_width = tokens // 2 + 1, width // 2 + 1
    x = normal(BATCH, tokens, width)
    program = check_exact(TokenMixing(), x, plans=dense(tokens, width))
    # Along the channels: h_width complex numbers for each token. Along the tokens one part of each,
    # Re(F (a + i b)) = Re(F a) - Im(F b).
    assert macs(program, x) == tokens * 2 * h_width * width + 2 * h_tokens * tokens * h_width
    # The result is asked for at all frequencies in their natural order: one gather along each axis, at the very end.
    assert [name for name in operators(program) if name in GATHERS] == operators(program)[-2:]


def test_a_spectrum_without_its_mean_is_still_half_of_it() -> None:
    n, channels = 32, 5
    x = normal(BATCH, n, channels)
    program = check_exact(Program(lambda x: fft.fft(x, dim=1)[:, 1:].abs().sqrt()), x, plans=dense(n))
    assert macs(program, x) == 2 * (n // 2) * n * channels  # the frequencies 1..n/2
    assert operators(program)[-2:] == ["cat", "index_select"]  # and their mirror images, at the very end


def test_sass_runs_its_products_on_half_the_frequencies() -> None:
    grid, width = (6, 6), 5
    n = grid[0] * grid[1]
    h = n // 2 + 1
    x = normal(BATCH, n, width)
    plans: dict[Any, Any] = {**dense(n), Layer(width, width, n): THREE}
    program = check_exact(SASS(grid, width, norm="ortho", complex_w1=True).double().eval(), x, plans=plans)
    # The transform and its inverse; the first gate on the h magnitudes; then, on the h frequencies and their h mirror
    # images, one complex product (three real ones) and the second gate.
    transforms = 2 * (2 * h * n * width)
    products = (h + 3 * 2 * h + 2 * h) * width * width
    assert macs(program, x) == transforms + products
    assert not GATHERS & set(operators(program))


# Which exact form of fft -> constant -> ifft is taken, by what products cost.
FORMS = {
    "one matrix": (1, (32,), {"plain": 1.0, "depthwise": 1.0}, lambda n, c: n * n * c),
    "depthwise convolution": (5, (32,), {"plain": 1.0, "depthwise": 1.0}, lambda n, c: n * n * c),
    "two dense transforms": (5, (32,), {"plain": 1.0, "depthwise": 3.0}, lambda n, c: 4 * (n // 2 + 1) * n * c),
    # h1 = 3: 2 h1 n + 4 h1 8 8 one way
    "two transforms in two steps": (1, (4, 8), {"plain": 1.0, "batched": 0.1}, lambda n, c: 2 * (6 * n + 768) * c),
    "one matrix, as batched products are slow": (1, (4, 8), {"plain": 1.0, "batched": 9.0}, lambda n, c: n * n * c),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("two_sided", [False, True])
def test_the_cheapest_exact_form_of_a_filter_wins(monkeypatch: pytest.MonkeyPatch, name: str, two_sided: bool) -> None:
    of_filter, factors, costs, expected = FORMS[name]
    n, channels = 32, 5
    charge(monkeypatch, **costs)
    x = normal(BATCH, n, channels)
    program = check_exact(LearnedFilter(n, of_filter, two_sided).double(), x, plans={n: Plan(n, factors)})
    assert macs(program, x) == expected(n, channels)
    assert operators(program).count("conv1d") == (name == "depthwise convolution")
    assert (operators(program) == ["matmul"]) == name.startswith("one matrix")
