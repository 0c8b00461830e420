"""Scans as loops: operators of ours that PyTorch can run, and that become ONNX's Scan when the file is written.

A loop makes T trips of U steps: everything along time is (T, U, ...), and one trip computes the decays and increments
of its U steps at once, makes U multiply-adds, and reads all U states out at once. Nothing of the size L N D is there.
What lies behind the last step has dt = 0, or a = 1 and b = 0, which leaves the state as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hamsa_deploy.spectral.dispatch import emit, full
from hamsa_deploy.spectral.values import Complex, as_complex, functions, is_complex


@torch.library.custom_op("hamsa::scan_steps", mutates_args=())
def scan_steps(first: Tensor, dt: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """A selective scan: h = exp(dt A) h + x B, y = C h.

    Args:
        first: (1, B, G, N, D'), the state before the first step.
        dt, x: (T, U, B, G, 1, D'); A: (G, N, D'); B: (T, U, B, G, N, 1); C: (T, U, B, G, 1, N).

    Returns:
        The last state, and y (T, U, B, G, 1, D').
    """
    h, ys = first, []
    for t in range(dt.shape[0]):
        for q in range(dt.shape[1]):
            h = torch.exp(dt[t, q] * A) * h + x[t, q] * B[t, q]
            ys.append(C[t, q] @ h[0])
    return h.clone(), torch.stack(ys).view(dt.shape)


@scan_steps.register_fake
def _(first: Tensor, dt: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(first), x.new_empty(x.shape)


@torch.library.custom_op("hamsa::recurrence_steps", mutates_args=())
def recurrence_steps(first: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """h = a h + b.

    Args:
        first: (1, ...), the state before the first step.
        a: (T, U, ...), broadcast against b (T, U, ...); (1, ...) where all steps have the same.

    Returns:
        The last state, and all of them (T, U, ...).
    """
    h, hs, a = first, [], a if a.ndim == b.ndim else a.expand(*b.shape[:2], *a.shape[1:])
    for t in range(b.shape[0]):
        for q in range(b.shape[1]):
            h = a[t, q] * h + b[t, q]
            hs.append(h)
    return h.clone(), torch.stack(hs).view(b.shape)


@recurrence_steps.register_fake
def _(first: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(first), b.new_empty(b.shape)


@torch.library.custom_op("hamsa::complex_steps", mutates_args=())
def complex_steps(
    first_re: Tensor, first_im: Tensor, a_re: Tensor, a_im: Tensor, b_re: Tensor, b_im: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`recurrence_steps` of complex numbers, as their real and imaginary parts: two last states, and all of both."""
    first, a, b = torch.complex(first_re, first_im), torch.complex(a_re, a_im), torch.complex(b_re, b_im)
    last, every = recurrence_steps(first, a, b)
    return last.real.clone(), last.imag.clone(), every.real.clone(), every.imag.clone()


@complex_steps.register_fake
def _(
    first_re: Tensor, first_im: Tensor, a_re: Tensor, a_im: Tensor, b_re: Tensor, b_im: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(first_re),
        torch.empty_like(first_im),
        b_re.new_empty(b_re.shape),
        b_im.new_empty(b_im.shape),
    )


def selective(first: Any, dt: Any, x: Any, A: Any, B: Any, C: Any, steps: int) -> tuple[Any, Any]:
    """A selective scan by a loop of so many steps in each trip.

    Args:
        first: (B, G, N, D'); A: (G, N, D').
        dt, x: (L, B, D); B, C: (L, B, G, N).

    Returns:
        y (L, B, D), and the last state.
    """
    length, batch, channels = x.shape
    groups, states, width = A.shape
    dt, x = (_in_runs(each, steps, [batch, groups, 1, width]) for each in (dt, x))
    Bs, Cs = (_in_runs(each, steps, [batch, groups, *tail]) for each, tail in ((B, [states, 1]), (C, [1, states])))
    last, y = torch.ops.hamsa.scan_steps(*emit((functions.unsqueeze(first, 0), dt, x, A, Bs, Cs)))
    return _in_line(y, length, [batch, channels]), torch.squeeze(last, 0)


def linear(first: Any, a: Any, b: Any, steps: int) -> tuple[Any, Any]:
    """All states (L, ...) and the last one from a and b (L, ...), real or complex; a (1, ...) is that of all steps."""
    length, shape = b.shape[0], b.shape[1:]
    one_for_all = a.shape[0] == 1 and (not isinstance(length, int) or length > 1)
    a = a if one_for_all else _in_runs(a, steps, a.shape[1:], 1.0)
    runs = functions.unsqueeze(first, 0), a, _in_runs(b, steps, shape)
    if any(map(is_complex, runs)):
        parts = [part for each in runs for part in (as_complex(each).re, as_complex(each).im)]
        *_, re, im = torch.ops.hamsa.complex_steps(*map(full, parts))
        h: Any = Complex(_in_line(re, length, shape), _in_line(im, length, shape))
        return h, functions.select(h, 0, length - 1)
    last, every = torch.ops.hamsa.recurrence_steps(*emit(runs))
    h = _in_line(every, length, shape)
    return h, functions.select(h, 0, length - 1) if one_for_all else torch.squeeze(last, 0)


def _in_runs(x: Any, steps: int, shape: Sequence[Any], rest: float = 0.0) -> Any:
    """(L, ...) to (T, U, *shape)."""
    trips = x.shape[0] if steps == 1 else -(-x.shape[0] // steps)
    return functions.reshape(padded(x, trips * steps, rest), [trips, steps, *shape])


def _in_line(x: Any, length: Any, shape: Sequence[Any]) -> Any:
    """(T, U, ...) to (L, *shape)."""
    line = functions.reshape(x, [x.shape[0] * x.shape[1], *shape])
    return line if x.shape[1] == 1 or line.shape[0] == length else functions.narrow(line, 0, 0, length)


def padded(x: Any, length: Any, value: float = 0.0) -> Any:
    """`value` behind the last step, up to a length."""
    if x.shape[0] is length or x.shape[0] == length:
        return x
    return functions.constant_pad_nd(x, [0, 0] * (x.ndim - 1) + [0, length - x.shape[0]], value)
