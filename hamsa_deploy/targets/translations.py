"""Operators whose ONNX form of PyTorch's own exporter computes something else than PyTorch does.

atan2(y, x)   t = atan(|y| / |x|),   u = t or, where x is negative, pi - t,   and then the sign of y.
              Exported as Atan(y / x) with a correction for x < 0: -pi for +pi where y is +0, NaN at (0, 0). Spectra
              of real signals have y = +0 at their first bin and at n / 2.
angle(x)      of real numbers: 0 or pi, and NaN of NaN, of which the exported form makes 0.
_neg_view     the imaginary part of a conjugate, as PyTorch writes it: no form at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from onnxscript import FLOAT, opset20

op: Any = opset20  # its annotations do not know numbers


def atan2(y: Any, x: Any) -> Any:
    """PyTorch's atan2: of zeros of either sign, of infinities, and NaN where one is NaN."""
    y, x = _floating(y), _floating(x)
    a, b = op.Abs(y), op.Abs(x)
    s = op.Sign(a)
    # 0 / 0 is 0 here, inf / inf is 1. OpenVINO multiplies by 1 / b, so that 0 / 1e-40 would be 0 inf.
    quotient = op.Div(a, op.Add(b, op.Sub(op.CastLike(1.0, s), s)))
    t = op.Atan(op.Where(op.Equal(a, b), s, quotient))
    u = op.Where(_has_minus(x), op.Sub(op.CastLike(math.pi, t), t), t)
    # A factor, because -0 does not survive ONNX Runtime's Where.
    return op.Mul(u, op.Where(_has_minus(y), op.CastLike(-1.0, u), op.CastLike(1.0, u)))


def angle(x: Any) -> Any:
    """PyTorch's angle of real numbers."""
    x = _floating(x)
    zero = op.CastLike(0.0, x)
    return op.Where(op.Less(x, zero), op.CastLike(math.pi, x), op.Where(op.IsNaN(x), x, zero))


def _has_minus(x: Any) -> Any:
    """Whether x is negative, -0 included: 1 / -0 is -inf, and 1 / -inf is -0."""
    return op.Less(op.Min(x, op.Reciprocal(x)), op.CastLike(0.0, x))


def _floating(x: Any) -> Any:
    """Whole numbers and truth values become float32, as PyTorch has them."""
    return x if x.dtype.is_floating_point() else op.Cast(x, to=FLOAT.dtype)


def neg_view(x: Any) -> Any:
    """-x."""
    return op.Neg(x)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.atan2.default: atan2,
    torch.ops.aten.angle.default: angle,
    torch.ops.aten._neg_view.default: neg_view,
}
