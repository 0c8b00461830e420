"""While a model is captured: conditions and numbers that only constants decide are computed, not traced.

`assert (self.window > 0).all()`, `n=self.length.item()`, `if torch.tensor(padding).sum()`: what such a tensor is made
of is remembered, and when Python asks for its value, it is computed from the model's own buffers and from Python's
numbers. A size that varies has no part in what is one number at all sizes, such as `torch.full((batch,), n).max()`.
Anything that an input has a part in is left to torch.export, which refuses it; but for checks that raise an
error, which the example inputs have passed: they are left out, with a warning.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.compilation import eagerly

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent)

# How Python asks a tensor for its value.
ASKING = {
    torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__,
    torch.Tensor.__index__, torch.Tensor.is_nonzero, torch.is_nonzero, torch.equal, torch.Tensor.equal, torch.allclose,
    torch.Tensor.allclose, torch._assert, torch.Tensor.numpy, torch.Tensor.__array__,
}  # fmt: skip
# Functions that take sizes and positions in tensors, too, and how many arguments come before these. PyTorch asks such a
# tensor for its value by itself.
SIZED = {
    torch.arange: 0, torch.linspace: 0, torch.narrow: 1, torch.Tensor.narrow: 1, torch.split: 1, torch.Tensor.split: 1,
}  # fmt: skip
# What repeats numbers, and which arguments say how often. A size that varies is taken for 1 among them, where all that
# follows is of these and of REPEATABLE, which make repeated numbers of repeated numbers, or one of all.
REPEATING = {
    torch.full: slice(0, 1), torch.ones: slice(0, None), torch.zeros: slice(0, None),
    torch.Tensor.expand: slice(1, None), torch.Tensor.repeat: slice(1, None),
}  # fmt: skip
OF_A_TYPE: dict[Callable[..., Any], Callable[..., Any]] = {  # which is all that they take of their tensor
    torch.Tensor.new_full: torch.full, torch.Tensor.new_ones: torch.ones, torch.Tensor.new_zeros: torch.zeros,
}  # fmt: skip
REPEATABLE = set(
    """
    max min amax amin maximum minimum clamp any all to type long int float double half bool clone detach contiguous
    add radd sub rsub mul rmul div truediv floordiv neg abs ceil floor round eq ne lt le gt ge
    """.split()
)


_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class NotConstant(Exception):
    """An input has a part in the value."""


@dataclass(frozen=True)
class Made:
    """How a tensor came to be.

    Attributes:
        tensor: itself; the reference keeps its id from being used again.
        version: PyTorch's count of what was written to it, through views of it too.
        func, args, kwargs: what made it.
        index: which it is of several results; None for the only one.
    """

    tensor: torch.Tensor
    version: int
    func: Callable[..., Any]
    args: Any
    kwargs: Any
    index: int | None


class FoldedConstants(TorchFunctionMode):
    """Active around torch.export; knows the values of a model's buffers and parameters.

    Args:
        model: that is captured. What it writes in forward must have been refused before.

    Attributes:
        left_out: the places of assertions on what is computed from the inputs.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._made: dict[int, Made] = {}
        self._repeated: set[int] = set()  # of those, whose sizes were taken for 1
        self.left_out: list[str] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._made.clear()
        self._repeated.clear()
        super().__exit__(kind, error, trace)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in ASKING:
            return self._answer(func, args, kwargs)
        if func in SIZED:
            before = SIZED[func]
            args, kwargs = (*args[:before], *self.numbers(args[before:])), self.numbers(kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            self._remember(result, func, args, kwargs, None)
        elif isinstance(result, tuple | list):
            for index, each in enumerate(result):
                if isinstance(each, torch.Tensor):
                    self._remember(each, func, args, kwargs, index)
        if result is None or func == _DATA:  # a write, or what can be written to without its version telling
            for leaf in pytree.tree_leaves((args, kwargs)):
                self._made.pop(id(leaf), None)
        return result

    def _answer(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return eagerly(lambda: self._computed(func, args, kwargs))
        except NotConstant:
            if func is torch._assert:
                self.left_out.append(_users_place(_asking_frame()))
                return None
            check = check_that_asks() if func is torch.Tensor.__bool__ else None
            if check is None:
                return func(*args, **kwargs)
            place, passes = check
            self.left_out.append(place)
            return passes

    def numbers(self, sizes: Any) -> Any:
        """With numbers in place of constants of one value."""

        def number(size: torch.Tensor) -> Any:
            if size.ndim:
                return size
            try:
                return eagerly(lambda: self._value(size).item())
            except NotConstant:
                return size

        return pytree.tree_map_only(torch.Tensor, number, sizes)

    def _remember(
        self, tensor: torch.Tensor, func: Callable[..., Any], args: Any, kwargs: Any, index: int | None
    ) -> None:
        """But for what was written to and handed on, `x.add_(1)`: its version tells that it is constant no more. What
        was made in inference mode has none."""
        if not any(leaf is tensor for leaf in pytree.tree_leaves((args, kwargs))) and not tensor.is_inference():
            self._made[id(tensor)] = Made(tensor, tensor._version, func, args, kwargs, index)

    def _known(self, values: Any) -> Any:
        return pytree.tree_map_only((torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool), self._value, values)

    def _computed(self, func: Callable[..., Any], args: Any, kwargs: Any, made: Made | None = None) -> Any:
        """What a function gives for constants; `made` is what it made, None where Python asks for a value."""
        if func in OF_A_TYPE:
            func, args, kwargs = OF_A_TYPE[func], args[1:], {"dtype": args[0].dtype, **kwargs}
        once, of_sizes = _repeating_once(func, args, kwargs)
        known_args, known_kwargs = self._known(once)
        repeated = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if id(leaf) in self._repeated]
        if made is None and any(leaf.ndim for leaf in repeated):
            raise NotConstant
        if made is not None and (of_sizes or repeated):
            if func not in REPEATING and getattr(func, "__name__", "").strip("_") not in REPEATABLE:
                raise NotConstant
            self._repeated.add(id(made.tensor))
        return func(*known_args, **known_kwargs)

    def _value(self, leaf: Any) -> torch.Tensor:
        if not isinstance(leaf, torch.Tensor):
            raise NotConstant
        if (made := self._made.get(id(leaf))) is not None:
            if leaf._version != made.version:
                raise NotConstant
            result = self._computed(made.func, made.args, made.kwargs, made)
            value: torch.Tensor = result if made.index is None else result[made.index]
            return value
        # While torch.export traces, the model holds stand-ins under the same names.
        for name, held in (*self._model.named_parameters(), *self._model.named_buffers()):
            if held is leaf:
                return self._values[name]
        raise NotConstant


def _repeating_once(func: Callable[..., Any], args: Any, kwargs: Any) -> tuple[tuple[Any, Any], bool]:
    """Arguments with 1 for sizes that vary and say how often numbers are repeated, and whether there are any."""
    if (where := REPEATING.get(func)) is None:
        return (args, kwargs), False
    sizes = (args[where], kwargs.get("size"))
    once, size = pytree.tree_map_only(torch.SymInt, lambda _: 1, sizes)
    has_any = any(isinstance(leaf, torch.SymInt) for leaf in pytree.tree_leaves(sizes))
    after = args[where.stop :] if where.stop is not None else ()
    return ((*args[: where.start], *once, *after), kwargs if size is None else {**kwargs, "size": size}), has_any


def check_that_asks() -> tuple[str, bool] | None:
    """Whether a truth value is asked for only to raise an error.

    `assert x.isfinite().all()`, `if (x < 0).any() or x.isnan().any(): raise ValueError`.

    Returns:
        `model.py:12`, and the value with which it does not raise; None for any other question.
    """
    frame = _asking_frame()
    code = [each for each in dis.get_instructions(frame.f_code) if each.opname not in ("CACHE", "EXTENDED_ARG")]
    jumps = [each for each in code if each.offset >= frame.f_lasti][:2]
    jump = next(
        (each for each in jumps if "JUMP" in each.opname and each.opname.endswith(("IF_TRUE", "IF_FALSE"))), None
    )
    if jump is None:
        return None
    jumps_if = "TRUE" in jump.opname
    place = _users_place(frame)
    if _raises([each for each in code if each.offset >= jump.argval]):
        return place, not jumps_if
    return (place, jumps_if) if _raises([each for each in code if each.offset > jump.offset]) else None


def _asking_frame() -> FrameType:
    """The innermost frame that is not of the machinery between a model and PyTorch."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_OURS)
        or frame.f_code.co_name in ("__torch_function__", "handle_torch_function")
    ):
        frame = frame.f_back
    return frame


def _users_place(frame: FrameType) -> str:
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_TORCH, _OURS)):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _raises(code: Sequence[dis.Instruction]) -> bool:
    """Whether it comes to a raise before anything else can happen."""
    for each in code:
        if each.opname == "RAISE_VARARGS":
            return True
        if "JUMP" in each.opname or each.opname.startswith(("RETURN", "STORE", "YIELD", "RERAISE", "FOR_")):
            return False
    return False
