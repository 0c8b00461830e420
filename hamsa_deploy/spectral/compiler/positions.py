"""While a model is captured: a computed place along an axis, of a tensor without axes, is an index and not a number.

    buffer[count % 4], buffer[:, count] = x        ->        buffer[(count % 4)[None]][0], ...

PyTorch asks such a tensor for its number, which no graph knows. As an index of one place it gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

READ, WRITE = torch.Tensor.__getitem__, torch.Tensor.__setitem__


class Positions(TorchFunctionMode):
    """Active around torch.export.

    Args:
        numbers: with a number in the place of each tensor that is a constant of one.
    """

    def __init__(self, numbers: Callable[[Any], Any]) -> None:
        super().__init__()
        self._numbers = numbers

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in (READ, WRITE) or not any(map(_is_place, _items(args[1]))):
            return func(*args, **(kwargs or {}))
        x, index, *values = args
        index = self._numbers(_items(index))
        if (found := _as_index(x, index)) is None:
            return func(x, index, *values)
        index, axis = found
        if func is READ:
            return x[index].squeeze(axis)
        [value] = values
        if isinstance(value, torch.Tensor):
            value = value.to(x.dtype).expand(x[index].squeeze(axis).shape).unsqueeze(axis)
        x[index] = value
        return None


def _items(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _as_index(x: torch.Tensor, items: tuple[Any, ...]) -> tuple[tuple[Any, ...], int] | None:
    """The index with the one place in it as a list of one, and the axis of the result that this adds; None where it
    has no such place, or other lists."""
    tensors = [i for i, each in enumerate(items) if isinstance(each, torch.Tensor | list)]
    if len(tensors) != 1 or not _is_place(items[tensors[0]]):
        return None
    [at] = tensors
    taken = sum(each is not None and each is not Ellipsis for each in items)
    widths = [_width(each, x.ndim - taken) for each in items[:at]]
    return (*items[:at], items[at][None], *items[at + 1 :]), sum(widths)


def _is_place(value: Any) -> bool:
    kinds = (torch.int64, torch.int32, torch.int16, torch.int8)
    return isinstance(value, torch.Tensor) and value.ndim == 0 and value.dtype in kinds


def _width(item: Any, of_ellipsis: int) -> int:
    """How many axes of the result an item stands for."""
    if item is Ellipsis:
        return of_ellipsis
    return 1 if item is None or isinstance(item, slice) else 0
