"""A real tensor that is zero outside of known positions along one axis.

    full[index[i]] = value[i],   0 elsewhere

Zero-padding before a transform, and a truncated spectrum before an inverse one, are such tensors. A transform leaves
out the products with zeros; everything else sees the full tensor (`materialise`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch

from hamsa_deploy.spectral.dispatch import apply, emit, lazy_rule, operator_name
from hamsa_deploy.spectral.indexing import picked
from hamsa_deploy.spectral.lazy_inverse import LazyInverse
from hamsa_deploy.spectral.mirrored import Mirrored
from hamsa_deploy.spectral.values import Constant, Lazy, Real, Value, gather, is_zero, settled


class Padded(Lazy):
    """A real tensor with zeros around it along one axis.

    Args:
        value: what is not zero, (..., len(index), ...).
        axis: counted from the end.
        n: length of the full axis.
        index: where the values stand, without repetition.
    """

    def __init__(self, value: Real, axis: int, n: int, index: np.ndarray) -> None:
        self.value, self.axis, self.n, self.index = value, axis, n, index

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        shape = list(self.value.shape)
        shape[self.axis] = self.n
        return torch.Size(shape)

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return cast(torch.dtype, self.value.dtype)

    def on(self, value: Real) -> Padded:
        """Other values at the same positions."""
        return Padded(value, self.axis, self.n, self.index)

    def same_positions(self, other: Any) -> bool:
        """Whether another value is zero at the same positions."""
        return (
            isinstance(other, Padded)
            and (self.axis, self.n) == (other.axis, other.n)
            and np.array_equal(self.index, other.index)
        )

    def materialise(self) -> Real:
        """The full tensor."""
        m = len(self.index)
        value = settled(self.value, Lazy)
        if np.array_equal(self.index, np.arange(self.index[0], self.index[0] + m)):
            before = int(self.index[0])
            return _with_zeros(value, self.axis, before, self.n - before - m)
        order = np.full(self.n, m)
        order[self.index] = np.arange(m)
        return gather(_with_zeros(value, self.axis, 0, 1), self.axis, order)


def _with_zeros(x: Real, axis: int, before: int, after: int) -> Real:
    widths = [0, 0] * (-axis - 1) + [before, after]
    return torch.ops.aten.constant_pad_nd.default(emit(x), widths)


def padded(x: Real, axis: int, before: int, after: int) -> Real:
    """x with zeros before and after it along an axis."""
    length = x.shape[axis]
    return Padded(x, axis, before + length + after, np.arange(before, before + length))


Parts = tuple[Real | None, ...]


def linearly(function: Callable[..., tuple[Real, ...]], axis: int, *parts: Real | None) -> tuple[Real, ...]:
    """function(*parts) for a function that is linear and acts along one axis.

    What the parts are along other axes, Mirrored or Padded, they stay: the function is applied to what they consist of.

    Args:
        function: of real values that are lazy along `axis` only.
        axis: counted from the end.
        parts: real values; None for zero.
    """
    parts = tuple(settled(part, LazyInverse) for part in parts)
    there = [part for part in parts if part is not None]
    outer = next((part for part in there if isinstance(part, (Mirrored, Padded)) and part.axis != axis), None)
    if outer is None:
        return function(*parts)
    if not all(_alike(outer, part) for part in there):
        kind = type(outer)
        return linearly(function, axis, *(settled(part, kind) for part in parts))
    if isinstance(outer, Padded):
        results = linearly(function, axis, *_each(parts, lambda part: part.value))
        return tuple(_inside(outer.on, result) for result in results)
    plus = linearly(function, axis, *_each(parts, lambda part: part.plus))
    if outer.parity and all(part.parity == outer.parity for part in there):
        return tuple(_inside(lambda v: outer.on_half(v, None, outer.parity), result) for result in plus)
    minus = linearly(function, axis, *_each(parts, lambda part: part.minus))
    pairs = zip(plus, minus, strict=True)
    return tuple(_inside(lambda p, m: outer.on_half(p, m, 0), *pair) for pair in pairs)


def _alike(outer: Mirrored | Padded, part: Real) -> bool:
    if isinstance(outer, Padded):
        return outer.same_positions(part)
    return isinstance(part, Mirrored) and part.axis == outer.axis and part.half_spectrum.same_order(outer.half_spectrum)


def _each(parts: Parts, take: Callable[[Real], Real]) -> Parts:
    return tuple(None if part is None else take(part) for part in parts)


def _inside(wrap: Callable[..., Real], *parts: Real) -> Real:
    """wrap(parts); where the parts are Mirrored along the axis of the function, inside of that."""
    first = parts[0]
    if not isinstance(first, Mirrored):
        return wrap(*parts)
    minus = None if first.parity else wrap(*(part.minus for part in parts))
    return first.on_half(wrap(*(part.plus for part in parts)), minus, first.parity)


@lazy_rule(Padded, "add", "sub")
def padded_sum(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A sum of values with the same zeros."""
    first = args[0]
    if not isinstance(first, Padded) or not all(first.same_positions(arg) for arg in args):
        return NotImplemented
    return first.on(apply(func, tuple(arg.value for arg in args), kwargs))


