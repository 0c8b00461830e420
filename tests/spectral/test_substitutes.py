"""Operators that the ONNX exporter or an engine has not, or computes otherwise: as eager PyTorch, without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import Dim

from hamsa_deploy import to_real

from .programs import Program, operators

inf, nan = torch.inf, torch.nan
X = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
ODD = torch.tensor([[nan, inf, -inf, 0.0, -0.0, 1e30, 1e-30, -60.0]]).repeat(2, 1)
WHOLE = torch.tensor([[-8, -7, -1, 0, 3, 2**40 + 1, -(2**40) - 1, 2**24 + 1]]).repeat(2, 1)
BITS = X > 0
INDEX = torch.tensor([[0, 0, 3], [7, 1, 1]])

# What it is, of which inputs, and what must not be left.
CASES: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...], str]] = {
    "shift of numbers with a sign": (lambda i: i >> 1, (WHOLE,), "__rshift__"),
    "shift by numbers": (lambda i: torch.bitwise_right_shift(i, i % 5), (WHOLE,), "bitwise_right_shift"),
    "shift of bytes": (lambda i: i >> 4, (WHOLE.to(torch.uint8),), "__rshift__"),
    "towards zero": (lambda i: torch.div(i, 3, rounding_mode="trunc"), (WHOLE,), ""),
    "towards zero, of two": (lambda i: torch.div(i, -(i.abs() % 5) - 1, rounding_mode="trunc"), (WHOLE,), ""),
    "logsigmoid": (F.logsigmoid, (torch.linspace(-100, 100, 16).reshape(2, 8),), "log_sigmoid"),
    "hypot": (lambda x: torch.hypot(x, x.flip(1)), (torch.cat([X, ODD]),), "hypot"),
    "hypot of nothing": (torch.hypot, (torch.zeros(2, 3), torch.zeros(2, 3)), "hypot"),
    "fmax": (lambda x: torch.fmax(x, x.flip(1)), (ODD,), "fmax"),
    "fmin": (lambda x: torch.fmin(x, x.flip(1)), (ODD,), "fmin"),
    "fmin of whole numbers": (lambda i: torch.fmin(i, i.flip(1)), (WHOLE,), "fmin"),
    "where of bits": (lambda b, c: torch.where(b, c, b.flip(1)), (BITS, BITS.flip(0)), "where"),
    "sum of bits": (lambda b, c: b + c, (BITS, BITS.flip(0)), "add"),
    "distances of few": (lambda x: torch.cdist(x, x[:1]), (X,), "cdist"),
    "distances of many": (lambda x: torch.cdist(x, x[:, :3] + 1), (X.expand(8, 2, 8).reshape(2, 32, 2),), "cdist"),
    "sums of differences": (lambda x: torch.cdist(x, x.flip(1), p=1), (X,), "cdist"),
    "largest differences": (lambda x: torch.cdist(x, x.flip(1), p=inf), (X,), "cdist"),
    "searchsorted": (lambda x: torch.searchsorted(x[0].sort().values, x), (X,), "searchsorted"),
    "searchsorted, right": (
        lambda x: torch.searchsorted(x.sort().values, x.flip(0), right=True, out_int32=True), (X,), "searchsorted",
    ),
    "median": (lambda x: tuple(x.median(1)), (X,), "median"),
    "median of all": (lambda x: x.median(), (X,), "median"),
    "third smallest": (lambda x: tuple(x.kthvalue(3, 0, keepdim=True)), (X.T.contiguous(),), "kthvalue"),
    "scatter of a part": (lambda x, i: x.scatter(1, i, x), (X, INDEX), ""),
    "scatter_add of a part": (lambda x, i: x.scatter_add(1, i, x), (X, INDEX), ""),
    "means": (lambda x, i: x.scatter_reduce(1, i, x, "mean"), (X, INDEX), "scatter_reduce"),
    "means of others": (
        lambda x, i: x.scatter_reduce(1, i, x, "mean", include_self=False), (X, INDEX), "scatter_reduce",
    ),
    "hstack": (lambda x: torch.hstack([x, x + 1]), (X,), "hstack"),
    "hstack of rows": (lambda x: torch.hstack([x[0], x[1]]), (X,), "hstack"),
    "vstack": (lambda x: torch.vstack([x, x[0]]), (X,), "vstack"),
    "dstack": (lambda x: (torch.dstack([x, x + 1]), torch.dstack([x[0], x[1]])), (X,), "dstack"),
    "dstack of numbers": (lambda x: torch.dstack([x[0, 0], x[1, 1]]), (X,), "dstack"),
    "column_stack": (lambda x: torch.column_stack([x[:, 0], x]), (X,), "column_stack"),
    "atleast_2d": (lambda x: torch.cat(torch.atleast_2d(x[0], x[0, 0].expand(8))), (X,), "atleast_2d"),
    "another divisor": (lambda x: F.avg_pool2d(x[None], 2, 1, divisor_override=3), (X,), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_eager_computes(name: str) -> None:
    function, inputs, operator = CASES[name]
    program = to_real(Program(function), inputs, dynamic_shapes={})
    torch.testing.assert_close(program.module()(*inputs), function(*inputs), equal_nan=True, rtol=1e-6, atol=1e-6)
    assert operator not in operators(program)


def test_no_division_of_whole_numbers_goes_towards_zero() -> None:
    """Which the exporter does in float32."""
    program = to_real(Program(CASES["towards zero"][0]), (WHOLE,), dynamic_shapes={})
    divisions = [node for node in program.graph.nodes if "aten.div" in str(node.target)]
    assert [node.kwargs["rounding_mode"] for node in divisions] == ["floor"]


def test_a_source_is_cut_to_its_index_and_a_mean_has_no_other_divisor() -> None:
    for name in ("scatter of a part", "scatter_add of a part"):
        [node] = [
            node
            for node in to_real(Program(CASES[name][0]), (X, INDEX), dynamic_shapes={}).graph.nodes
            if "aten.scatter" in str(node.target)
        ]
        assert node.args[3].meta["val"].shape == INDEX.shape
    pooled = to_real(Program(CASES["another divisor"][0]), (X,), dynamic_shapes={})
    assert all(3 not in node.args for node in pooled.graph.nodes if "avg_pool2d" in str(node.target))


class Half(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(x, (x.shape[1] // 2, -1), (1, 0))


def test_roll_by_a_part_of_an_axis_whose_size_is_free() -> None:
    program = to_real(Half(), (X,), dynamic_shapes=({0: Dim("batch"), 1: Dim("t", min=2)},))
    for size in (2, 7, 9):
        x = torch.arange(3.0 * size).reshape(3, size)
        assert torch.equal(program.module()(x), Half()(x))
    assert "roll" not in operators(program)
