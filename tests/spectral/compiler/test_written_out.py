"""Parallel scans as people write them out: what becomes one recurrence, and what is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.associative_scan import associative_scan

from hamsa_deploy import to_real

LENGTH = 11
Pair = tuple[Tensor, Tensor]
Join = Callable[[Pair, Pair], Pair]


def joined(p: Pair, q: Pair) -> Pair:
    return p[0] * q[0], p[1] * q[0] + q[1]


def the_other_way_round(p: Pair, q: Pair) -> Pair:
    return q[0] * p[0], torch.addcmul(q[1], q[0], p[1])


def not_linear(p: Pair, q: Pair) -> Pair:
    return p[0] * q[0], p[1] * q[0] + q[1] * p[0]


def like_jax(join: Join, elements: Pair, axis: int) -> Pair:
    """Neighbours are joined, those scanned, and what lies between them computed from them."""
    length = elements[0].shape[axis]
    if length < 2:
        return elements

    def part(x: Tensor, start: int, stop: int | None, step: int = 1) -> Tensor:
        return torch.ops.aten.slice(x, axis, start, stop, step)

    first, second = ([part(x, start, None if start else -1, 2) for x in elements] for start in (0, 1))
    odd = like_jax(join, join((first[0], first[1]), (second[0], second[1])), axis)
    before = [part(x, 0, -1) for x in odd] if length % 2 == 0 else odd
    later = [part(x, 2, None, 2) for x in elements]
    even = join((before[0], before[1]), (later[0], later[1]))
    results = []
    for x, evens, odds in zip(elements, even, odd, strict=True):
        a, b = torch.cat([part(x, 0, 1), evens], axis), odds
        if length % 2:
            b = F.pad(b, [0, 0] * (x.ndim - axis - 1) + [0, 1])
        both = torch.stack([a, b], axis + 1).flatten(axis, axis + 1)
        results.append(part(both, 0, length))
    return results[0], results[1]


def doubling(x: Tensor, a: Tensor, most: int = LENGTH) -> Tensor:
    """Each state with the one 1, 2, 4, .. steps before it."""
    step = 1
    while step < most:
        x = torch.cat([x[..., :step], a[..., step:] * x[..., :-step] + x[..., step:]], -1)
        a = torch.cat([a[..., :step], a[..., step:] * a[..., :-step]], -1)
        step *= 2
    return x


def by_pytorch(x: Tensor, a: Tensor) -> Tensor:
    return associative_scan(joined, (torch.sigmoid(a), x), dim=2, combine_mode="generic")[1]


def by_pytorch_backwards(x: Tensor, a: Tensor) -> Tensor:
    return associative_scan(the_other_way_round, (torch.sigmoid(a), x), 2, reverse=True, combine_mode="generic")[1]


def by_a_port(x: Tensor, a: Tensor) -> Tensor:
    return like_jax(the_other_way_round, (a.sigmoid(), x), 2)[1]


def complex_numbers(x: Tensor, a: Tensor) -> Tensor:
    """Of S5, which has one decay for all steps."""
    decays = torch.polar(torch.full((4,), 0.99), torch.arange(4.0)).tile(x.shape[2], 1)
    z = torch.complex(x, a).permute(2, 0, 1)
    h = like_jax(the_other_way_round, (decays[:, None] * torch.ones_like(z), z), 0)[1]
    return (h * h).real


def by_hand(x: Tensor, a: Tensor) -> Tensor:
    return doubling(x, a.sigmoid()) * 2


def over_a_window(x: Tensor, a: Tensor) -> Tensor:
    return doubling(x, a.sigmoid(), 4)


def of_another_join(x: Tensor, a: Tensor) -> Tensor:
    return like_jax(not_linear, (a.sigmoid(), x), 2)[1]


class Model(nn.Module):
    def __init__(self, scan: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.scan = scan

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return self.scan(x, a)


def check(scan: Callable[[Tensor, Tensor], Tensor]) -> list[tuple[str, int | None]]:
    """Compare with eager, and give the scans of the program. PyTorch's own fixes the batch."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 4, LENGTH, generator=generator) for _ in range(2)]
    program = to_real(Model(scan).eval(), inputs)
    for batch in (2,) if scan in (by_pytorch, by_pytorch_backwards) else (1, 2):
        given = [x[:batch] for x in inputs]
        torch.testing.assert_close(program.module()(*given), scan(*given), rtol=1e-5, atol=1e-5)
    return [(each.kind, each.length) for each in program.graph_module.meta["scans"]]


@pytest.mark.parametrize("scan", [by_pytorch, by_pytorch_backwards, by_a_port, complex_numbers, by_hand])
def test_a_scan_becomes_one_recurrence(scan: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert check(scan) == [("linear_recurrence", LENGTH)]


@pytest.mark.parametrize("scan", [over_a_window, of_another_join])
def test_what_is_no_recurrence_stays(scan: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert check(scan) == []


def test_scans_of_scans_are_two() -> None:
    assert check(lambda x, a: by_hand(by_a_port(x, a).tanh(), a)) == [("linear_recurrence", LENGTH)] * 2
