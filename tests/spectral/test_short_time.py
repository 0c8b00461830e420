"""stft and istft with each of their options, against eager PyTorch in float64; which products they become."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.spectral.compiler.capture import capture_model
from hamsa_runtime.dft.factorisations import framed_plan_for, plan_for
from hamsa_runtime.manifest import Transform

from .programs import Program, as_real, check_exact, operators, relative_error

DENSE, FACTORED = 16, 512
# Nowhere zero, so that istft without centring can divide by it; not symmetric, so that a reversal shows.
WINDOWS = {n: torch.hann_window(n, dtype=torch.float64) + torch.linspace(0.1, 0.3, n).double() for n in (9, 12, 15, 16)}
WINDOWS[FACTORED] = torch.hamming_window(FACTORED, dtype=torch.float64)
TWIST = torch.polar(WINDOWS[16], torch.linspace(0, 1, 16).double())


def signal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


FORWARD: dict[str, dict[str, Any]] = {
    "defaults": {},
    "hop": {"hop_length": 5},
    "short window": {"win_length": 9, "window": WINDOWS[9]},
    "short window, none given": {"win_length": 9},
    "odd length": {"n_fft": 15, "window": WINDOWS[15]},
    "not centred": {"center": False, "window": WINDOWS[16]},
    "aligned to the window": {
        "center": False, "align_to_window": True, "win_length": 12, "window": WINDOWS[12],
    },
    "constant padding": {"pad_mode": "constant", "window": WINDOWS[16]},
    "normalised": {"normalized": True, "window": WINDOWS[16]},
    "two-sided": {"onesided": False, "window": WINDOWS[16]},
    "complex window": {"onesided": False, "window": TWIST},
    "two factors": {"n_fft": FACTORED, "hop_length": 100, "window": WINDOWS[FACTORED]},
    "two factors, two-sided, normalised": {"n_fft": FACTORED, "onesided": False, "normalized": True},
}  # fmt: skip


@pytest.mark.parametrize("options", FORWARD.values(), ids=FORWARD.keys())
def test_stft_equals_eager_pytorch(options: dict[str, Any]) -> None:
    options = {"n_fft": DENSE, "return_complex": True, **options}
    check_exact(Program(lambda x: torch.stft(x, **options)), signal(2, 700 if options["n_fft"] > 400 else 50))


def test_stft_of_one_signal_without_a_batch() -> None:
    check_exact(Program(lambda x: torch.stft(x, DENSE, window=WINDOWS[16], return_complex=True)), signal(50))


@pytest.mark.filterwarnings("ignore:stft with return_complex=False")
def test_stft_as_real_numbers() -> None:
    check_exact(Program(lambda x: torch.stft(x, DENSE, window=WINDOWS[16], return_complex=False)), signal(2, 50))


@pytest.mark.parametrize("n", [DENSE, FACTORED])
def test_stft_of_a_complex_signal(n: int) -> None:
    check_exact(
        Program(lambda x: torch.stft(torch.complex(x, x * x), n, window=WINDOWS[n], return_complex=True)),
        signal(2, 700),
    )


def test_stft_under_a_window_that_is_an_input() -> None:
    def program(x: Tensor, window: Tensor) -> Tensor:
        return torch.stft(x, DENSE, window=window, return_complex=True)

    check_exact(Program(program), signal(2, 50), WINDOWS[16])


def test_the_overload_that_pads_itself() -> None:
    def program(x: Tensor) -> Tensor:
        return torch.ops.aten.stft.center(x, DENSE, window=WINDOWS[16], pad_mode="reflect", return_complex=True)

    check_exact(Program(program), signal(2, 50))


def test_stft_is_one_convolution_while_a_frame_is_dense() -> None:
    assert plan_for(DENSE).is_dense
    program = check_exact(
        Program(lambda x: torch.stft(x, DENSE, window=WINDOWS[16], return_complex=True)), signal(2, 50)
    )
    names = operators(program)
    assert names.count("conv1d") == 1
    assert "matmul" not in names
    assert program.graph_module.meta["transforms"] == [Transform("", 16, (16,), "convolution of frames", 13, 4)]


def test_stft_is_the_transform_of_frames_where_it_has_two_factors() -> None:
    """Frames are slices of one tensor: whole blocks, no gather of samples."""
    assert len(framed_plan_for(FACTORED, 128).factors) > 1
    program = check_exact(
        Program(lambda x: torch.stft(x, FACTORED, 128, return_complex=True, center=False)), signal(2, 1024)
    )
    names = operators(program)
    assert not {"unfold", "conv1d", "index"} & set(names)
    assert names.count("narrow") == 4
    assert names.count("cat") == 1
    [transform] = program.graph_module.meta["transforms"]
    assert (transform.length, transform.columns, transform.hop) == (FACTORED, 5, 128)
    assert len(transform.factors) > 1


def noise(frequencies: int, frames: int = 7) -> Tensor:
    return torch.randn(2, frequencies, frames, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


INVERSE: dict[str, dict[str, Any]] = {
    "defaults": {},
    "hop": {"hop_length": 5, "window": WINDOWS[16]},
    "short window": {"win_length": 9, "window": WINDOWS[9]},
    "short window, none given": {"win_length": 9},
    "not centred": {"center": False, "window": WINDOWS[16]},
    "normalised": {"normalized": True, "window": WINDOWS[16]},
    "two-sided": {"onesided": False, "window": WINDOWS[16]},
    "complex signal": {"onesided": False, "window": WINDOWS[16], "return_complex": True},
    "complex window": {"onesided": False, "window": TWIST, "return_complex": True},
    "shorter": {"length": 17, "window": WINDOWS[16]},
    "longer": {"length": 40, "window": WINDOWS[16]},
    "shorter, not centred": {"length": 17, "window": WINDOWS[16], "center": False},
    "two factors": {"n_fft": FACTORED, "hop_length": 100, "window": WINDOWS[FACTORED]},
    "two factors, complex signal": {
        "n_fft": FACTORED, "onesided": False, "window": WINDOWS[FACTORED], "return_complex": True, "length": 300,
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The length of signal is shorter")
@pytest.mark.parametrize("options", INVERSE.values(), ids=INVERSE.keys())
def test_istft_equals_eager_pytorch(options: dict[str, Any]) -> None:
    options = {"n_fft": DENSE, **options}
    n = options["n_fft"]
    check_exact(Program(lambda z: torch.istft(z, **options)), noise(n if "onesided" in options else n // 2 + 1))


def test_istft_of_one_spectrum_without_a_batch() -> None:
    check_exact(Program(lambda z: torch.istft(z, DENSE, window=WINDOWS[16])), noise(9)[0])


def test_istft_under_a_window_that_is_an_input() -> None:
    check_exact(Program(lambda z, w: torch.istft(z, DENSE, window=w)), noise(9), WINDOWS[16])


def test_istft_is_one_transposed_convolution_and_a_constant() -> None:
    names = operators(check_exact(Program(lambda z: torch.istft(z, DENSE, window=WINDOWS[16])), noise(9)))
    assert names.count("conv_transpose1d") == 1  # the envelope is computed when the model is compiled
    assert "div" not in names


class Denoiser(nn.Module):
    """A mask on magnitudes between stft and istft."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(n))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.stft(x, self.n, window=self.window, return_complex=True)
        return torch.istft(z * torch.sigmoid(z.abs() - 1), self.n, window=self.window)


