"""Operators that stand in for PyTorch's while a model is captured, where PyTorch's own would be wrong or slow.

istft   of fake tensors a Python loop of n_fft steps (77 s at 2048), wrong for odd n_fft, and specialised to the
        example's length where `length` varies. The one here computes shapes only; the rule of istft takes it from
        there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
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


STAND_INS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.istft: torch.ops.hamsa_deploy.istft,
    torch.Tensor.istft: torch.ops.hamsa_deploy.istft,
}


class StandIns(TorchFunctionMode):
    """Active around torch.export."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return STAND_INS.get(func, func)(*args, **_renamed(func, kwargs or {}))


def _renamed(func: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """torch.istft calls its first argument `input`."""
    if func in STAND_INS and "input" in kwargs:
        return {"z" if name == "input" else name: value for name, value in kwargs.items()}
    return kwargs
