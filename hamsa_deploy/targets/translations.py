"""Operators whose ONNX form of PyTorch's own exporter computes something else than PyTorch does.

atan2(y, x)   t = atan(|y| / |x|),   u = t or, where x is negative, pi - t,   and then the sign of y.
              Exported as Atan(y / x) with a correction for x < 0: -pi for +pi where y is +0, NaN at (0, 0). Spectra
              of real signals have y = +0 at their first bin and at n / 2. Where an argument is -v, c v with a
              constant c < 0, or 0 - v, the sign is taken from v: behind a product or a sum OpenVINO computes -v as
              -1 v + 0, which makes +0 of +0, and anywhere else it makes -0 of 0 - 0.
angle(x)      of real numbers: 0 or pi, and NaN of NaN, of which the exported form makes 0.
signbit(x), copysign(x, y)   whether 1 / x is negative: no form at all.
softplus(x)   relu(x) + log1p(e), e = exp(-|x|), by log1p(e) = 2 atanh(e / (2 + e)) and six terms of its series:
              OpenVINO 2026.4 is off by 2 % between -10 and -5 and useless below, where the steps of state-space models
              are, and puts that operator in the place of log(1 + exp(x)), too. ONNX Runtime's is right and takes three
              times as long as the series.
_neg_view     the imaginary part of a conjugate, as PyTorch writes it: no form at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import FLOAT, opset20

from hamsa_deploy.scan import onnx_loops

op: Any = opset20  # its annotations do not know numbers


def atan2(y: Any, x: Any) -> Any:
    """PyTorch's atan2: of zeros of either sign, of infinities, and NaN where one is NaN."""
    (y, y_has_minus), (x, x_has_minus) = _unsigned(_floating(y)), _unsigned(_floating(x))
    a, b = op.Abs(y), op.Abs(x)
    s = op.Sign(a)
    # 0 / 0 is 0 here, inf / inf is 1. OpenVINO multiplies by 1 / b, so that 0 / 1e-40 would be 0 inf.
    quotient = op.Div(a, op.Add(b, op.Sub(op.CastLike(1.0, s), s)))
    t = op.Atan(op.Where(op.Equal(a, b), s, quotient))
    u = op.Where(x_has_minus, op.Sub(op.CastLike(math.pi, t), t), t)
    # A factor, because -0 does not survive ONNX Runtime's Where.
    return op.Mul(u, op.Where(y_has_minus, op.CastLike(-1.0, u), op.CastLike(1.0, u)))


