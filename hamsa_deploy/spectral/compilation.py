"""What one compilation keeps while it interprets the user's graph: constants, facts, the node at work.

Two runs use it, one after the other. The *dry run* goes over fake tensors to find out which constants the real graph
needs; the second is traced by torch.export, with those constants as buffers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.fx.traceback as fx_traceback
from torch import nn

from hamsa_deploy.spectral.costs import Rates
from hamsa_deploy.spectral.factorisations import Plan, plan_for
from hamsa_runtime.manifest import Transform

T = TypeVar("T")

# The dispatch modes that torch.export traces with belong to a thread. What is computed on this other thread is
# computed at once, in plain eager PyTorch, and leaves no trace in the graph.
_eager: ThreadPoolExecutor


def _other_thread() -> None:
    global _eager
    _eager = ThreadPoolExecutor(1, thread_name_prefix="hamsa-constants")


_other_thread()
os.register_at_fork(after_in_child=_other_thread)  # a forked child has the pool, but not its thread


def eagerly(compute: Callable[[], T]) -> T:
    """Run `compute` outside of any tracing and return its result."""
    return _eager.submit(torch.no_grad()(compute)).result()


class Compilation:
    """The state of one interpretation.

    Attributes:
        module: carries the parameters and the computed constants of the real graph.
        rates: of the engine that the graph is shaped for.
        plans: the plan of each transform length, as far as it has been chosen.
        native: whether all other lengths are left to the engine's own transform.
        node: the node of the user's graph at work.
        transforms: those emitted, as the manifest lists them.
    """

    def __init__(self, module: nn.Module, rates: Rates, plans: Mapping[int, Plan], native: bool = False) -> None:
        self.module, self.rates, self.native = module, rates, native
        self.node: torch.fx.Node | None = None
        self.transforms: list[Transform] = []
        self.plans: dict[int, Plan] = dict(plans)
        # Facts by id; the reference to the value keeps the id from being used again.
        self._nonnegative: dict[int, Any] = {}
        self._zero: dict[int, Any] = {}

    def buffer(self, value: torch.Tensor) -> torch.Tensor:
        """A constant of the real graph; equal ones are stored once for the whole model."""
        key = eagerly(lambda: _digest(value))
        name = f"constant_{key}"
        if not hasattr(self.module, name):
            self.module.register_buffer(name, value)
        return getattr(self.module, name)

    def parameter(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """A parameter or buffer of the user's model, under its own name."""
        owner = self.module
        *path, leaf = name.split(".")
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        if not hasattr(owner, leaf):
            if isinstance(value, nn.Parameter):
                owner.register_parameter(leaf, value)
            else:
                owner.register_buffer(leaf, value)
        return getattr(owner, leaf)

    def mark_nonnegative(self, value: Any) -> None:
        self._nonnegative[id(value)] = value

    def is_nonnegative(self, value: Any) -> bool:
        return id(value) in self._nonnegative

    def mark_zero(self, value: Any) -> None:
        self._zero[id(value)] = value

    def is_zero(self, value: Any) -> bool:
        return id(value) in self._zero

    def plan(self, n: int, columns: int) -> Plan:
        """The plan for a length; one for the whole model, so that spectra of one length fit each other."""
        if n not in self.plans:
            self.plans[n] = Plan(n, (n,), native=True) if self.native else plan_for(n, self.rates, columns)
        return self.plans[n]


_current: ContextVar[Compilation] = ContextVar("compilation")


def current() -> Compilation:
    return _current.get()


def current_or_none() -> Compilation | None:
    """None while nothing is interpreted."""
    return _current.get(None)


@contextmanager
def tracing(state: Compilation) -> Iterator[Compilation]:
    """Make `state` the current compilation."""
    token = _current.set(state)
    try:
        yield state
    finally:
        _current.reset(token)


def deferred(value: Any) -> Any:
    """A function to be called later, then on behalf of the node at work now: its operators keep that node's
    module path and source line. Anything else as it is."""
    if not callable(value) or isinstance(value, torch.Tensor) or hasattr(value, "__torch_function__"):
        return value
    node = current().node

    def run(*args: Any) -> Any:
        if node is None:
            return value(*args)
        state = current()
        now, state.node = state.node, node
        try:
            with fx_traceback.set_current_meta(node):
                return value(*args)
        finally:
            state.node = now

    return run


def _digest(value: torch.Tensor) -> str:
    header = f"{value.dtype}{tuple(value.shape)}".encode()
    data = value.detach().clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(header + data.tobytes()).hexdigest()[:16]
