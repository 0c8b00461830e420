"""Places that are computed: read and written as eager PyTorch does, and carried from call to call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hamsa_deploy import to_real

from ..programs import Program, operators

X = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
PLACES = [torch.tensor(0), torch.tensor(2), torch.tensor(-1)]


def written(x: Tensor, index: Any, value: Any) -> Tensor:
    y = x.clone()
    y[index] = value
    return y


CASES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "first axis": lambda x, at: x[at],
    "last axis": lambda x, at: x[..., at],
    "between slices": lambda x, at: x[:, at, 1:],
    "beside a number": lambda x, at: x[1, at],
    "before a number and a new axis": lambda x, at: x[None, at, :, 0],
    "computed": lambda x, at: x[:, (at * 7 + 3) % 4],
    "written": lambda x, at: written(x, at, 2 * x[1]),
    "a number written": lambda x, at: written(x, (slice(None), at), 7),
    "a row written to all": lambda x, at: written(x, (Ellipsis, at, slice(None)), x[0, 0].double()),
    "of a constant": lambda x, at: x[torch.tensor(1), at] + written(x, torch.tensor(2), at)[2, 0],
}


@pytest.mark.parametrize("name", CASES)
def test_a_computed_place_is_an_index(name: str) -> None:
    function = CASES[name]
    program = to_real(Program(function), (X, PLACES[0]), dynamic_shapes={})
    for place in PLACES:
        torch.testing.assert_close(program.module()(X, place), function(X, place), rtol=0, atol=0)


def test_a_constant_place_stays_a_number() -> None:
    program = to_real(Program(lambda x: x[torch.arange(3)[1]]), (X,), dynamic_shapes={})
    assert "index" not in operators(program)


class Ring(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows: Tensor
        self.count: Tensor
        self.register_buffer("rows", torch.zeros(3, 8))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        self.rows[self.count % 3] = x[0]
        self.count += 1
        return x + self.rows.sum(0)


def test_a_ring_goes_on_where_it_was() -> None:
    model = Ring().eval()
    program = to_real(model, (torch.ones(1, 8),), dynamic_shapes={})
    states = [each.initial for each in program.graph_module.meta["states"]]
    for number in range(5):
        x = torch.full((1, 8), 2.0**number)
        y, states = program.module()(x, *states)
        assert torch.equal(y, model(x))
