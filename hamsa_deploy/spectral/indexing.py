"""Operators that pick positions along one axis, as an axis and the positions they pick."""

from __future__ import annotations

from typing import Any

import numpy as np

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.values import Constant

END = 2**62  # a slice without an end has a larger one in a captured graph
PICKING = ("slice", "narrow", "flip", "roll", "index_select")


def picked(name: str, args: tuple[Any, ...]) -> tuple[int, np.ndarray] | None:
    """What an operator of PICKING does: y[i] = x[index[i]] along one axis.

    Returns:
        The axis, counted from the end, and the index; None if several axes or sizes of the batch are involved.
    """
    x, *rest = args
    axes = _axes(name, rest, x.ndim)
    if axes is None or len(axes) != 1:
        return None
    axis = axes[0]
    every = np.arange(x.shape[axis]) if isinstance(x.shape[axis], int) else None
    if every is None:
        return None
    if name == "flip":
        return axis, every[::-1].copy()
    if name == "roll":
        shift = rest[0] if isinstance(rest[0], int) else rest[0][0]
        return axis, np.roll(every, shift)
    if name == "index_select":
        index = rest[1]
        return (axis, compilation.eagerly(lambda: np.array(index.value))) if isinstance(index, Constant) else None
    if name == "narrow":
        start, length = rest[1], rest[2]
        return axis, every[start : start + length] if start >= 0 else every[start:][:length]
    start, end, step = (*rest[1:], None, None, None)[:3]
    if not all(isinstance(bound, (int, type(None))) for bound in (start, end, step)):
        return None
    return axis, every[start:end:step]


def takes_all(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operator slices a whole axis, x[:], or writes into all of it."""
    if name not in ("slice", "slice_scatter"):
        return False
    start, end, step = (*args[2 if name == "slice" else 3 :], None, None, None)[:3]
    to_the_end = end is None or (isinstance(end, int) and end >= END)
    return start in (None, 0) and to_the_end and step in (None, 1)


def _axes(name: str, rest: list[Any], ndim: int) -> list[int] | None:
    arguments = rest[1:] if name == "roll" else rest or [0]
    dims = arguments[0] if arguments else []
    dims = [dims] if isinstance(dims, int) else list(dims)
    return [dim - ndim if dim >= 0 else dim for dim in dims]