@pytest.mark.parametrize("n", [DENSE, pytest.param(FACTORED, marks=pytest.mark.slow)])
def test_between_them_batch_and_signal_may_vary(n: int) -> None:
    """In float32; 2e-6 is what the transforms of test_factored.py are held to."""
    batch, samples = torch.export.Dim("batch"), torch.export.Dim("samples", min=n + 1, max=5000)
    model = Denoiser(n)
    program = to_real(model, (signal(2, 3 * n).float(),), dynamic_shapes=({0: batch, 1: samples},))
    for shape in ((1, 2 * n), (3, 1000)):
        x = signal(*shape).float()
        assert relative_error(program.module()(*as_real(x)), model(x)) < 2e-6


@pytest.mark.parametrize("n", [9, 15, 16])
def test_odd_frames_and_even_ones_there_and_back(n: int) -> None:
    def there_and_back(x: Tensor) -> Tensor:
        z = torch.stft(x, n, 4, window=WINDOWS[n], return_complex=True)
        return torch.istft(z * 0.5, n, 4, window=WINDOWS[n])

    check_exact(Program(there_and_back), signal(2, 100))


class Lengthened(nn.Module):
    """istft to the length of the signal, which varies, and to others that follow from it; and zeros up to there."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        z = torch.stft(x, 16, 4, window=WINDOWS[16], return_complex=True)
        lengths = (x.shape[-1], x.shape[-1] + 9, x.shape[-1] - 5)
        shorter = torch.istft(z, 16, 4, window=WINDOWS[16])
        padded = F.pad(shorter, (0, x.shape[-1] - shorter.shape[-1]))
        return padded, *(torch.istft(z, 16, 4, window=WINDOWS[16], length=length) for length in lengths)


@pytest.mark.parametrize("samples", [100, 101, 102, 103, 251])
def test_a_length_that_is_taken_from_an_axis_that_varies(samples: int) -> None:
    time = torch.export.Dim("time", min=32, max=100_000)
    program = to_real(Lengthened(), (signal(2, 160),), dynamic_shapes=({0: torch.export.Dim("batch"), 1: time},))
    x = signal(3, samples)
    for found, expected in zip(program.module()(x), Lengthened()(x), strict=True):
        assert found.shape == expected.shape
        assert relative_error(found, expected) < 1e-13


def test_a_long_frame_is_captured_as_one_operator() -> None:
    """PyTorch's own stand-in takes n_fft steps: at 4096 minutes, and tens of thousands of nodes."""
    window = torch.hann_window(4096)
    program, *_ = capture_model(
        Program(lambda z: torch.istft(z, 4096, 1024, window=window)), (noise(2049).to(torch.complex64),), {}
    )
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"][-1:] == [
        "hamsa_deploy.istft.default"
    ]
    assert len(program.graph.nodes) < 10
