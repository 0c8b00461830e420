"""The references of the scans against the recurrences written out in float64 for one channel at a time."""

from __future__ import annotations

import math

import torch

from hamsa_deploy.scan import linear_recurrence, selective_scan, ssd


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_a_selective_scan_is_its_recurrence() -> None:
    u, delta, z, B, C = (
        draw(2, 4, 5),
        draw(2, 4, 5, seed=1),
        draw(2, 4, 5, seed=2),
        draw(2, 2, 3, 5),
        draw(2, 2, 3, 5, seed=3),
    )
    A, D, bias, first = -draw(4, 3).abs(), draw(4, seed=4), draw(4, seed=5), draw(2, 4, 3, seed=6)
    y, last = selective_scan(u, delta, A, B, C, D, z, bias, True, first)
    for b, d in ((0, 0), (1, 3)):
        h, group = first[b, d].clone(), d // 2
        for t in range(5):
            dt = softplus(float(delta[b, d, t] + bias[d]))
            h = torch.exp(dt * A[d]) * h + dt * u[b, d, t] * B[b, group, :, t]
            gate = z[b, d, t] * torch.sigmoid(z[b, d, t])
            torch.testing.assert_close(y[b, d, t], (h @ C[b, group, :, t] + D[d] * u[b, d, t]) * gate)
        torch.testing.assert_close(last[b, d], h)


def test_duality_is_its_recurrence() -> None:
    x, dt, B, C = draw(2, 5, 4, 3), draw(2, 5, 4, seed=1), draw(2, 5, 2, 6), draw(2, 5, 2, 6, seed=2)
    A, D, first = -draw(4).abs(), draw(4, seed=3), draw(2, 4, 3, 6, seed=4)
    y, last = ssd(x, dt, A, B, C, D, dt_softplus=True, initial_state=first)
    for b, head in ((0, 1), (1, 2)):
        state = first[b, head].clone()
        for t in range(5):
            step = softplus(float(dt[b, t, head]))
            state = math.exp(step * float(A[head])) * state + step * torch.outer(x[b, t, head], B[b, t, head // 2])
            torch.testing.assert_close(y[b, t, head], state @ C[b, t, head // 2] + D[head] * x[b, t, head])
        torch.testing.assert_close(last[b, head], state)


def test_a_recurrence_may_be_complex_and_its_decay_constant() -> None:
    a, b = torch.complex(draw(1, 3), draw(1, 3, seed=1)), torch.complex(draw(4, 2, 3), draw(4, 2, 3, seed=2))
    h = linear_recurrence(a, b)
    torch.testing.assert_close(h[3], a[0] * (a[0] * (a[0] * b[0] + b[1]) + b[2]) + b[3])


def test_half_precision_keeps_its_state_in_float32() -> None:
    u, B = draw(1, 2, 7).half(), draw(1, 1, 3, 7).half()
    y, last = selective_scan(u, u, -torch.ones(2, 3), B, B, delta_softplus=True)
    assert (y.dtype, last.dtype) == (torch.float16, torch.float32)
    exact, _ = selective_scan(
        u.double(), u.double(), -torch.ones(2, 3).double(), B.double(), B.double(), delta_softplus=True
    )
    torch.testing.assert_close(y.double(), exact, rtol=1e-3, atol=1e-3)
