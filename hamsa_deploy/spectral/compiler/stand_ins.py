"""Operators that stand in for PyTorch's while a graph is traced, where PyTorch's own would be wrong or slow.

istft   of fake tensors a Python loop of n_fft steps (77 s at 2048), wrong for odd n_fft, and specialised to the
        example's length where `length` varies. The one here computes shapes only; the rule of istft takes it from
        there.
linear, matmul
        of fake tensors a decomposition in Python, which folds the batch away and back, with some hundred questions
        about its size: 9 and 19 ms, a third of what it takes to trace hamsa_nano twice. The shape of an ordinary
        product is known at once. `by_their_names` gives the operators their own names again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

NAMESPACE = "hamsa_deploy"
_LIBRARY = torch.library.Library(NAMESPACE, "DEF")
_LIBRARY.define(
    "istft(Tensor z, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool center=True, "
    "bool normalized=False, bool? onesided=None, SymInt? length=None, bool return_complex=False) -> Tensor",
    tags=torch.Tag.pt2_compliant_tag,
)


@torch.library.impl(_LIBRARY, "istft", "CompositeExplicitAutograd")
def _istft(z: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.istft(z, *args, **kwargs)


def _shape_of_istft(
    z: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    hop = n_fft // 4 if hop_length is None else hop_length
    samples = n_fft + hop * (z.shape[-1] - 1) - (2 * (n_fft // 2) if center else 0)
    shape = (*z.shape[:-2], samples if length is None else length)
    return z.new_empty(shape, dtype=z.dtype if return_complex else z.dtype.to_real())


torch.library.register_fake(f"{NAMESPACE}::istft", _shape_of_istft, lib=_LIBRARY)


def _define_product(schema: str, own: Callable[..., Tensor], shape: Callable[..., Any]) -> Any:
    """The operator of that name: computed as PyTorch does, its result contiguous, as PyTorch's always is."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(_LIBRARY, name, "CompositeExplicitAutograd")(own)

    def fake(a: Tensor, b: Tensor, *rest: Any) -> Tensor:
        return torch.empty(shape(a.shape, b.shape), dtype=a.dtype, device=a.device)

    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_LIBRARY)
    return getattr(getattr(torch.ops, NAMESPACE), name)


def _shape_of_linear(x: Any, weight: Any) -> Any:
    return (*x[:-1], weight[0])


def _shape_of_matmul(a: Any, b: Any) -> Any:
    return (*max(a[:-2], b[:-2], key=len), a[-2], b[-1])


_LINEAR = _define_product("linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor", linear, _shape_of_linear)
_MATMUL = _define_product("matmul(Tensor self, Tensor other) -> Tensor", torch.matmul, _shape_of_matmul)

STAND_INS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.istft: torch.ops.hamsa_deploy.istft,
    torch.Tensor.istft: torch.ops.hamsa_deploy.istft,
}
LINEAR: set[Callable[..., Any]] = {linear, torch.ops.aten.linear.default}
MATMUL: set[Callable[..., Any]] = {
    torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.ops.aten.matmul.default
}  # fmt: skip
PLAIN = {Tensor, nn.Parameter, FakeTensor}
NAMES = {_LINEAR.default: torch.ops.aten.linear.default, _MATMUL.default: torch.ops.aten.matmul.default}


class Products(TorchFunctionMode):
    """Active while a graph is traced whose nodes `by_their_names` will see."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (func in LINEAR or func in MATMUL) and not kwargs:
            with torch._C.DisableTorchFunction():
                if func in LINEAR:
                    func = _LINEAR if _is_plain_linear(*args) else func
                else:
                    func = _MATMUL if _is_plain_matmul(*args) else func
        return func(*args, **kwargs)


class StandIns(Products):
    """Active around torch.export."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in STAND_INS:
            return STAND_INS[func](*args, **_renamed(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


def _renamed(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """torch.istft calls its first argument `input`."""
    return {"z" if name == "input" else name: value for name, value in kwargs.items()}


def by_their_names(graph_module: torch.fx.GraphModule) -> None:
    """PyTorch's operators in place of `Products`', in the graphs of branches and loops as well."""
    for module in graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.target = NAMES.get(node.target, node.target)


def _is_plain_linear(x: Any = None, weight: Any = None, bias: Any = None, *rest: Any) -> bool:
    """Whether it is certain to run, and what it gives: anything else is left to PyTorch, which has the errors."""
    if not _are_plain(x, weight) or weight.ndim != 2 or x.ndim < 2 or rest:
        return False
    if bias is not None and not (_are_plain(x, bias) and tuple(bias.shape) == (weight.shape[0],)):
        return False
    return _is_one_number(x.shape[-1], weight.shape[1])


def _is_plain_matmul(a: Any = None, b: Any = None, *rest: Any) -> bool:
    if not _are_plain(a, b) or a.ndim < 2 or b.ndim < 2 or rest:
        return False
    batches = zip(reversed(a.shape[:-2]), reversed(b.shape[:-2]), strict=False)
    return _is_one_number(a.shape[-1], b.shape[-2]) and all(_is_one_number(*each) for each in batches)


def _are_plain(*tensors: Any) -> bool:
    """Of one type and device, no subclass, which may compute otherwise; outside of autocast, which chooses another
    type, and of functorch."""
    if not all(type(each) in PLAIN and each.layout is torch.strided for each in tensors):
        return False
    first = tensors[0]
    return (
        all(each.dtype == first.dtype and each.device == first.device for each in tensors)
        and not torch.is_autocast_enabled(first.device.type)
        and torch._C._functorch.peek_interpreter_stack() is None
    )


def _is_one_number(a: Any, b: Any) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a == b
