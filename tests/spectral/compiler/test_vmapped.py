"""torch.vmap in models: as eager PyTorch computes it, with the batch dynamic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy import to_real


class Model(nn.Module):
    def __init__(self, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 3, generator=generator))
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def maps_in_maps(self: Any, x: Tensor) -> Tensor:
    """As S5 does: over the batch, and over time, with a matrix of the model's."""
    return torch.vmap(lambda u: torch.vmap(lambda v: self.weight @ v)(u).cumsum(0))(x)


def maps_axes(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Another axis in, another out, a weight that is mapped, too, and one that is not."""
    both = torch.vmap(lambda v, w: (v * w, v.sum()), in_dims=(2, 1), out_dims=(1, 0))
    return both(x, self.weight[:1] + torch.ones(5, 3))


def maps_transforms(self: Any, x: Tensor) -> Tensor:
    return torch.func.vmap(lambda u: torch.fft.irfft(torch.fft.rfft(u, dim=0) * 2, n=5, dim=0))(x)


def maps_and_writes(self: Any, x: Tensor) -> Tensor:
    def one(u: Tensor) -> Tensor:
        u = u + 0
        u[0] = u[1] * 3
        return u

    return torch.vmap(one)(x) + x


@pytest.mark.parametrize("function", [maps_in_maps, maps_axes, maps_transforms, maps_and_writes])
def test_a_mapped_function_is_operators_on_the_whole_batch(function: Callable[[Any, Tensor], Any]) -> None:
    model = Model(function).eval()
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    program = to_real(model, (x,), dynamic_shapes={} if function is maps_axes else None)
    assert len(program.graph.nodes) < 60  # as many for a batch of any size
    for batch in (2,) if function is maps_axes else (1, 7):
        x = torch.randn(batch, 5, 3, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            torch.testing.assert_close(program.module()(x), model(x))
