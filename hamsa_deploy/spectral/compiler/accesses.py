"""Which attributes of its modules a model reads, and which it only assigns, seen while it runs.

`self.index = list(range(n))` in forward changes the module, but an attribute that each call assigns before anything
reads it carries nothing from one call to the next. Seeing that costs nothing; running the model twice more, and
comparing, costs as much as the model does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn

from hamsa_deploy.spectral.compiler.state import elsewhere

# Attributes through which all others, or all buffers, are read.
_ALL = frozenset({"__dict__", "_buffers"})
# What PyTorch itself does with them at each access finds one attribute.
_BY_NAME = frozenset(function.__code__ for function in (nn.Module.__getattr__, nn.Module.__setattr__))
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Tensor, torch.device, torch.dtype)
_CONTAINERS = (list, tuple, dict, torch.Size)


class Accesses:
    """Active around a run of a model: what its modules' attributes are first used for.

    nn.Module has methods of this class meanwhile, so that one thread at a time may have it.

    Args:
        model: that runs.
        held: by id, the containers and objects that it has before, as `state_of` finds them.
    """

    def __init__(self, model: nn.Module, held: Mapping[int, Any]) -> None:
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._held = held
        self._assigned: dict[tuple[int, str], bool] = {}  # whether its first use was an assignment
        self._read_whole: set[int] = set()

    def __enter__(self) -> Accesses:
        self._setattr: Callable[..., None] = nn.Module.__setattr__
        read, wrote, assign = self._read, self._wrote, self._setattr

        def reading(module: nn.Module, name: str) -> Any:
            read(module, name, sys._getframe(1))
            return super(nn.Module, module).__getattribute__(name)

        def writing(module: nn.Module, name: str, value: Any) -> None:
            wrote(module, name)
            assign(module, name, value)

        nn.Module.__getattribute__ = reading  # type: ignore[method-assign,assignment]
        nn.Module.__setattr__ = writing  # type: ignore[method-assign,assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del nn.Module.__getattribute__
        nn.Module.__setattr__ = self._setattr  # type: ignore[method-assign]

    def _read(self, module: nn.Module, name: str, reader: FrameType) -> None:
        if name in _ALL and reader.f_code not in _BY_NAME:
            self._read_whole.add(id(module))
        self._assigned.setdefault((id(module), name), False)

    def _wrote(self, module: nn.Module, name: str) -> None:
        self._assigned.setdefault((id(module), name), True)

    def only_assigned(self, paths: Iterable[str]) -> bool:
        """Whether all of these are assigned before anything reads them, to what was not there before the run.

        Args:
            paths: of state that the run has changed, as `state_of` has them.
        """
        return all(map(self._is_only_assigned, paths))

    def _is_only_assigned(self, path: str) -> bool:
        owner = max((each for each in self._modules if not each or path.startswith(f"{each}.")), key=len)
        name = re.split(r"[.\[]", path.removeprefix(f"{owner}.") if owner else path)[0]
        module = self._modules[owner]
        if id(module) in self._read_whole or not self._assigned.get((id(module), name), False):
            return False
        own_way = any("__getattribute__" in vars(kind) for kind in type(module).__mro__[:-1])
        of_class = hasattr(type(module), name) or name in elsewhere(type(module))
        held = {**module._buffers, **vars(module)}
        return not own_way and not of_class and name in held and self._is_new(held[name])

    def _is_new(self, value: Any) -> bool:
        """Whether it is made of numbers, text and tensors, in containers that nothing had a hold of before: the change
        of another's container could be read through that other."""
        if isinstance(value, _PLAIN):
            return True
        if type(value) not in _CONTAINERS or id(value) in self._held:
            return False
        return all(map(self._is_new, value.values() if isinstance(value, dict) else value))
