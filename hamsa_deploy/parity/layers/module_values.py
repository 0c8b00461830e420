"""What the modules of a PyTorch model compute: the reference of the comparison layer by layer."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from hamsa_deploy.scan.cuda import DEVICES
from hamsa_deploy.spectral.values import viewed_as_real


@dataclass(frozen=True)
class ModuleValue:
    """One tensor that a module returned.

    Attributes:
        path: of the module, `stages.0.norm`; empty for the model itself.
        name: the path, with the number of the call behind `#` from the second on, and of the tensor in brackets where
            the module returns several; for the model itself the name of the output.
        array: float64, or float32 where the model does not run in float64; a complex tensor has a last axis of two.
    """

    path: str
    name: str
    array: np.ndarray


class ReferenceModel:
    """A copy of the model that hands out what its modules compute, in float64 where it can.

    Args:
        model, inputs: a module, and what it is called with.
        outputs: names of the tensors that the model itself returns, in order.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[torch.Tensor], outputs: Sequence[str]) -> None:
        self._model, self.dtype = _in_float64(model, inputs)
        self._outputs = outputs

    @torch.inference_mode()
    def values(self, inputs: Sequence[torch.Tensor]) -> list[ModuleValue]:
        """Every tensor that a module returns for these inputs, in order of computation; the model's outputs last."""
        calls: Counter[str] = Counter()
        found: list[ModuleValue] = []

        def keep(path: str, outputs: Any) -> None:
            calls[path] += 1
            found.extend(_values_of(path, calls[path], outputs, self._outputs))

        with ExitStack() as hooks:
            for path, module in self._model.named_modules():
                hook = module.register_forward_hook(lambda _module, _args, outputs, path=path: keep(path, outputs))
                hooks.callback(hook.remove)
            hooks.enter_context(DEVICES)
            self._model(*(_as(tensor, self.dtype) for tensor in inputs))
        return found


def _in_float64(model: nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[nn.Module, torch.dtype]:
    """A model that creates float32 tensors by itself does not run in float64, and is taken as it is."""
    model = copy.deepcopy(model)
    widened = copy.deepcopy(model).double()
    try:
        with torch.inference_mode(), DEVICES:
            copy.deepcopy(widened)(*(_as(tensor, torch.float64) for tensor in inputs))  # it may keep something
    except (RuntimeError, TypeError):
        return model, torch.float32
    return widened, torch.float64


def _as(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _values_of(path: str, call: int, outputs: Any, of_model: Sequence[str]) -> Iterator[ModuleValue]:
    leaves = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
    names = of_model if path == "" else [_name(path, call, i, len(leaves)) for i in range(len(leaves))]
    for name, leaf in zip(names, leaves, strict=True):
        if leaf.is_floating_point() or leaf.is_complex():
            yield ModuleValue(path, name, viewed_as_real(leaf).detach().cpu().numpy().copy())


def _name(path: str, call: int, index: int, count: int) -> str:
    return path + (f"#{call}" if call > 1 else "") + (f"[{index}]" if count > 1 else "")
