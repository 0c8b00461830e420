"""Loops that carry a state, as people write them: what becomes one scan, and what has to stay as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.scan import scan

from hamsa_deploy import to_real
from hamsa_runtime.errors import InputError

LENGTH = 9
Loop = Callable[[Tensor, Tensor], Tensor]


def reference_scan(u: Tensor, delta: Tensor) -> Tensor:
    """As mamba_ssm's selective_scan_ref has it, time last."""
    A, B, C = -torch.arange(1.0, 4).repeat(4, 1), u[:, :3], delta[:, 1:]
    decays = torch.exp(torch.einsum("bdl,dn->bdln", F.softplus(delta), A))
    increments = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    x, ys = A.new_zeros((u.shape[0], 4, 3)), []
    for i in range(u.shape[2]):
        x = decays[:, :, i] * x + increments[:, :, i]
        ys.append(torch.einsum("bdn,bn->bd", x, C[:, :, i]))
    return torch.stack(ys, dim=2)


def sequential_scan(x: Tensor, delta: Tensor) -> Tensor:
    """As mamba.py has it: the read-out behind the loop, states by operators on values of each step."""
    x, delta = x.transpose(1, 2), F.softplus(delta).transpose(1, 2)
    h, hs = torch.zeros(x.shape[0], 4, 3), []
    for t in range(x.shape[1]):
        h = torch.exp(delta[:, t].unsqueeze(-1) * -torch.ones(4, 3)) * h + (delta[:, t] * x[:, t]).unsqueeze(-1)
        hs.append(h)
    return (torch.stack(hs, dim=1) @ x[..., :3].unsqueeze(-1)).squeeze(3)


def smoothed(x: Tensor, a: Tensor) -> Tensor:
    """A decay that is a number, from the first value on, the other way round."""
    h, ys = x[..., 0], []
    for t in reversed(range(LENGTH)):
        h = 0.9 * h + x[..., t]
        ys.append(h.unsqueeze(1))
    return torch.cat(ys, 1)


def constant_decay(x: Tensor, a: Tensor) -> Tensor:
    h, ys = torch.zeros_like(x[..., 0]), []
    for t in range(LENGTH):
        h = torch.addcmul(x[..., t], h, a[0, :, 0].sigmoid())
        ys.append(h)
    return torch.stack(ys)


def last_state(x: Tensor, a: Tensor) -> Tensor:
    h = torch.zeros_like(x[..., 0])
    for t in range(LENGTH):
        h = h * torch.sigmoid(a)[..., t] + x[..., t]
    return h


def by_pytorch(x: Tensor, a: Tensor) -> Tensor:
    """PyTorch's own scan, whose body has a read-out, too."""

    def step(h: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h = now[0] * h + now[1]
        return h, (2 * h).sum(-1)

    inputs = torch.sigmoid(a).permute(2, 0, 1), x.permute(2, 0, 1)
    _, ys = scan(step, torch.zeros_like(x[..., 0]), inputs)
    return ys


def two_at_once(x: Tensor, a: Tensor) -> Tensor:
    """The second one reads the first."""
    slow, fast, ys = x[..., 0], x[..., 0], []
    for t in range(LENGTH):
        fast = torch.sigmoid(a[..., t]) * fast + x[..., t]
        slow = torch.sigmoid(x[..., t]) * slow + a[..., t]
        ys.append(slow * fast)
    return torch.stack(ys, -1)


def of_a_state(x: Tensor, a: Tensor) -> Tensor:
    """No linear recurrence: what is added depends on the state."""
    h, ys = x[..., 0], []
    for t in range(LENGTH):
        h = torch.sigmoid(a[..., t]) * h + torch.tanh(h) * x[..., t]
        ys.append(h)
    return torch.stack(ys, -1)


def a_number_at_every_step(x: Tensor, a: Tensor) -> Tensor:
    h = x[..., 0]
    for t in range(LENGTH):
        h = torch.sigmoid(a[..., t]) * h + 1.0
    return h


def of_different_tensors(x: Tensor, a: Tensor) -> Tensor:
    """Layers with a residual are no steps of one loop."""
    for weight in (x, x + 1, a * 2, a - x, x * a):
        x = torch.sigmoid(a) * x + weight
    return x


class Model(nn.Module):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return self.loop(x, a)


def for_gpus_only(x: Tensor, a: Tensor) -> Tensor:
    def joined(p: tuple[Tensor, Tensor], q: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return p[0] * q[0], p[1] * q[0] + q[1]

    return associative_scan(joined, (torch.sigmoid(a), x), dim=2, combine_mode="pointwise")[1]


def check(loop: Loop) -> list[str]:
    """Compare with eager at two batches, and give the scans of the program."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 4, LENGTH, generator=generator) for _ in range(2)]
    program = to_real(Model(loop).eval(), inputs)
    for batch in (1, 2):
        given = [x[:batch] for x in inputs]
        torch.testing.assert_close(program.module()(*given), loop(*given), rtol=1e-5, atol=1e-5)
    return [scan.kind for scan in program.graph_module.meta["scans"]]


@pytest.mark.parametrize("loop", [reference_scan, sequential_scan, smoothed, constant_decay, last_state, by_pytorch])
def test_a_loop_becomes_one_scan(loop: Loop) -> None:
    assert check(loop) == ["linear_recurrence"]


def test_two_loops_become_two_scans() -> None:
    assert check(two_at_once) == ["linear_recurrence"] * 2


@pytest.mark.parametrize("loop", [of_a_state, a_number_at_every_step, of_different_tensors])
def test_what_is_no_linear_recurrence_stays(loop: Loop) -> None:
    assert check(loop) == []


def test_a_scan_for_gpus_has_another_mode() -> None:
    with pytest.raises(InputError, match="that runs on GPUs only\n  try: combine_mode='generic'"):
        check(for_gpus_only)
