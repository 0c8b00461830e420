"""What the operators of scans become: operators that every engine has, in the form that is cheapest on this one.

Time is the first axis and channels are the last one, so that a step is one piece of memory and dt (.., 1, D'), B (..,
N, 1) and A (N, D') are broadcast in long runs. The axes are exchanged first and split into groups afterwards: engines
merge the exchange with that of whoever computed the tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hamsa_deploy.scan import loops
from hamsa_deploy.scan.forms import Loop
from hamsa_deploy.scan.linear import chosen, in_float32, part_of_scan, states_of
from hamsa_deploy.scan.operators import gated, steps_of, wide
from hamsa_deploy.spectral.dispatch import lowering
from hamsa_deploy.spectral.values import constant_from, functions


@lowering("selective_scan")
def selective_scan(
    u: Any,
    delta: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any = None,
    z: Any = None,
    delta_bias: Any = None,
    delta_softplus: bool = False,
    initial_state: Any = None,
) -> tuple[Any, Any]:
    """See `operators.selective_scan`, whose symbols these are."""
    batch, channels, _ = u.shape
    groups, states = B.shape[1], B.shape[2]
    with in_float32():
        v, dt = _time_first(u), steps_of(_time_first(delta), delta_bias, delta_softplus)
        decays = functions.permute(functions.reshape(wide(A), [groups, channels // groups, states]), [0, 2, 1])
        Bs, Cs = (functions.permute(wide(each), [3, 0, 1, 2]) for each in (B, C))
        if initial_state is None:
            first = v.new_zeros([batch, groups, states, channels // groups])
        else:
            first = _grouped_state(initial_state, groups)
        y, last = _scanned(first, dt, dt * v, decays, Bs, Cs)
        last = functions.reshape(functions.permute(last, [0, 1, 3, 2]), [batch, channels, states])
    if D is not None:
        y = y + wide(D) * v
    y = gated(y, None if z is None else _time_first(z))
    return functions.permute(y, [1, 2, 0]).to(u.dtype), last


def _time_first(x: Any) -> Any:
    """(B, D, L) to (L, B, D)."""
    return functions.permute(wide(x), [2, 0, 1])


def _grouped_state(state: Any, groups: int) -> Any:
    """(B, D, N) to (B, G, N, D')."""
    batch, channels, states = state.shape
    return functions.permute(functions.reshape(state, [batch, groups, channels // groups, states]), [0, 1, 3, 2])


def _scanned(first: Any, dt: Any, x: Any, A: Any, B: Any, C: Any) -> tuple[Any, Any]:
    """y (L, B, D) and the last state from the first one (B, G, N, D'), dt and x (L, B, D), A (G, N, D'), B and C (L, B,
    G, N). One state to a channel is a recurrence of the channels: all that is no recurrence is computed at once."""
    length, batch, channels = x.shape
    groups, states, width = A.shape
    form = chosen("selective_scan", length, (groups * width, states))
    if isinstance(form, Loop) and states > 1:
        return loops.selective(first, dt, x, A, B, C, form.steps)
    dt, x = (functions.reshape(each, [length, batch, groups, 1, width]) for each in (dt, x))
    h, last = states_of(functions.exp(dt * A), x * functions.unsqueeze(B, 4), first, form)
    C = functions.unsqueeze(C, 3)
    y = C * h if states == 1 else functions.matmul(C, h)
    return functions.reshape(y, [length, batch, channels]), last


@lowering("ssd")
def ssd(
    x: Any,
    dt: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any = None,
    z: Any = None,
    dt_bias: Any = None,
    dt_softplus: bool = False,
    initial_state: Any = None,
) -> tuple[Any, Any]:
    """See `operators.ssd`, whose symbols these are. In chunks of Q steps, e = H / G heads to a group:

        y   = (M * (C B^T)) (dt x) + exp(S) C h,   M[t, s] = exp(sum of dt A over s < r <= t) for s <= t, else 0
        h'  = exp(S_Q) h + sum_s exp(sum of dt A behind s) B_s (dt_s x_s)^T

    h the state in front of the chunk, S the sums from its beginning. Every sum is one of its own, by a product with
    zeros and ones: differences of cumulative sums cancel once decays are strong.
    """
    batch, length, heads, width = x.shape
    groups, states = B.shape[2], B.shape[3]
    with in_float32():
        steps = steps_of(dt, dt_bias, dt_softplus)
        (chunk,) = chosen("ssd", length, (heads, width, states)).factors
        shape = [batch, -(-length // chunk), chunk, groups, heads // groups]
        sums = _chunked(steps * wide(A), shape, [0, 3, 4, 1, 2])
        xs = _chunked(functions.unsqueeze(steps, 3) * wide(x), [*shape, width], [0, 3, 4, 1, 2, 5])
        keys = _chunked(wide(B), [*shape[:4], 1, states], [0, 3, 4, 1, 5, 2])
        queries = _chunked(wide(C), [*shape[:4], 1, states], [0, 3, 4, 1, 2, 5])
        if initial_state is None:
            first = xs.new_zeros([batch, groups, heads // groups, states, width])
        else:
            grouped = [batch, groups, heads // groups, width, states]
            first = functions.transpose(functions.reshape(initial_state, grouped), 3, 4)
        y, last = _in_chunks(sums, xs, keys, queries, first)
        y = functions.reshape(functions.permute(y, [0, 3, 4, 1, 2, 5]), [batch, -1, heads, width])
        y = functions.narrow(y, 1, 0, length)
        last = functions.reshape(functions.transpose(last, 3, 4), [batch, heads, width, states])
    if D is not None:
        y = y + (functions.unsqueeze(wide(D), 1) if D.ndim == 1 else wide(D)) * wide(x)
    return gated(y, z).to(x.dtype), last


def _chunked(x: Any, shape: list[Any], order: list[int]) -> Any:
    """(B, L, ...) padded to whole chunks, with their steps as axes of their own, in another order."""
    missing = shape[1] * shape[2] - x.shape[1]
    x = functions.constant_pad_nd(x, [0, 0] * (x.ndim - 2) + [0, missing]) if missing else x
    return functions.permute(functions.reshape(x, shape), order)


def _in_chunks(a: Any, x: Any, B: Any, C: Any, first: Any) -> tuple[Any, Any]:
    """y (b, g, e, T, Q, P) and the last state from a (b, g, e, T, Q), x (b, g, e, T, Q, P), B (b, g, 1, T, N, Q), C (b,
    g, 1, T, Q, N) and the first state (b, g, e, N, P)."""
    chunk, trips = a.shape[4], a.shape[3]
    lower = np.tril(np.ones((chunk, chunk)))
    zeros_and_ones = constant_from(lower, torch.float32), constant_from(np.tril(lower, -1), torch.float32)
    until, behind = functions.matmul(a, _t(zeros_and_ones[0])), functions.matmul(a, zeros_and_ones[1])
    between = functions.matmul(zeros_and_ones[0], functions.unsqueeze(a, 5) * zeros_and_ones[1])
    weights = functions.exp(between + constant_from(np.where(lower > 0, 0.0, -1e30), torch.float32))
    y = functions.matmul(weights * functions.matmul(C, B), x)
    joined = functions.matmul(B * functions.unsqueeze(functions.exp(behind), 4), x)
    decays = functions.unsqueeze(functions.exp(functions.narrow(until, 4, chunk - 1, 1)), 5)
    time_first = [3, 0, 1, 2, 4, 5]
    a, b = functions.permute(decays, time_first), functions.permute(joined, time_first)
    h, last = part_of_scan(a, b, first)
    before = functions.cat([functions.unsqueeze(first, 0), h])
    before = functions.permute(functions.narrow(before, 0, 0, trips), [1, 2, 3, 0, 4, 5])
    return y + functions.matmul(C, before) * functions.unsqueeze(functions.exp(until), 5), last


def _t(x: Any) -> Any:
    return functions.transpose(x, 0, 1)
