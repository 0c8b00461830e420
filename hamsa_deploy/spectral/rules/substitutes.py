"""Operators on real numbers that PyTorch's ONNX exporter or an engine has not, or computes otherwise, in others.

x >> n          floor(x / 2^n): ONNX shifts numbers without a sign only, and OpenVINO makes -1 of -8 >> 1.
div, trunc      sgn(x) sgn(y) floor(|x| / |y|) of whole numbers: exported by way of float32, which has 24 bits.
log_sigmoid     min(x, 0) - log1p(exp(-|x|)): exported as log(sigmoid(x)), which is -inf from -17 on.
hypot           m sqrt(1 + (n / m)^2), m and n the larger and the smaller magnitude: no form at all.
fmax, fmin      max and min, but the other one in the place of a NaN: no form at all.
where, +        of truth values: (c & a) | (~c & b), and a | b: engines have Where and Add for numbers only.
cdist           of few rows by differences, of many by |a|^2 + |b|^2 - 2 a b, as PyTorch decides: no form at all.
searchsorted    how many numbers are below: no form at all.
median          number (n - 1) // 2 of those that are sorted, kthvalue number k - 1: no form at all.
scatter         the part of the source that is as large as the index: ONNX takes no larger one.
scatter_reduce, mean     the sum by the count: exported as the sum of something else.
avg_pool, divisor_override   k / d times the mean of k: exported without it.
hstack, vstack  cat, of what has its axes by then; dstack, column_stack and atleast_2d of several, too: exported as a
                loop over a sequence, which OpenVINO and TensorRT have not.
roll            by a number that follows from a size: (j - n) mod size; exported for numbers that are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hamsa_deploy.spectral.dispatch import emit, lowering
from hamsa_deploy.spectral.values import functions

FEW = 25  # rows: of more PyTorch computes distances with a product


@lowering("__rshift__", "bitwise_right_shift")
def shifted_right(x: Any, places: Any) -> Any:
    """x >> n."""
    if not hasattr(x, "dtype") or (isinstance(places, int) and not 0 <= places < torch.iinfo(x.dtype).bits - 1):
        return NotImplemented
    steps = 2**places if isinstance(places, int) else functions.pow(2, places)
    return functions.div(x, steps, rounding_mode="floor")


@lowering("div")
def truncated(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    """x / y towards 0, of whole numbers."""
    if rounding_mode != "trunc" or not all(map(_is_whole, (x, y))):
        return NotImplemented
    size, other = (abs(each) if isinstance(each, int) else functions.abs(each) for each in (x, y))
    signs = [(each > 0) - (each < 0) if isinstance(each, int) else functions.sign(each) for each in (x, y)]
    return functions.div(size, other, rounding_mode="floor") * signs[0] * signs[1]


def _is_whole(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return isinstance(value, int) if dtype is None else not dtype.is_floating_point and dtype != torch.bool


@lowering("log_sigmoid")
def log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x)))."""
    return functions.clamp_max(x, 0.0) - functions.log1p(functions.exp(-functions.abs(x)))


@lowering("hypot")
def hypot(x: Any, y: Any) -> Any:
    """sqrt(x^2 + y^2)."""
    a, b = functions.abs(x), functions.abs(y)
    larger, smaller = functions.maximum(a, b), functions.minimum(a, b)
    ratio = functions.where(functions.eq(larger, smaller), 1.0, smaller / larger)  # of two zeros, or infinities
    return larger * functions.sqrt(ratio * ratio + 1.0)


@lowering("fmax")
def fmax(x: Any, y: Any) -> Any:
    """The larger one, a NaN left aside."""
    return _without_nan(functions.maximum, x, y)


@lowering("fmin")
def fmin(x: Any, y: Any) -> Any:
    """The smaller one, a NaN left aside."""
    return _without_nan(functions.minimum, x, y)


def _without_nan(function: Callable[..., Any], x: Any, y: Any) -> Any:
    if _is_whole(x):
        return function(x, y)
    return functions.where(functions.isnan(x), y, functions.where(functions.isnan(y), x, function(x, y)))