MOVES = {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Slice", "Expand", "Gather"}  # of values that stay as they are


def _unsigned(x: Any) -> tuple[Any, Any]:
    """A value of x's magnitude, and whether x has a minus: of that before a negation, where x is one."""
    node = x.producer()
    if node is None:
        return x, _has_minus(x)
    if node.op_type == "Neg":
        value, minus = _unsigned(node.inputs[0])
        return value, op.Not(minus)
    if node.op_type in MOVES:
        return _moved(node, x)
    if node.op_type == "Mul":
        for factor, value in zip(node.inputs, reversed(node.inputs), strict=True):
            if (_number(factor) or 0) < 0:
                value, minus = _unsigned(value)
                return op.Mul(value, op.Abs(factor)), op.Not(minus)
    if node.op_type == "Sub" and _number(node.inputs[0]) == 0:
        return node.inputs[1], op.Less(node.inputs[0], node.inputs[1])
    return x, _has_minus(x)


def _moved(node: Any, x: Any) -> tuple[Any, Any]:
    """As before the move, if there is a negation."""
    value, minus = _unsigned(node.inputs[0])
    if value is node.inputs[0]:
        return x, _has_minus(x)
    move, options = getattr(op, node.op_type), {name: each.value for name, each in node.attributes.items()}
    return move(value, *node.inputs[1:], **options), move(minus, *node.inputs[1:], **options)


def _number(x: Any) -> float | None:
    """The one number that a constant is; None of anything else."""
    if (node := x.producer()) is not None and node.op_type in {"Cast", "CastLike"}:
        return _number(node.inputs[0])
    constant = ir.convenience.get_const_tensor(x)
    return float(constant.numpy()) if constant is not None and constant.size == 1 else None


def angle(x: Any) -> Any:
    """PyTorch's angle of real numbers."""
    x = _floating(x)
    zero = op.CastLike(0.0, x)
    return op.Where(op.Less(x, zero), op.CastLike(math.pi, x), op.Where(op.IsNaN(x), x, zero))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """PyTorch's softplus, log(1 + exp(beta x)) / beta, and x where beta x is above the threshold."""
    scaled = x if beta == 1 else op.Mul(x, op.CastLike(beta, x))
    e = op.Exp(op.Neg(op.Abs(scaled)))
    s = op.Div(e, op.Add(e, op.CastLike(2.0, x)))
    square = op.Mul(s, s)
    series = op.CastLike(2.0 / 11, x)
    for odd in (9, 7, 5, 3, 1):
        series = op.Add(op.Mul(series, square), op.CastLike(2.0 / odd, x))
    y = op.Add(op.Relu(scaled), op.Mul(series, s))
    if beta != 1:
        y = op.Mul(y, op.CastLike(1 / beta, x))
    # Above 17 the two are one number in float32.
    return y if threshold > 17 else op.Where(op.Greater(scaled, op.CastLike(threshold, x)), x, y)


def _has_minus(x: Any) -> Any:
    """Whether x is negative, -0 included: 1 / -0 is -inf, and 1 / -inf is -0."""
    return op.Less(op.Min(x, op.Reciprocal(x)), op.CastLike(0.0, x))


def copysign(x: Any, y: Any) -> Any:
    """|x| with the sign of y, of zeros and all."""
    x, y = _floating(x), _floating(y)
    _, minus = _unsigned(y)
    return op.Mul(op.Abs(x), op.Where(minus, op.CastLike(-1.0, x), op.CastLike(1.0, x)))


def signbit(x: Any) -> Any:
    """Whether x has a minus, -0 included."""
    return _unsigned(_floating(x))[1]


def _floating(x: Any) -> Any:
    """Whole numbers and truth values become float32, as PyTorch has them."""
    return x if x.dtype.is_floating_point() else op.Cast(x, to=FLOAT.dtype)


def neg_view(x: Any) -> Any:
    """-x."""
    return op.Neg(x)


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """x / sqrt(mean(x^2) + eps), over the last axes; in float32 where x is narrower, as PyTorch computes it."""
    is_narrow = x.dtype in UNITS
    wide = op.Cast(x, to=FLOAT.dtype) if is_narrow else x
    axes = op.Constant(value_ints=list(range(-len(normalized_shape), 0)))
    unit = UNITS.get(x.dtype, 2.0**-52 if x.dtype == ir.DataType.DOUBLE else 2.0**-23)
    epsilon = op.CastLike(unit if eps is None else eps, wide)
    y = op.Div(wide, op.Sqrt(op.Add(op.ReduceMean(op.Mul(wide, wide), axes), epsilon)))
    y = op.CastLike(y, x) if is_narrow else y
    return y if weight is None else op.Mul(y, weight)


UNITS = {ir.DataType.FLOAT16: 2.0**-10, ir.DataType.BFLOAT16: 2.0**-7}  # one unit in the last place of 1


def to_dtype(x: Any, dtype: int, non_blocking: bool = False, copy: bool = False, memory_format: int = 0) -> Any:
    """The same values in another type."""
    return x if x.dtype == dtype else op.Cast(x, to=dtype)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.atan2.default: atan2,
    torch.ops.aten.angle.default: angle,
    torch.ops.aten.copysign.Tensor: copysign,
    torch.ops.aten.signbit.default: signbit,
    torch.ops.aten._neg_view.default: neg_view,
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.rms_norm.default: rms_norm,
    torch.ops.aten.to.dtype: to_dtype,
    **onnx_loops.TRANSLATIONS,
}
