"""Code that takes a GPU for granted, on a machine or with tensors that have none: what of it means nothing is left out.

`with torch.cuda.device(x.device):` around a call chooses a GPU, and is refused where x lies on the processor;
`model.cuda()` and `torch.zeros(3, device="cuda")` in a factory are where a GPU is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Replaced:
    """An attribute that is another one while any thread needs that, and its own again afterwards."""

    def __init__(self, owner: Any, name: str, replacement: Any) -> None:
        self._owner, self._name, self._replacement = owner, name, replacement
        self._lock, self._users = threading.Lock(), 0
        self.original = getattr(owner, name)

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self.original = getattr(self._owner, self._name)
                setattr(self._owner, self._name, self._replacement)
            self._users += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                setattr(self._owner, self._name, self.original)


class _AnyDevice(torch.cuda.device):
    """torch.cuda.device, which does nothing for a device that is no GPU."""

    def __init__(self, device: Any) -> None:
        self.is_gpu = _is_gpu(device)
        if self.is_gpu:
            super().__init__(device)

    def __enter__(self) -> None:
        if self.is_gpu:
            super().__enter__()

    def __exit__(self, *error: Any) -> Any:
        return super().__exit__(*error) if self.is_gpu else False


def _is_gpu(device: Any) -> bool:
    """Of a device, its name, or its index; a tensor on the processor has None."""
    if isinstance(device, str | torch.device):
        return torch.device(device).type != "cpu"
    return device is not None or torch.cuda.is_available()


# While a model runs whose tensors may all lie on the processor.
DEVICES = Replaced(torch.cuda, "device", _AnyDevice)


class OnTheProcessor(TorchFunctionMode):
    """While a model is built where there is no GPU: what it would put on one stays on the processor."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.cuda.is_available():
            return func(*args, **kwargs)
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.to:
            args = (args[0], *map(_near, args[1:]))
        if "device" in kwargs:
            kwargs = kwargs | {"device": _near(kwargs["device"])}
        return func(*args, **kwargs)


def _near(device: Any) -> Any:
    is_cuda = isinstance(device, str | torch.device) and str(device).partition(":")[0] == "cuda"
    return "cpu" if is_cuda else device
