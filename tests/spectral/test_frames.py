"""Frames however a model cuts them: each becomes the transform of all frames, and equals eager PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fft
from torch.export import Dim

from hamsa_deploy import to_real
from hamsa_deploy.targets import target_of
from hamsa_runtime.dft.costs import CPU
from hamsa_runtime.dft.factorisations import Plan, framed_plan_for, transposed_is_cheaper

from .programs import Program, check_exact, operators, relative_error

N, HOP, SAMPLES = 16, 4, 60
COUNT = (SAMPLES - N) // HOP + 1
WINDOW = torch.hann_window(N, dtype=torch.float64) + torch.linspace(0.1, 0.3, N).double()
HALF = torch.linspace(1, 2, N // 2 + 1).double()


def signal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def slices(x: Tensor) -> list[Tensor]:
    return [x[:, i * HOP : i * HOP + N] for i in range(COUNT)]


# Each is one convolution, without the frames.
CUT: dict[str, Callable[[Tensor], Tensor]] = {
    "unfold": lambda x: fft.rfft(x.unfold(-1, N, HOP) * WINDOW),
    "unfold, turned": lambda x: fft.rfft(x.unfold(1, N, HOP).transpose(1, 2) * WINDOW[:, None], dim=1),
    "unfold, permuted": lambda x: fft.rfft(x.unfold(1, N, HOP).permute(0, 2, 1), dim=-2),
    "a window twice, and a number": lambda x: fft.rfft(WINDOW * x.unfold(-1, N, HOP) * 2 / (1 + WINDOW)),
    "orthonormal": lambda x: fft.rfft(x.unfold(-1, N, HOP) * WINDOW, norm="ortho"),
    "all frequencies": lambda x: fft.fft(x.unfold(-1, N, HOP) * WINDOW).abs(),
    "some frequencies": lambda x: fft.rfft(x.unfold(-1, N, HOP) * WINDOW)[..., 2:5],
    "one signal": lambda x: fft.rfft(x[0].unfold(-1, N, HOP) * WINDOW),
    "channels": lambda x: fft.rfft(x.reshape(2, 2, SAMPLES // 2).unfold(-1, N, HOP) * WINDOW),
    "one of the channels": lambda x: fft.rfft(x.reshape(2, 2, SAMPLES // 2).unfold(-1, N, HOP)[:, 1] * WINDOW),
    "a new axis": lambda x: fft.rfft(x.unfold(-1, N, HOP)[:, None] * WINDOW),
    "gaps": lambda x: fft.rfft(x.unfold(-1, N, 21)),
    "side by side": lambda x: fft.rfft(x.unfold(-1, N, N)),
    "slices": lambda x: fft.rfft(torch.stack(slices(x), 1) * WINDOW),
    "slices, turned": lambda x: fft.rfft(torch.stack(slices(x), -1) * WINDOW[:, None], dim=1),
    "slices, from later on": lambda x: fft.rfft(torch.stack([x[:, 3 + i : 9 + i] for i in range(0, 30, 5)], 1)),
    "slices with a new axis": lambda x: fft.rfft(torch.cat([each[:, None] for each in slices(x)], 1) * WINDOW),
    "slices of a new axis": lambda x: fft.rfft(torch.cat([x[:, None, i : i + N] for i in range(9)], 1) * WINDOW),
    "slices under a window": lambda x: fft.rfft(torch.stack([each * WINDOW for each in slices(x)], 1)),
    "transforms of slices": lambda x: torch.stack([fft.rfft(each * WINDOW) for each in slices(x)], 1),
    "strides": lambda x: fft.rfft(x.as_strided((2, COUNT, N), (SAMPLES, HOP, 1)) * WINDOW),
    "patches of a row": lambda x: fft.rfft(F.unfold(x[:, None, None], (1, N), stride=(1, HOP)), dim=1),
}  # fmt: skip


@pytest.mark.parametrize("function", CUT.values(), ids=CUT.keys())
def test_frames_are_one_convolution_however_they_are_cut(function: Callable[[Tensor], Tensor]) -> None:
    program = check_exact(Program(function), signal(2, SAMPLES))
    names = operators(program)
    assert names.count("conv1d") == 1
    assert not {"unfold", "as_strided", "im2col", "matmul", "stack"} & set(names)


# Frames that something else needs as they are.
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "sums": lambda x: x.unfold(-1, N, 5).sum(-1),
    "less their means": lambda x: (lambda f: fft.rfft(f - f.mean(-1, keepdim=True)))(x.unfold(-1, N, 5)),
    "a window for each frame": lambda x: fft.rfft(x.unfold(-1, N, HOP) * torch.linspace(0, 1, COUNT).double()[:, None]),
    "a complex window": lambda x: fft.fft(x.unfold(-1, N, HOP) * torch.polar(WINDOW, WINDOW)),
    "more zeros": lambda x: fft.rfft(x.unfold(-1, N, HOP) * WINDOW, n=24),
    "cropped": lambda x: fft.rfft(x.unfold(-1, N, HOP) * WINDOW, n=10),
    "along the frames": lambda x: fft.rfft(x.unfold(-1, N, HOP), dim=1),
    "there and back": lambda x: fft.irfft(fft.rfft(x.unfold(-1, N, HOP) * WINDOW) * HALF),
    "one sample further": lambda x: x.unfold(-1, 40, 1) * 2,
    "along another axis": lambda x: fft.rfft(x.reshape(2, SAMPLES // 2, 2).unfold(1, N, HOP)),
    "integers": lambda x: (x * 8).to(torch.int64).unfold(-1, N, HOP).float(),
    "complex": lambda x: fft.fft(torch.complex(x, x * 2).unfold(-1, N, HOP) * WINDOW),
    "irregular slices": lambda x: fft.rfft(torch.stack([x[:, i * i : i * i + N] for i in range(5)], 1)),
    "slices of two signals": lambda x: fft.rfft(torch.stack([x[:, :N], x[:, 4 : N + 4], (2 * x)[:, 8 : N + 8]], 1)),
    "strides backwards in time": lambda x: fft.rfft(x.t().contiguous().as_strided((3, N), (4, 2))),
    "a prime length": lambda x: fft.rfft(x.unfold(-1, 13, 6)),
}  # fmt: skip


@pytest.mark.parametrize("function", OTHERS.values(), ids=OTHERS.keys())
def test_frames_that_are_no_one_convolution_are_right(function: Callable[[Tensor], Tensor]) -> None:
    check_exact(Program(function), signal(2, SAMPLES))


def test_magnitudes_are_computed_before_they_are_turned() -> None:
    names = operators(check_exact(Program(lambda x: CUT["unfold"](x).abs()), signal(2, SAMPLES)))
    assert names.count("transpose") == 1


def spectra() -> Tensor:
    return signal(2, 5, N // 2 + 1, 2)


def added(frames: list[Tensor], hop: int, first: int = 0, behind: int = 0) -> Tensor:
    y = torch.zeros(frames[0].shape[0], first + N + abs(hop) * (len(frames) - 1) + behind, dtype=torch.float64)
    for i, frame in enumerate(frames):
        y[:, first + i * hop : first + i * hop + N] += frame
    return y


def signals_of(z: Tensor) -> list[Tensor]:
    return list(fft.irfft(torch.view_as_complex(z)).unbind(1))


def normalised(z: Tensor) -> Tensor:
    y, squares = torch.ones(2, 40, dtype=torch.float64), torch.zeros(40, dtype=torch.float64)
    for i, frame in enumerate(signals_of(z)):
        y[:, i * HOP : i * HOP + N] += frame * WINDOW
        squares[i * HOP : i * HOP + N] += WINDOW**2
    return y / squares.clamp(min=1e-2)


ADDED: dict[str, Callable[[Tensor], Tensor]] = {
    "in a loop": lambda z: added(signals_of(z), HOP),
    "with gaps, from later on": lambda z: added(signals_of(z), N + 3, first=2, behind=5),
    "overlapping in part": lambda z: added([frame * WINDOW for frame in signals_of(z)], 7),
    "transforms in the loop": lambda z: added(
        [fft.irfft(torch.view_as_complex(z)[:, i]) * WINDOW for i in range(5)], HOP
    ),
    "to a signal, and divided": normalised,
}


@pytest.mark.parametrize("function", ADDED.values(), ids=ADDED.keys())
def test_frames_that_are_added_in_a_loop_are_added_at_once(function: Callable[[Tensor], Tensor]) -> None:
    program = check_exact(Program(function), spectra())
    names = operators(program)
    assert names.count("slice_scatter") <= 1
    assert names.count("matmul") == 1


def read_between(z: Tensor) -> Tensor:
    y, total = torch.zeros(2, 32, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for i, frame in enumerate(signals_of(z)):
        y[:, i * HOP : i * HOP + N] += frame
        total = total + y.square().sum(1)
    return y + total[:, None]


LEFT: dict[str, Callable[[Tensor], Tensor]] = {
    "read between": read_between,
    "one frame for all signals": lambda z: added([signals_of(z)[0], *(each[:1] for each in signals_of(z))], HOP),
    "backwards": lambda z: added(signals_of(z), -HOP, first=4 * HOP),
}


@pytest.mark.parametrize("function", LEFT.values(), ids=LEFT.keys())
def test_other_additions_in_a_loop_are_right(function: Callable[[Tensor], Tensor]) -> None:
    check_exact(Program(function), spectra())


def test_an_inverse_of_very_many_pieces_is_one_transposed_convolution() -> None:
    z = torch.complex(signal(2, 129, 50), signal(2, 129, 50))
    names = operators(check_exact(Program(lambda z: torch.istft(z, 256, 4, window=torch.ones(256).double())), z))
    assert names.count("conv_transpose1d") == 1
    assert "matmul" not in names


LONG, LONG_HOP = 240, 48
PLANS = {"two factors": (15, 16), "three factors": (6, 5, 8), "dense": (240,)}


@pytest.mark.parametrize("factors", PLANS.values(), ids=PLANS.keys())
@pytest.mark.parametrize("hop", [LONG_HOP, 100, 300])
@pytest.mark.parametrize("turned", [False, True])
def test_every_plan_has_all_frequencies_in_order(factors: tuple[int, ...], hop: int, turned: bool) -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        frames = x.unfold(-1, LONG, hop) * torch.linspace(1, 2, LONG).double()
        z = fft.rfft(frames) if turned else fft.rfft(frames.transpose(1, 2), dim=1)
        return z, z.imag

    plans = {LONG: Plan(LONG, factors)}
    program = check_exact(Program(function), signal(2, 700), plans=plans)
    [transform] = program.graph_module.meta["transforms"]
    assert (transform.factors, transform.hop, transform.columns) == (factors, hop, (700 - LONG) // hop + 1)


def test_complex_values_are_one_transposition_away() -> None:
    for function in (CUT["unfold"], lambda x: torch.stft(x, N, HOP, window=WINDOW, center=False, return_complex=True)):
        names = operators(check_exact(Program(function), signal(2, SAMPLES)))
        assert not {"cat", "stack", "select", "narrow", "mul"} & set(names)


def test_zeros_of_a_short_window_are_no_part_of_the_kernel() -> None:
    program = check_exact(
        Program(lambda x: torch.stft(x, 64, 16, 16, WINDOW, center=False, return_complex=True)), signal(2, 100)
    )
    [kernel] = [each for each in program.state_dict.values() if each.ndim == 3]
    assert kernel.shape == (66, 1, 16)


@pytest.mark.parametrize(("n", "hop"), [(16, 4), (240, 48), (240, 100)])
def test_the_length_of_the_signal_may_vary(n: int, hop: int) -> None:
    """Whatever is behind the last frame."""
    batch, samples = Dim("batch"), Dim("samples", min=n + hop, max=9000)
    model = Program(lambda x: fft.rfft(x.unfold(-1, n, hop)).abs())
    plans: Any = {240: Plan(240, (15, 16))}

    class OneInput(torch.nn.Module):
        def forward(self, x: Tensor) -> Any:
            return model(x)

    program = to_real(OneInput(), (signal(2, 3 * n),), dynamic_shapes=({0: batch, 1: samples},), plans=plans)
    for size in (2 * n, 2 * n + 1, 3 * n + hop - 1):
        x = signal(3, size)
        found, expected = program.module()(x), model(x)
        assert found.shape == expected.shape
        assert relative_error(found, expected) < 1e-13


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_short_frames_are_a_convolution_and_long_ones_are_cut(target: str) -> None:
    rates = target_of(target).rates
    assert framed_plan_for(64, 16, rates, 100).is_dense
    assert len(framed_plan_for(1024, 256, rates, 100).factors) > 1
    assert not framed_plan_for(400, 160, rates, 100).is_dense


def test_a_transposed_convolution_is_for_engines_that_are_good_at_it() -> None:
    """OpenVINO takes three times as long for it as for a product."""
    assert transposed_is_cheaper(16, 4, CPU, 100)
    for target in ("openvino", "tensorrt"):
        assert not transposed_is_cheaper(1024, 256, target_of(target).rates, 100)
    assert transposed_is_cheaper(512, 4, target_of("openvino").rates, 100)  # 128 sums
