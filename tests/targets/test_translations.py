"""Phases at the branch cut, of zeros of both signs, infinities and NaN, and softplus, on the engines themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.targets.onnx_file import onnx_from_program

Run = Callable[[Path, np.ndarray], list[np.ndarray]]
NAN, INF = float("nan"), float("inf")
NUMBERS = (0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e-40, -1e-40, 3e38, -2.5, 1e-30)
EVERY_PAIR = torch.tensor(list(itertools.product(NUMBERS, NUMBERS)))


def by_onnxruntime(path: Path, x: np.ndarray) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(path).run(None, {"x": x}))


def by_openvino(path: Path, x: np.ndarray) -> list[np.ndarray]:
    openvino = pytest.importorskip("openvino")
    results = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"x": x})
    return [results[i] for i in range(len(results))]


ENGINES = pytest.mark.parametrize("run", [by_onnxruntime, by_openvino])


def assert_same(found: list[np.ndarray], expected: tuple[Tensor, ...]) -> None:
    """Equal to the rounding of a float32 (3.14 has 2.4e-7), NaN where NaN is, and zeros of the same sign."""
    for a, b in zip(map(torch.from_numpy, found), expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=5e-7, equal_nan=True)
        assert torch.equal(a.signbit() | b.isnan(), b.signbit() | b.isnan())


class OfReals(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        whole = x.nan_to_num(0, 1, -1).clamp(-2, 2).int()
        y, z = whole[:, 0], whole[:, 1].long()
        return torch.atan2(x[:, 0], x[:, 1]), torch.angle(x[:, 0]), torch.atan2(y, z), torch.angle(y)


@ENGINES
def test_phases_of_real_numbers(run: Run, tmp_path: Path) -> None:
    program = to_real(OfReals(), (EVERY_PAIR,))
    onnx_from_program(program, tmp_path / "m.onnx", inputs=["x"], outputs=list("abcd"))
    assert_same(run(tmp_path / "m.onnx", EVERY_PAIR.numpy()), OfReals()(EVERY_PAIR))


class OfSpectra(nn.Module):
    """The bins 0 and n/2 of a real signal are on the branch cut wherever they are negative."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        z, whole = torch.fft.rfft(x), torch.fft.fft(x)
        frames = torch.stft(x, 16, 8, window=torch.hann_window(16), center=False, return_complex=True)
        return (
            torch.angle(z), torch.atan2(whole.imag, whole.real), torch.angle(frames), torch.log(-2 * z).imag,
            torch.angle(z.conj()), torch.angle(z * torch.tanh(x[:, :1])), z.conj().sqrt().imag,
        )  # fmt: skip


@ENGINES
def test_phases_of_the_spectra_of_real_signals(run: Run, tmp_path: Path) -> None:
    x = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    expected = OfSpectra()(x)
    assert (expected[0][:, [0, 16]].abs() > 3).any()
    onnx_from_program(to_real(OfSpectra(), (x,)), tmp_path / "m.onnx", inputs=["x"], outputs=list("abcdefg"))
    for a, b in zip(map(torch.from_numpy, run(tmp_path / "m.onnx", x.numpy())), expected, strict=True):
        # A phase is as exact as the spectrum over its magnitude: 1e-6 over 0.01. A wrong side of the cut is off by 6.3.
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


class OfNegations(nn.Module):
    """Behind a product or a sum OpenVINO makes -1 x + 0 of -x, and elsewhere -x of 0 - x."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = x @ torch.eye(16)
        right, left = torch.ones(16), -torch.ones(16)
        return (
            torch.atan2(-y, left), torch.atan2(y * -2, left), torch.atan2(0 - y, left), torch.atan2(0 - x, left),
            torch.atan2(x, -y), torch.atan2(-x.sum(0), left), torch.atan2((-y).neg(), left),
            torch.atan2((-y).view(2, 4, 4).mT[:, 1:, :2], left[:2]), torch.atan2((-y)[:, [3, 0]], left[:2]),
            torch.copysign(right, -y), torch.signbit(-y), torch.copysign(y, x),
        )  # fmt: skip


@ENGINES
def test_phases_of_what_is_negated(run: Run, tmp_path: Path) -> None:
    x = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    x[:, ::3] = 0
    expected = OfNegations()(x)
    program = to_real(OfNegations(), (x,), dynamic_shapes={})
    outputs = [f"y{i}" for i in range(len(expected))]
    onnx_from_program(program, tmp_path / "m.onnx", inputs=["x"], outputs=outputs)
    assert_same(run(tmp_path / "m.onnx", x.numpy()), expected)


class Softplus(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return F.softplus(x), F.softplus(x, 2.0), F.softplus(x, -0.5), F.softplus(x, 1.0, 1.0)


@ENGINES
def test_softplus_is_exact_where_it_is_small(run: Run, tmp_path: Path) -> None:
    """Relative to what it is: below -10 OpenVINO's own operator gives anything but that."""
    x = torch.cat([torch.linspace(-80, 30, 5001), torch.tensor([INF, -INF, NAN, 0.0])])[None]
    program = to_real(Softplus(), (x,))
    onnx_from_program(program, tmp_path / "m.onnx", inputs=["x"], outputs=list("abcd"))
    for found, expected in zip(run(tmp_path / "m.onnx", x.numpy()), Softplus()(x.double()), strict=True):
        torch.testing.assert_close(torch.from_numpy(found).double(), expected, rtol=1e-6, atol=1e-37, equal_nan=True)


class Norms(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        weight = torch.arange(1.0, x.shape[-1] + 1)
        half = x.to(torch.float16)
        return (
            F.rms_norm(x, x.shape[-1:]),
            F.rms_norm(x, x.shape[-2:], eps=1e-3),
            F.rms_norm(x, x.shape[-1:], weight, 1e-12),
            F.rms_norm(half, x.shape[-1:]).to(torch.float32),
        )


@ENGINES
def test_rms_norm_over_one_axis_or_two_and_in_half_precision(run: Run, tmp_path: Path) -> None:
    x = torch.cat([torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 3, 8)])
    x[1] *= 300  # its squares are beyond float16
    program = to_real(Norms().eval(), (x,), dynamic_shapes={})
    onnx_from_program(program, tmp_path / "model.onnx", inputs=["x"], outputs=list("abcd"))
    *wide, half = zip(run(tmp_path / "model.onnx", x.numpy()), Norms()(x), strict=True)
    for found, expected in wide:
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(half[0], half[1], rtol=2e-3)


class NearlyNothing(nn.Module):
    """What keeps a logarithm and a quotient finite, and a factor that is one to five digits."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        positive = torch.relu(x)
        return (
            torch.log(positive + self.epsilon),
            positive / torch.sqrt(positive * positive + self.epsilon),
            (positive - self.epsilon) * 1e8,
            x * (1 + 4e-6) - x,
        )


@ENGINES
@pytest.mark.parametrize("epsilon", [1e-6, 1e-8, 1e-10, 1e-20])
def test_small_constants_are_not_taken_for_nothing(run: Run, epsilon: float, tmp_path: Path) -> None:
    x = torch.tensor([[0.0, epsilon / 2, 3 * epsilon, -1, 1, 40]])
    model = NearlyNothing(epsilon)
    onnx_from_program(
        to_real(model, (x,), dynamic_shapes={}), tmp_path / "model.onnx", inputs=["x"], outputs=list("abcd")
    )
    for found, expected in zip(run(tmp_path / "model.onnx", x.numpy()), model(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
