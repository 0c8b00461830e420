"""Which scans become one, and that what reads them still gets its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.scan import selective_scan


class Direction(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.A, self.D = nn.Parameter(-torch.rand(4, 2, generator=generator)), nn.Parameter(torch.rand(4))
        self.bias = nn.Parameter(torch.rand(4, generator=generator))

    def forward(self, u: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return selective_scan(u, u.flip(1), self.A, u[:, None, :2], u[:, None, 2:], self.D, z, self.bias, True)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.directions = nn.ModuleList(Direction(seed) for seed in range(3))


class Both(Model):
    """The second begins when the first has been used already; the third needs them."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        forwards, state = self.directions[0](x, x.cos())
        used = torch.tanh(forwards) + state.sum((1, 2))[:, None, None]
        backwards, _ = self.directions[1](x.flip(2), x.sin())
        third, last = self.directions[2](used + backwards.flip(2), x)
        return used, third, last


class OfOtherShape(Model):
    """Neither the length nor the gate is the same."""

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.directions[0](x, x)
        short, _ = self.directions[1](x[..., 1:], x[..., 1:])
        without, _ = selective_scan(x, x.abs(), -torch.ones(4, 2), x[:, None, :2], x[:, None, 2:])
        return y[..., 1:] + short + without[..., 1:]


def scans(model: Model) -> int:
    x = torch.randn(2, 4, 40, generator=torch.Generator().manual_seed(0))
    program = to_real(model.eval(), (x,))
    for batch in (1, 2):
        found, expected = program.module()(x[:batch]), model(x[:batch])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    return sum("scan_steps" in str(node.target) for node in program.graph.nodes)


def test_scans_that_do_not_wait_for_each_other_are_one() -> None:
    assert scans(Both()) == 2


def test_scans_of_other_shapes_stay_apart() -> None:
    assert scans(OfOtherShape()) == 3
