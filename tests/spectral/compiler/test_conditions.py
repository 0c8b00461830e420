"""Conditions on sizes that vary: those that change nothing are taken, those that decide on results are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import Dim

from hamsa_deploy import to_real
from hamsa_runtime.errors import InputError

from ..programs import Program

WINDOW = torch.hann_window(16)
SIZES = (64, 65, 100, 160, 401)


def through(x: Tensor) -> Tensor:
    """Back from frames: as many samples as whole hops have."""
    z = torch.stft(x, 16, 4, window=WINDOW, return_complex=True)
    return torch.istft(z * 0.5, 16, 4, window=WINDOW)


def crops(x: Tensor) -> Tensor:
    return through(x)[..., : x.shape[-1]]


def crops_what_was_padded(x: Tensor) -> Tensor:
    return through(F.pad(x, (0, 16)))[..., : x.shape[-1]]


def crops_to_the_shorter(x: Tensor) -> Tensor:
    y = through(x)
    n = min(y.shape[-1], x.shape[-1])
    return y[..., :n] * x[..., :n]


def pads_to_the_input(x: Tensor) -> Tensor:
    y = through(x)
    return F.pad(y, (0, x.shape[-1] - y.shape[-1])) + x


def is_given_the_length(x: Tensor) -> Tensor:
    z = torch.stft(x, 16, 4, window=WINDOW, return_complex=True)
    return torch.istft(z, 16, 4, window=WINDOW, length=x.shape[-1]) * x


@pytest.mark.parametrize(
    "function",
    [crops, crops_what_was_padded, crops_to_the_shorter, pads_to_the_input, is_given_the_length],
    ids=lambda function: function.__name__,
)
def test_crops_and_pads_by_a_size_that_varies_are_right_at_every_size(function: Callable[[Tensor], Tensor]) -> None:
    model = Program(function)
    program = to_real(model, (torch.randn(2, 100),), dynamic_shapes=(({1: Dim("t", min=48, max=10_000)},),))
    run = program.module()
    for size in SIZES:
        x = torch.randn(2, size)
        torch.testing.assert_close(run(x), model(x), rtol=1e-4, atol=1e-5)


def doubles_odd_ones(x: Tensor) -> Tensor:
    return crops(x) * (2 if x.shape[-1] % 2 else 1)


def doubles_long_ones(x: Tensor) -> Tensor:
    return crops(x) * (2 if x.shape[-1] > 300 else 1)


def doubles_very_long_ones(x: Tensor) -> Tensor:
    """Too long to be tried."""
    return crops(x) * (2 if x.shape[-1] > 1_000_000 else 1)


@pytest.mark.parametrize(
    "function", [doubles_odd_ones, doubles_long_ones, doubles_very_long_ones], ids=lambda function: function.__name__
)
def test_a_branch_on_a_size_that_decides_on_the_result_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError, match="cannot be captured with a dimension that varies: it"):
        to_real(Program(function), (torch.randn(2, 100),), dynamic_shapes=(({1: Dim("t", min=48, max=10_000_000)},),))
