"""torch.vmap while a model is captured: what it computes, as operators on whole batches.

PyTorch traces above functorch, where a mapped function has tensors without their batch that nothing outside knows: a
program with them cannot be run. Here the function runs below the tracer, on fake tensors, and what functorch makes of
it is noted operator by operator; then these are called once more, for the tracer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch._export.utils as export_utils
import torch._functorch.apis as functorch
from torch._C import _ExcludeDispatchKeyGuard as Without
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from hamsa_deploy.scan.cuda import Replaced

_TRACER = torch._C.DispatchKeySet(torch._C.DispatchKey.PreDispatch)


class _Noted(TorchDispatchMode):
    """Every operator that runs, with what it got and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result


def _mapped(func: Callable[..., Any], *how: Any, **kwargs: Any) -> Any:
    """In place of functorch's vmap_impl(func, in_dims, out_dims, randomness, chunk_size, *args, **kwargs)."""
    if export_utils._maybe_find_pre_dispatch_tf_mode_for_export() is None:  # nobody traces, or a map within one
        return _REPLACED.original(func, *how, **kwargs)
    with Without(_TRACER), torch._C.DisableTorchFunction(), _UNSEEN, _Noted() as noted:
        result = _REPLACED.original(func, *how, **kwargs)
    return _again(noted, result)


def _again(noted: _Noted, result: Any) -> Any:
    """Call what was noted; what the tracer has not seen takes the place of what it knows."""
    known: dict[int, Any] = {}

    def now(tree: Any) -> Any:
        return pytree.tree_map_only(torch.Tensor, lambda x: known.get(id(x), x), tree)

    for func, args, kwargs, given in noted.calls:
        seen = func(*now(args), **now(kwargs))
        for before, after in zip(pytree.tree_leaves(given), pytree.tree_leaves(seen), strict=True):
            known[id(before)] = after
    return now(result)


_IMPL, _MODE = "vmap_impl", "_maybe_find_pre_dispatch_tf_mode_for_export"
_UNSEEN: AbstractContextManager[None] = contextlib.nullcontext()
VMAP = _UNSEEN
if hasattr(functorch, _IMPL) and hasattr(export_utils, _MODE):  # both are private; without them it is left to PyTorch
    _UNSEEN = Replaced(export_utils, _MODE, lambda: None)
    VMAP = _REPLACED = Replaced(functorch, _IMPL, _mapped)
