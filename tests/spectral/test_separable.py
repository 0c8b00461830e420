"""PyTorch's transforms one axis at a time: the same values, and never several axes in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fft
from torch.utils._python_dispatch import TorchDispatchMode

from hamsa_deploy.spectral.separable import OneAxisAtATime

from .programs import relative_error

generator = torch.Generator().manual_seed(0)
Z = torch.randn(4, 5, 6, dtype=torch.complex128, generator=generator)
X = torch.randn(4, 5, 6, dtype=torch.float64, generator=generator)

CALLS = {
    "fftn": lambda: fft.fftn(Z),
    "fftn of a real tensor": lambda: fft.fftn(X, dim=(0, 2)),
    "ifft2": lambda: fft.ifft2(Z, dim=(0, 1), norm="ortho"),
    "rfftn": lambda: fft.rfftn(X, s=(7, 4), dim=(2, 0), norm="forward"),
    "irfftn": lambda: fft.irfftn(Z, s=(3, 9), dim=(0, 1)),
    "hfftn": lambda: fft.hfftn(Z),
    "ihfft2": lambda: fft.ihfft2(X, norm="forward"),
}


class Axes(TorchDispatchMode):
    """Records how many axes each transform has."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def __torch_dispatch__(
        self, func: Callable[..., Tensor], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Tensor:
        if "_fft_" in str(func):
            self.counts.append(len(args[1]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_one_axis_at_a_time_is_the_same_transform(call: Callable[[], Tensor]) -> None:
    with Axes() as axes, OneAxisAtATime():
        found = call()
    assert set(axes.counts) == {1}
    assert len(axes.counts) >= 2
    assert relative_error(found, call()) < 1e-14  # rounding, in another order
