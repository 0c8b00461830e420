"""Transform plans against numpy's float64 FFT, for every kind of length up to 4096."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hamsa_deploy import to_real
from hamsa_deploy.targets import all_targets, target_of
from hamsa_runtime.dft.factorisations import Plan, plan_for

from .programs import Program, assert_real, check_exact, operators, relative_error

LENGTHS = [1, 2, 3, 4, 7, 12, 49, 60, 97, 196, 197, 400, 401, 404, 625, 784, 1021, 1024, 3136, 4095, 4096]


class Round(nn.Module):
    """Forward and inverse of one length, with a filter between them that is neither even nor odd."""

    def __init__(self, n: int, dtype: torch.dtype) -> None:
        super().__init__()
        parts = torch.randn(n, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        self.kernel = nn.Parameter(parts.to(dtype))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        spectrum = torch.fft.fft(x, dim=1, norm="ortho")
        filtered = torch.fft.ifft(spectrum * torch.view_as_complex(self.kernel), dim=1, norm="ortho")
        return torch.view_as_real(spectrum), filtered.real


@pytest.mark.parametrize("n", LENGTHS)
def test_float64_transforms_agree_with_torch_fft(n: int) -> None:
    model, x = Round(n, torch.float64), torch.randn(2, n, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    program = to_real(model, (x,), dynamic_shapes={})
    assert_real(program)
    # sums of n products, each rounded to 1e-16: sqrt(4096) 1e-16, with a margin of a hundred
    assert relative_error(program.module()(x), model(x)) < 1e-13


@pytest.mark.parametrize("n", [49, 197, 784, 3136, 4096])
def test_float32_transforms_agree_with_float64_torch_fft(n: int) -> None:
    x = torch.randn(2, n, 3, generator=torch.manual_seed(0))
    program = to_real(Round(n, torch.float32), (x,), dynamic_shapes={})
    expected = Round(n, torch.float32).double()(x.double())
    # float32 rounds each product to 6e-8; errors of a sum add up like a random walk
    assert relative_error(program.module()(x), expected) < 2e-6


FORMS = [
    Plan(12, (12,)),
    Plan(12, (3, 4)),
    Plan(12, (4, 3)),
    Plan(24, (2, 3, 4)),
    Plan(30, (5, 3, 2)),
    Plan(36, (2, 3, 3, 2)),
]
FORMS += [Plan(13, ()), Plan(5, ())]


@pytest.mark.parametrize("plan", FORMS, ids=str)
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_every_form_of_a_plan_is_exact(plan: Plan, axis: int) -> None:
    """Two-sided and one-sided, forward and inverse, padded and cut, along any axis."""
    n, sizes = plan.n, [2, 3, 2]
    sizes.insert(axis, n)
    x = torch.randn(sizes, dtype=torch.float64, generator=torch.manual_seed(0))
    kernel = torch.randn(n, *[1] * (3 - axis), dtype=torch.complex128, generator=torch.manual_seed(1))

    def program(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        two_sided, one_sided = torch.fft.fft(x, dim=axis), torch.fft.rfft(x, dim=axis)
        padded = torch.fft.fft(x.narrow(axis, 0, n - 2), n=n, dim=axis)
        gated = two_sided * two_sided.abs() * kernel
        return (
            two_sided,
            one_sided,
            torch.fft.ifft(gated, dim=axis),
            torch.fft.ifft(padded * padded.abs(), dim=axis).real.narrow(axis, 0, n - 2),
            torch.fft.irfft(one_sided * one_sided.abs(), n=n, dim=axis),
        )

    check_exact(Program(program), x, plans={n: plan})


@pytest.mark.parametrize("target", [target.name for target in all_targets()])
def test_short_lengths_are_dense_and_long_ones_have_factors(target: str) -> None:
    """As the rates have it; in between, targets and numbers of columns differ."""
    middle = 1 if target.startswith("tensorrt") else 2  # a GPU multiplies sooner than it starts another kernel
    for n, count in ((1, 1), (7, 1), (49, 1), (256, middle), (512, 2), (4096, 3)):
        assert len(plan_for(n, target_of(target).rates).factors) == count
    assert len(plan_for(12544, target_of(target).rates).factors) in (3, 4)
    for n in (3136, 97344):
        plan = plan_for(n, target_of(target).rates)
        assert np.prod(plan.factors) == n
        assert plan.work.macs * 10 < Plan(n, (n,)).work.macs
    assert len(plan_for(97344, target_of(target).rates).factors) >= 3
    assert plan_for(97344, target_of(target).rates).work.stored * 4 < 100e6  # bytes in float32


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_long_primes_are_computed_by_raders_form(target: str) -> None:
    assert all(plan_for(n, target_of(target).rates).is_dense for n in (97, 401))
    assert all(plan_for(n, target_of(target).rates).is_rader for n in (1021, 2053, 3001))


def test_two_factors_leave_no_twiddle_multiplication_and_no_gather() -> None:
    x = torch.randn(1, 784, 3)
    spectrum = to_real(Autocorrelation(), (x,), dynamic_shapes={})
    found = operators(spectrum)
    # forward: one over n1, then one each for the real and the imaginary parts; inverse: one of an even spectrum, one
    assert found.count("matmul") == 5
    assert not {"index_select", "gather", "flip", "index"} & set(found)
    assert found.count("mul") == 3  # two squares, and the weights of the half spectrum


class Autocorrelation(nn.Module):
    """The autocorrelation: an even, real spectrum between the transforms."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.fft.fft(x, dim=1, norm="ortho")
        filtered = torch.complex(z.real * z.real + z.imag * z.imag, torch.zeros_like(z.real))
        return torch.fft.ifft(filtered, dim=1, norm="ortho").real
