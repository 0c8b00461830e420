"""While a model is captured: conditions and numbers that only constants decide are computed, not traced.

`assert (self.window > 0).all()`, `n=self.length.item()`, `if torch.tensor(padding).sum()`: what such a tensor is made
of is remembered, and when Python asks for its value, it is computed from the model's own buffers and from Python's
numbers. Anything that an input has a part in is left to torch.export, which refuses it; but for assertions, which the
example inputs have passed: they are left out, with a warning.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.compilation import eagerly

_BETWEEN = (str(Path(torch.__file__).parent), str(Path(__file__).parent))

# How Python asks a tensor for its value.
ASKING = {
    torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__,
    torch.Tensor.__index__, torch.Tensor.is_nonzero, torch.is_nonzero, torch.equal, torch.Tensor.equal, torch.allclose,
    torch.Tensor.allclose,
}  # fmt: skip


class NotConstant(Exception):
    """An input has a part in the value."""


class FoldedConstants(TorchFunctionMode):
    """Active around torch.export; knows the values of a model's buffers and parameters.

    Args:
        model: that is captured. What it writes in forward must have been refused before.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        # By id; the reference to the result keeps the id from being used again.
        self._made: dict[int, tuple[Any, Callable[..., Any], Any, Any]] = {}
        self._written: dict[int, Any] = {}
        self.left_out: list[str] = []  # assertions

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._made.clear()
        self._written.clear()
        super().__exit__(kind, error, trace)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in ASKING:
            try:
                return eagerly(lambda: func(*self._known((args, kwargs))[0], **self._known((args, kwargs))[1]))
            except NotConstant:
                if func is torch.Tensor.__bool__ and (where := _assertion_that_asks()):
                    self.left_out.append(where)
                    return True
                return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            self._made[id(result)] = (result, func, args, kwargs)
        if _writes(func):
            self._written[id(args[0])] = args[0]
        return result

    def _known(self, values: Any) -> Any:
        return pytree.tree_map_only((torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool), self._value, values)

    def _value(self, leaf: Any) -> torch.Tensor:
        if not isinstance(leaf, torch.Tensor) or id(leaf) in self._written:
            raise NotConstant
        if id(leaf) in self._made:
            _, func, args, kwargs = self._made[id(leaf)]
            known_args, known_kwargs = self._known((args, kwargs))
            result: torch.Tensor = func(*known_args, **known_kwargs)
            return result
        # While torch.export traces, the model holds stand-ins under the same names.
        for name, held in (*self._model.named_parameters(), *self._model.named_buffers()):
            if held is leaf:
                return self._values[name]
        raise NotConstant


def _assertion_that_asks() -> str:
    """`model.py:12`, if the innermost code that is not PyTorch's asks for a truth value to assert it; else empty."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    following = [each for each in dis.get_instructions(frame.f_code) if each.offset > frame.f_lasti][:3]
    raises = any("ASSERTION_ERROR" in each.opname or each.argrepr == "AssertionError" for each in following)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if raises else ""


def _writes(func: Callable[..., Any]) -> bool:
    """Whether it changes its first argument: `add_`, `__setitem__`, `__iadd__`."""
    name = getattr(func, "__name__", "")
    return name in {"__setitem__", "__set__"} or name.startswith("__i") or (name.endswith("_") and name[-2:] != "__")
