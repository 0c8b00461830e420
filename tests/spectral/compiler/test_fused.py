"""Reference loops with their outer products and their read-out: what becomes a selective scan, and what cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.scan import linear_recurrence

BATCH, CHANNELS, STATES, LENGTH = 2, 5, 3, 7
Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def walked(a: Tensor, b: Tensor, axis: int) -> list[Tensor]:
    h, hs = torch.zeros_like(a.select(axis, 0)), []
    for t in range(LENGTH):
        h = a.select(axis, t) * h + b.select(axis, t)
        hs.append(h)
    return hs


def of_mamba_ssm(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    a, b = torch.exp(torch.einsum("bdl,dn->bdln", dt, A)), torch.einsum("bdl,bnl,bdl->bdln", dt, B, u)
    return torch.stack([torch.einsum("bdn,bn->bd", h, C[..., t]) for t, h in enumerate(walked(a, b, 2))], 2)


def of_one_group(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """B and C with an axis of their groups, of which there is one."""
    Bs, Cs = (x[:, None, None].expand(-1, 1, CHANNELS, -1, -1).reshape(-1, *A.shape, LENGTH) for x in (B, C))
    a, b = torch.exp(torch.einsum("bdl,dn->bdln", dt, A)), torch.einsum("bdl,bdnl,bdl->bdln", dt, Bs, u)
    return torch.stack([torch.einsum("bdn,bdn->bd", h, Cs[..., t]) for t, h in enumerate(walked(a, b, 2))], 2)


def of_mamba_py(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Time second, products of broadcast tensors, the read-out as a product of matrices."""
    u, dt, B, C = (x.transpose(1, 2) for x in (u, dt, B, C))
    a, b = torch.exp(dt.unsqueeze(-1) * A), dt.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1)
    return (torch.stack(walked(a, b, 1), 1) @ C.unsqueeze(-1)).squeeze(3).transpose(1, 2)


def by_sums(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Time first, with a sign and a factor on their own, and states before channels."""
    u, dt, B, C = (x.permute(2, 0, 1) for x in (u, dt, B, C))
    a, b = torch.exp(-(dt[:, :, None] * (2 * A.abs().T))), (u * dt)[:, :, None] * B[..., None]
    return (linear_recurrence(a, b) * C[..., None]).sum(2).permute(1, 2, 0)


def of_a_state(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """That begins with something else than zeros."""
    a, b = torch.exp(torch.einsum("bdl,dn->lbdn", dt, A)), torch.einsum("bdl,bnl,bdl->lbdn", dt, B, u)
    return torch.einsum("lbdn,bnl->bdl", linear_recurrence(a, b, B[:, None, :, 0] * u[:, :, :1]), C)


def with_the_last_state(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Which is read before the rest is, of another layout."""
    a, b = torch.exp(torch.einsum("bdl,dn->bdln", dt, A)), torch.einsum("bdl,bnl,bdl->bdln", dt, B, u)
    hs = walked(a, b, 2)
    last = hs[-1].mean(2)
    y = torch.stack([torch.einsum("bdn,bn->bd", h, C[..., t]) for t, h in enumerate(hs)], 2)
    return torch.cat([y, last.unsqueeze(-1)], 2)


def with_another_state(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """That in the middle is nothing that a scan gives."""
    a, b = torch.exp(torch.einsum("bdl,dn->lbdn", dt, A)), torch.einsum("bdl,bnl,bdl->lbdn", dt, B, u)
    h = linear_recurrence(a, b)
    return torch.einsum("lbdn,bnl->bdl", h, C) + h[2].mean(2)[..., None]


def with_an_A_of_the_input(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    a = torch.exp(-torch.einsum("bdl,bnl->lbdn", dt, B.abs()))
    return torch.einsum("lbdn,bnl->bdl", linear_recurrence(a, torch.einsum("bdl,bnl->lbdn", dt * u, B)), C)


def without_steps_in_front(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    a, b = torch.exp(torch.einsum("bdl,dn->lbdn", dt, A)), torch.einsum("bdl,bnl->lbdn", u, B)
    return torch.einsum("lbdn,bnl->bdl", linear_recurrence(a, b), C)


def with_one_step(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Of the weights alone: other forms are faster."""
    b = torch.einsum("bdl,bnl->lbdn", u, B)
    return torch.einsum("lbdn,bnl->bdl", linear_recurrence(torch.exp(0.1 * A)[None, None], b), C)


def with_states_for_all(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    a, b = torch.exp(torch.einsum("bdl,dn->lbdn", dt, A)), torch.einsum("bdl,bnl,bdl->lbdn", dt, B, u)
    h = linear_recurrence(a, b)
    return torch.einsum("lbdn,bnl->bdl", h, C) + h.amax((0, 3))[..., None]


def of_products_of_states(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    a, b = torch.exp(torch.einsum("bdl,dn->lbdn", dt, A)), torch.einsum("bdl,bnl,bdl->lbdn", dt, B, u)
    h = linear_recurrence(a, b)
    return torch.einsum("lbdn,lbdn,bnl->bdl", h, h, C)


class Model(nn.Module):
    def __init__(self, scan: Scan) -> None:
        super().__init__()
        self.scan = scan
        self.A_log = nn.Parameter(torch.rand(CHANNELS, STATES, generator=torch.Generator().manual_seed(0)))

    def forward(self, u: Tensor, dt: Tensor, B: Tensor, C: Tensor) -> Tensor:
        return self.scan(u, F.softplus(dt), -self.A_log.exp(), B, C)


def check(scan: Scan) -> list[str]:
    """Compare with eager at two batches, and give the scans of the program."""
    generator = torch.Generator().manual_seed(1)
    wide, narrow = (BATCH, CHANNELS, LENGTH), (BATCH, STATES, LENGTH)
    inputs = [torch.randn(shape, generator=generator) for shape in (wide, wide, narrow, narrow)]
    model = Model(scan).eval()
    program = to_real(model, inputs)
    for batch in (1, 2):
        given = [x[:batch] for x in inputs]
        torch.testing.assert_close(program.module()(*given), model(*given), rtol=1e-5, atol=1e-5)
    return [each.kind for each in program.graph_module.meta["scans"]]


@pytest.mark.parametrize("scan", [of_mamba_ssm, of_one_group, of_mamba_py, by_sums, of_a_state, with_the_last_state])
def test_a_reference_becomes_a_selective_scan(scan: Scan) -> None:
    assert check(scan) == ["selective_scan"]


@pytest.mark.parametrize(
    "scan",
    [
        with_an_A_of_the_input,
        without_steps_in_front,
        with_one_step,
        with_states_for_all,
        with_another_state,
        of_products_of_states,
    ],
)
def test_what_is_no_selective_scan_stays_a_recurrence(scan: Scan) -> None:
    assert check(scan) == ["linear_recurrence"]
