"""The scan with gradients, which trains vim_nano, is that of the operator."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hamsa_deploy.scan import selective_scan

SCRIPT = Path(__file__).parents[2] / "examples" / "train_digits.py"
NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")


@pytest.fixture(scope="module")
def trained_with() -> Callable[..., tuple[Tensor, None]]:
    script: dict[str, Any] = runpy.run_path(str(SCRIPT))
    found: Callable[..., tuple[Tensor, None]] = script["selective_scan"]
    return found


def arguments() -> dict[str, Tensor]:
    """Of two images, two groups of three channels, four states, five steps."""
    torch.manual_seed(0)
    shapes = [(2, 6, 5), (2, 6, 5), (6, 4), (2, 2, 4, 5), (2, 2, 4, 5), (6,), (6,)]
    drawn = {name: torch.randn(shape, dtype=torch.float64) for name, shape in zip(NAMES, shapes, strict=True)}
    return drawn | {"A": -drawn["A"].exp()}


def test_computes_what_the_operator_does(trained_with: Callable[..., tuple[Tensor, None]]) -> None:
    y, _ = trained_with(**arguments(), delta_softplus=True)
    torch.testing.assert_close(y, selective_scan(**arguments(), delta_softplus=True)[0], rtol=0, atol=1e-12)


def test_has_the_gradients_of_what_it_computes(trained_with: Callable[..., tuple[Tensor, None]]) -> None:
    def scan(*tensors: Tensor) -> Tensor:
        return trained_with(**dict(zip(NAMES, tensors, strict=True)), delta_softplus=True)[0]

    assert torch.autograd.gradcheck(scan, [each.requires_grad_() for each in arguments().values()])
