"""Operators whose ONNX form of PyTorch's own exporter computes something else than PyTorch does.

atan2(y, x)   exported as Atan(y / x) with a correction for x < 0: -pi for +pi where y is +0, NaN at (0, 0). Spectra
              of real signals have y = +0 at their first bin and at n / 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20

op: Any = opset20  # its annotations do not know numbers


def atan2(y: Any, x: Any) -> Any:
    """PyTorch's atan2 at the signs of zero, too, which ONNX tells by the sign of 1 / y.

    x > 0: atan(y / x);   x < 0: atan(y / x) + s pi;   x = +-0: s pi / 2, or where y is 0, y and y + s pi;
    s is the sign of y, of zeros as well.
    """
    zero, one, pi = (op.CastLike(number, x) for number in (0.0, 1.0, math.pi))
    y_is_zero, x_is_zero = op.Equal(y, zero), op.Equal(x, zero)
    y_is_negative = op.Or(op.Less(y, zero), op.Less(op.Div(one, y), zero))
    turn = op.Where(y_is_negative, op.Neg(pi), pi)
    upright = op.Where(y_is_zero, y, op.Div(turn, op.CastLike(2.0, x)))
    angle = op.Where(x_is_zero, upright, op.Atan(op.Div(y, op.Where(x_is_zero, one, x))))
    x_is_minus_zero = op.And(x_is_zero, op.Less(op.Div(one, x), zero))
    behind = op.Or(op.Less(x, zero), op.And(x_is_minus_zero, y_is_zero))
    return op.Where(behind, op.Add(angle, turn), angle)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.aten.atan2.default: atan2}
