"""What half a spectrum saves, and that it never changes a value."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fft, nn

from hamsa_deploy import to_real
from hamsa_deploy.models import SASS

from .programs import Program, check_exact, operators

GATHERS = {"index_select", "gather", "flip", "index", "roll"}


def tokens(n: int = 12, d: int = 6) -> Tensor:
    return torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def ramp(z: Tensor) -> Tensor:
    return torch.arange(z.shape[1]).double()[:, None]


@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (28, 28)])
def test_sass_runs_on_half_the_frequencies(grid: tuple[int, int]) -> None:
    """One square root, no gather, no flip, no full-length spectrum: the lengths are h and 2 h, never n."""
    n, d = grid[0] * grid[1], 4
    model = SASS(grid, d, norm="ortho", complex_w1=True).double().eval()
    program = check_exact(model, tokens(n, d))
    found = operators(program)
    assert found.count("sqrt") == 1
    assert not GATHERS & set(found)
    first, *_, last = [node for node in program.graph.nodes if "matmul" in str(node.target)]
    spectrum = [node for node in program.graph.nodes if first < node < last]
    activations = [node.meta["val"] for node in spectrum if "val" in node.meta and node.meta["val"].shape[:1] == (2,)]
    assert len(activations) > 20
    assert all(n not in value.shape for value in activations)


def test_the_magnitude_of_a_gated_spectrum_needs_no_second_root() -> None:
    def program(x: Tensor) -> Tensor:
        z = fft.fft(x, dim=1)
        gated = torch.sigmoid(z.abs()) * z
        return fft.ifft(z * gated.abs(), dim=1).real

    found = operators(check_exact(Program(program), tokens()))
    assert found.count("sqrt") == 1
    assert "abs" not in found  # the gate is known to be non-negative


def test_the_magnitude_of_a_signed_product_is_non_negative() -> None:
    found = operators(check_exact(Program(lambda x: (x * fft.fft(x, dim=1)).abs()), tokens()))
    assert "abs" in found


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda z: z.real + z.imag, id="even plus odd"),
        pytest.param(lambda z: z.imag * z.imag * z.real, id="odd times odd"),
        pytest.param(lambda z: z.imag.abs() - z.real, id="odd to even"),
        pytest.param(lambda z: torch.exp(z.imag), id="a function of an odd value"),
        pytest.param(lambda z: torch.clamp(z.imag, -0.5, 1.0), id="an unsymmetric clamp"),
        pytest.param(lambda z: 3 - z.imag, id="odd plus a number"),
        pytest.param(lambda z: z.imag / (z.real.abs() + 1) - 2 * z.imag, id="odd minus odd"),
        pytest.param(lambda z: torch.where(z.imag > 0, z.real, z.imag), id="a condition"),
        pytest.param(lambda z: z * (torch.arange(z.shape[1]) % 3 != 1)[:, None], id="a constant mask"),
        pytest.param(lambda z: z.real.softmax(1), id="not pointwise along the axis"),
        pytest.param(lambda z: z.real.softmax(2), id="along the channels"),
        pytest.param(lambda z: z.real * ramp(z), id="a constant ramp"),
        pytest.param(lambda z: z.imag - z.imag * ramp(z), id="signs cancel"),
        pytest.param(lambda z: z.real @ z.imag.transpose(1, 2), id="a product along the axis"),
        pytest.param(lambda z: torch.cat([z.real, z.imag], 2), id="joined channels"),
        pytest.param(lambda z: torch.cat([z.real, z.imag], 1), id="joined along the axis"),
        pytest.param(lambda z: torch.maximum(z.imag, z.real), id="maximum of odd and even"),
        pytest.param(lambda z: torch.div(z.imag, 0.3, rounding_mode="floor"), id="a rounded quotient of an odd value"),
        pytest.param(lambda z: torch.div(ramp(z) * z.imag, 0.3, rounding_mode="floor"), id="a rounded quotient"),
    ],
)
def test_real_functions_of_a_spectrum(function: Callable[[Tensor], Tensor]) -> None:
    check_exact(Program(lambda x: function(fft.fft(x, dim=1))), tokens())
    check_exact(Program(lambda x: function(fft.fft(x, dim=1).mul(1j))), tokens(11))


def test_a_spectrum_times_an_activation_of_full_length() -> None:
    check_exact(Program(lambda x: fft.ifft(x * fft.fft(x, dim=1), dim=1).real), tokens())


def test_a_bias_makes_an_odd_value_general() -> None:
    layer = nn.Linear(6, 5).double()
    check_exact(Program(lambda x: layer(fft.fft(x, dim=1).imag)), tokens())


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
def test_two_axes(norm: str | None) -> None:
    x = torch.randn(2, 8, 10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_exact(Program(lambda x: fft.fft2(x, dim=(1, 2), norm=norm).real), x)
    check_exact(Program(lambda x: fft.irfft2(fft.rfft2(x, dim=(1, 2), norm=norm) * x[:, :, :6], dim=(1, 2))), x)


def test_real_token_mixing_costs_half_of_a_complex_transform() -> None:
    x = torch.randn(2, 8, 16)
    program = to_real(Program(lambda x: fft.fft(x, dim=1).real), (x,), dynamic_shapes={})
    matrices = [n for n in program.graph.nodes if n.op == "call_function" and "matmul" in str(n.target)]
    assert [tuple(node.args[0].meta["val"].shape) for node in matrices] == [(5, 8)]


def test_channels_of_a_part_are_cut_from_both_halves() -> None:
    def program(x: Tensor) -> Tensor:
        z = fft.fft(x, dim=1)
        re, im = z.real, z.imag * ramp(z)
        return fft.ifft(torch.complex(re[..., :3] * im[..., 3:], re[..., 1:4]), dim=1).real

    found = operators(check_exact(Program(program), tokens()))
    assert not {"cat", *GATHERS} & set(found)
