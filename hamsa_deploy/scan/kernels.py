"""A Triton in which kernels can be defined, and none can be called.

The module of a kernel asks many things of Triton while it is imported: decorators with and without arguments, types,
configurations. Whatever it is, it gets something; what it has decorated is a `Kernel`, whose call is an error that
names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hamsa_deploy.spectral.provenance import users_line
from hamsa_runtime.errors import MissingError

VERSION = "3.0.0"  # repositories choose between spellings of Triton 2 and 3 by it
OPERATORS = "torch.ops.hamsa.selective_scan, ssd or linear_recurrence"


def no_stand_in(name: str, kind: str, fix: str) -> MissingError:
    """The refusal of a call, with the line that made it."""
    return MissingError(
        f"{name}{users_line()} cannot run here",
        expected="PyTorch, or what hamsa_deploy.without_extensions() has stand-ins for",
        cause=f"it is {kind} without a stand-in",
        fix=fix,
    )


class Kernel:
    """A function for a GPU, decorated by Triton."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.fn = function
        self.__name__ = getattr(function, "__name__", "kernel")
        self.__module__ = getattr(function, "__module__", "triton")
        self.configs: list[Any] = []  # which some look into

    def __getitem__(self, grid: Any) -> Kernel:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise no_stand_in(
            f"{self.__module__}.{self.__name__}",
            "a Triton kernel",
            f"in the model, what computes the same on the processor (many do where x.is_cuda is false), or {OPERATORS}",
        )

    run = warmup = __call__


class Anything:
    """Whatever is found in Triton, by its dotted name."""

    __all__ = ()

    def __init__(self, name: str, configs: Sequence[Any] = ()) -> None:
        self._name, self._configs = name, configs

    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            return VERSION
        if name.startswith("__"):
            raise AttributeError(name)
        return _FUNCTIONS.get(f"{self._name}.{name}") or Anything(f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a decorator it makes a kernel; with arguments it is one."""
        if len(args) != 1 or kwargs or not callable(args[0]):
            return Anything(self._name, kwargs.get("configs", ()))
        kernel = args[0] if isinstance(args[0], Kernel) else Kernel(args[0])
        kernel.configs += self._configs
        return kernel


class Config:
    """One way to launch a kernel."""

    def __init__(self, kwargs: dict[str, Any] | None = None, num_warps: int = 4, num_stages: int = 2, **rest: Any):
        self.kwargs, self.num_warps, self.num_stages = kwargs or {}, num_warps, num_stages
        self.__dict__.update(rest)


def cdiv(a: int, b: int) -> int:
    """The quotient, rounded up."""
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    """The least that is not below n."""
    return 1 << (n - 1).bit_length()


_FUNCTIONS: dict[str, Any] = {"triton.Config": Config, "triton.cdiv": cdiv, "triton.next_power_of_2": next_power_of_2}