@lowering("where")
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Of truth values."""
    if not all(map(_is_bool, (x, y))):
        return NotImplemented
    chosen = functions.logical_and(condition, x)
    return functions.logical_or(chosen, functions.logical_and(functions.logical_not(condition), y))


@lowering("add")
def either(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    """The sum of truth values, of which there are two."""
    return functions.logical_or(x, y) if alpha == 1 and all(map(_is_bool, (x, y))) else NotImplemented


def _is_bool(value: Any) -> bool:
    return getattr(value, "dtype", None) == torch.bool


@lowering("cdist")
def distances(x: Any, y: Any, p: float = 2.0, compute_mode: int | None = None) -> Any:
    """(.., P, M) and (.., R, M): |x_i - y_j| of all i and j, (.., P, R)."""
    rows = [each.shape[-2] for each in (x, y)]
    are_many = all(isinstance(each, int) for each in rows) and max(rows) > FEW
    if p == 2 and compute_mode != 2 and (compute_mode == 1 or are_many):
        squares = [functions.sum(each * each, -1, keepdim=True) for each in (x, y)]
        products = functions.matmul(x, functions.transpose(y, -1, -2)) * 2.0
        apart = squares[0] + functions.transpose(squares[1], -1, -2) - products
        return functions.sqrt(functions.clamp_min(apart, 0.0))
    return functions.linalg.vector_norm(functions.unsqueeze(x, -2) - functions.unsqueeze(y, -3), p, -1)


@lowering("searchsorted")
def places_among(
    ordered: Any, x: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None, sorter: Any = None
) -> Any:
    """How many of the ordered numbers are less than x; or, on the right, not greater."""
    if sorter is not None or not hasattr(x, "shape"):
        return NotImplemented
    rows = ordered if ordered.ndim == 1 else functions.unsqueeze(ordered, -2)
    compare = functions.le if right or side == "right" else functions.lt
    found = functions.sum(compare(rows, functions.unsqueeze(x, -1)), -1)
    return found.to(torch.int32) if out_int32 else found


@lowering("median")
def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower one of two; along an axis with its place."""
    if dim is None:
        return median(functions.reshape(x, (-1,)), 0)[0]
    return _of_sorted(x, (x.shape[dim] - 1) // 2, dim, keepdim)


@lowering("kthvalue")
def kth_value(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest number and its place."""
    return _of_sorted(x, k - 1, dim, keepdim)


def _of_sorted(x: Any, number: int, dim: int, keepdim: bool) -> Any:
    found = (functions.narrow(each, dim, number, 1) for each in functions.sort(x, dim))
    return tuple(each if keepdim else functions.squeeze(each, dim) for each in found)


@lowering("scatter")
def scattered(x: Any, dim: int, index: Any, src: Any, *, reduce: str | None = None) -> Any:
    """From a source that is larger than the index."""
    if reduce is not None or not _is_larger(src, index):
        return NotImplemented
    return functions.scatter(x, dim, index, _cut(src, index))


@lowering("scatter_add")
def scattered_sums(x: Any, dim: int, index: Any, src: Any) -> Any:
    """From a source that is larger than the index."""
    return functions.scatter_add(x, dim, index, _cut(src, index)) if _is_larger(src, index) else NotImplemented


@lowering("scatter_reduce")
def scattered_means(x: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Any:
    """The mean of what comes to one place, and of what is there."""
    if reduce != "mean" or not x.dtype.is_floating_point:
        return NotImplemented
    src = _cut(src, index)
    counts = functions.scatter_add(functions.zeros_like(x), dim, index, functions.ones_like(src))
    if include_self:
        counts = counts + 1.0
    else:
        x = functions.where(functions.gt(counts, 0.0), 0.0, x)
        counts = functions.clamp_min(counts, 1.0)
    return functions.scatter_add(x, dim, index, src) / counts


def _is_larger(src: Any, index: Any) -> bool:
    return hasattr(src, "shape") and tuple(src.shape) != tuple(index.shape)


def _cut(src: Any, index: Any) -> Any:
    for axis, (size, other) in enumerate(zip(index.shape, src.shape, strict=True)):
        src = src if size == other else functions.narrow(src, axis, 0, size)
    return src


@lowering("roll")
def rolled(x: Any, shifts: Sequence[Any], dims: Sequence[int] = ()) -> Any:
    """By a part of an axis whose size is free."""
    if all(isinstance(each, int) for each in shifts):
        return NotImplemented
    for shift, dim in zip(shifts, dims, strict=True):
        size = x.shape[dim]
        order = functions.remainder(functions.arange(size) - shift, functions.full((), size, dtype=torch.int64))
        x = functions.index_select(x, dim, order)
    return x


def _with_axes(x: Any, least: int) -> Any:
    """As atleast_1d, atleast_2d and atleast_3d have it."""
    for axis in {0: [0] * least, 1: [0, -1][: least - 1], 2: [-1][: least - 2]}.get(x.ndim, []):
        x = functions.unsqueeze(x, axis)
    return x


def _stacking(least: int, dim: int) -> Callable[[Sequence[Any]], Any]:
    def stacked(tensors: Sequence[Any]) -> Any:
        each = [_with_axes(x, least) for x in tensors]
        return functions.cat(each, dim if each[0].ndim > dim else 0)

    return stacked


lowering("hstack")(_stacking(1, 1))
lowering("vstack")(_stacking(2, 0))
lowering("dstack")(_stacking(3, 2))


@lowering("column_stack")
def column_stack(tensors: Sequence[Any]) -> Any:
    """Side by side, each a column or several."""
    return functions.cat([functions.reshape(x, (-1, 1)) if x.ndim < 2 else x for x in tensors], 1)


def _at_least(least: int) -> Callable[[Any], Any]:
    def at_least(tensors: Any) -> Any:
        if isinstance(tensors, list | tuple):
            return [_with_axes(x, least) for x in tensors]
        return _with_axes(tensors, least)

    return at_least


for _least in (1, 2, 3):
    lowering(f"atleast_{_least}d")(_at_least(_least))


def _pooled(pool: Callable[..., Any], axes: int) -> Callable[..., Any]:
    def pooled(
        x: Any,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        if divisor_override is None or ceil_mode:
            return NotImplemented
        size = math.prod(kernel_size) if len(kernel_size) > 1 else kernel_size[0] ** axes
        return pool(*emit((x, kernel_size, stride, padding))) * (size / divisor_override)

    return pooled


lowering("avg_pool2d")(_pooled(torch.ops.aten.avg_pool2d.default, 2))
lowering("avg_pool3d")(_pooled(torch.ops.aten.avg_pool3d.default, 3))
