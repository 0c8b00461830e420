"""The operators of scans, which models may call, and which the scan compiler knows how to bring to every engine.

Selective scan, Mamba-1 (Gu and Dao, 2023). A is negative, group g of B and C serves D / G channels:

    dt  = softplus(delta + delta_bias)                                                            (B, D, L)
    h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t                                                      (B, D, N)
    y_t = sum_n C_t h_t + D u_t,   then y silu(z)                                                 (B, D, L)

State-space duality, Mamba-2 (Dao and Gu, 2024). One decay per head, P numbers of each head at a time:

    S_t = exp(dt_t A) S_{t-1} + dt_t x_t B_t^T                                                    (B, H, P, N)
    y_t = S_t C_t + D x_t,   then y silu(z)                                                       (B, L, H, P)

Linear recurrence, of LRU, S5 and ConvS5, real or complex:

    h_t = a_t h_{t-1} + b_t

Each runs step by step, in the types of its arguments and at least float32: that is what parity is compared with. None
has a gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

WIDE = (torch.float32, torch.float64, torch.complex64, torch.complex128)

P = ParamSpec("P")
R = TypeVar("R")


def _operator(function: Callable[P, R]) -> Callable[P, R]:
    """Register a function as torch.ops.hamsa.<name>, which capture keeps whole; what is called is that."""
    registered = torch.library.custom_op(f"hamsa::{function.__name__}", mutates_args=())(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, registered(*args, **kwargs))

    return call


# What the references have in common with the rules, of ordinary tensors and of the compiler's values.


def wide(x: Any) -> Any:
    """At least in float32, as the kernels of the authors compute."""
    return x if x.dtype in WIDE else x.to(torch.float32)


def steps_of(dt: Any, bias: Any, softplus: bool) -> Any:
    """Steps from what a projection gives; the bias, None for zero, is broadcast against dt."""
    dt = wide(dt)
    if bias is not None:
        dt = dt + wide(bias)
    return F.softplus(dt) if softplus else dt


def gated(y: Any, z: Any) -> Any:
    """y silu(z); y where there is no gate."""
    return y if z is None else y * F.silu(wide(z))


@_operator
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The selective scan of Mamba-1.

    Args:
        u, delta, z: (B, D, L).
        A: (D, N), negative.
        B, C: (B, G, N, L), where G divides D.
        D, delta_bias: (D).
        delta_softplus: whether the steps are softplus(delta + delta_bias); otherwise delta + delta_bias.
        initial_state: (B, D, N), float32; zero by default.

    Returns:
        y (B, D, L) in the type of u, and the last state (B, D, N) in float32.
    """
    dt = steps_of(delta, None if delta_bias is None else delta_bias[:, None], delta_softplus)
    batch, channels, length = u.shape
    groups, states = B.shape[1], B.shape[2]
    grouped = (batch, groups, channels // groups)
    x = (dt * wide(u)).view(*grouped, length)
    dt = dt.view(*grouped, length)
    decays, Bs, Cs = wide(A).view(groups, -1, states), wide(B)[:, :, None], wide(C)[:, :, None]
    h = x.new_zeros(*grouped, states) if initial_state is None else wide(initial_state).view(*grouped, states)
    ys = []
    for t in range(length):
        h = torch.exp(dt[..., t, None] * decays) * h + x[..., t, None] * Bs[..., t]
        ys.append((h * Cs[..., t]).sum(-1))
    y = torch.stack(ys, -1).view(batch, channels, length)
    if D is not None:
        y = y + wide(D)[:, None] * wide(u)
    return gated(y, z).to(u.dtype), h.reshape(batch, channels, states).clone()


def _shapes_of_selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    return u.new_empty(u.shape), u.new_empty((u.shape[0], u.shape[1], A.shape[1]), dtype=_state_type(u))


torch.library.register_fake("hamsa::selective_scan", _shapes_of_selective_scan)


@_operator
def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The scan of Mamba-2, whose decay is one number per head.

    Args:
        x, z: (B, L, H, P).
        dt: (B, L, H).
        A: (H), negative.
        B, C: (B, L, G, N), where G divides H.
        D: (H), or (H, P).
        dt_bias: (H).
        dt_softplus: whether the steps are softplus(dt + dt_bias); otherwise dt + dt_bias.
        initial_state: (B, H, P, N), float32; zero by default.

    Returns:
        y (B, L, H, P) in the type of x, and the last state (B, H, P, N) in float32.
    """
    steps = steps_of(dt, dt_bias, dt_softplus)
    repeats = x.shape[2] // B.shape[2]
    Bs, Cs = (wide(each).repeat_interleave(repeats, 2) for each in (B, C))
    increments, decays = steps[..., None] * wide(x), torch.exp(steps * wide(A))
    state = increments.new_zeros(x.shape[0], *x.shape[2:], B.shape[3]) if initial_state is None else wide(initial_state)
    ys = []
    for t in range(x.shape[1]):
        state = decays[:, t, :, None, None] * state + increments[:, t, :, :, None] * Bs[:, t, :, None]
        ys.append((state @ Cs[:, t, :, :, None])[..., 0])
    y = torch.stack(ys, 1)
    if D is not None:
        y = y + (wide(D)[:, None] if D.ndim == 1 else wide(D)) * wide(x)
    return gated(y, z).to(x.dtype), state.clone()


def _shapes_of_ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty((x.shape[0], *x.shape[2:], B.shape[3]), dtype=_state_type(x))


torch.library.register_fake("hamsa::ssd", _shapes_of_ssd)


@_operator
def linear_recurrence(a: Tensor, b: Tensor, initial_state: Tensor | None = None) -> Tensor:
    """h_t = a_t h_{t-1} + b_t along the first axis.

    Args:
        a: (L, ...), or (1, ...) where it is the same at all times; broadcast against b; real or complex.
        b: (L, ...).
        initial_state: (...); zero by default.

    Returns:
        All states h (L, ...), in the type that a and b have in common.
    """
    dtype = torch.promote_types(a.dtype, b.dtype)
    h = b.new_zeros(b.shape[1:], dtype=dtype) if initial_state is None else initial_state.to(dtype)
    hs = []
    for t in range(b.shape[0]):
        h = a[t if a.shape[0] > 1 else 0] * h + b[t]
        hs.append(h)
    return torch.stack(hs)


def _shape_of_linear_recurrence(a: Tensor, b: Tensor, initial_state: Tensor | None = None) -> Tensor:
    return b.new_empty(b.shape, dtype=torch.promote_types(a.dtype, b.dtype))


torch.library.register_fake("hamsa::linear_recurrence", _shape_of_linear_recurrence)


def _state_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