@lazy_rule(Padded, "mul", "neg", "clone")
def padded_product(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A product with something that is the same, or constant, along the axis."""
    leader = next(arg for arg in args if isinstance(arg, Padded))
    factors = [_at_positions(arg, leader) for arg in args]
    if any(factor is NotImplemented for factor in factors):
        return NotImplemented
    return leader.on(apply(func, tuple(factors), kwargs))


def _at_positions(arg: Any, leader: Padded) -> Any:
    if arg is leader:
        return leader.value
    if not isinstance(arg, (torch.Tensor, Value)):
        return arg
    if arg.ndim > leader.ndim or isinstance(arg, Padded):
        return NotImplemented
    if arg.ndim < -leader.axis or arg.shape[leader.axis] == 1:
        return arg
    return gather(arg, leader.axis, leader.index) if isinstance(arg, Constant) else NotImplemented


@lazy_rule(Padded, "cat")
def padded_cat(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Concatenation along another axis, of values with the same zeros."""
    parts, dim = list(args[0]), (args[1] if len(args) > 1 else kwargs.get("dim", 0))
    first = parts[0]
    if not isinstance(first, Padded) or not all(first.same_positions(part) for part in parts):
        return NotImplemented
    dim = dim if dim < 0 else dim - first.ndim
    return NotImplemented if dim == first.axis else first.on(apply(func, ([part.value for part in parts], dim), {}))


@lazy_rule(Padded, "slice", "narrow")
def padded_slice(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A part of it: fewer zeros, or nothing but zeros, or a slice of the values along another axis."""
    x, *rest = args
    pick = picked(operator_name(func), args)
    if pick is None:
        return NotImplemented
    axis, index = pick
    if axis != x.axis:
        return x.on(apply(func, (x.value, axis, *rest[1:]), kwargs))
    where = {int(position): i for i, position in enumerate(index)}
    kept = [i for i, position in enumerate(x.index) if int(position) in where]
    if not kept:
        shape = list(x.shape)
        shape[axis] = len(index)
        return apply(torch.zeros, (shape,), {"dtype": x.dtype})
    value = x.value if len(kept) == len(x.index) else gather(x.value, axis, np.array(kept))
    return Padded(value, axis, len(index), np.array([where[int(x.index[i])] for i in kept]))


def scattered(x: Real, source: Real, args: tuple[Any, ...]) -> Any:
    """slice_scatter into zeros: the source with zeros around it; NotImplemented where x holds anything else."""
    if isinstance(x, Constant) and isinstance(source, Constant):
        return NotImplemented
    pick = picked("slice", (x, *args))
    if pick is None:
        return NotImplemented
    axis, index = pick
    n = x.shape[axis]
    if len(index) in (0, n):
        return source if n == len(index) else x
    if is_zero(x):
        return Padded(source, axis, n, index)
    if isinstance(x, Padded) and x.axis == axis and not set(x.index) & set(index):
        return Padded(torch.cat([x.value, source], axis), axis, n, np.concatenate([x.index, index]))
    return NotImplemented
