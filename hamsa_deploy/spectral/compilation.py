"""What one compilation keeps while it interprets the user's graph: constants, facts, the node at work.

A run that records the real graph makes each constant a placeholder of it when that is first used. Where torch.export
has to trace the graph, two runs use it, one after the other: the *dry run* goes over fake tensors to find out which
constants the real graph needs; the second is traced, with those constants as buffers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import torch
import torch.fx.traceback as fx_traceback
from torch import nn

from hamsa_deploy.spectral.complex_linear import Layer, LinearForm, cheapest
from hamsa_deploy.spectral.provenance import module_path
from hamsa_runtime.dft.costs import Rates
from hamsa_runtime.dft.factorisations import Plan, framed_plan_for, plan_for
from hamsa_runtime.manifest import ComplexLinear, Scan, Transform

T = TypeVar("T")

COMPUTED = "constant_"  # what the names of constants begin with that are no weights of the user's model

LARGE = 2**20  # bytes from which on a part of a constant is cut from it: below, an operator costs more than its memory

# The dispatch modes that torch.export traces with belong to a thread. What is computed on this other thread is
# computed at once, in plain eager PyTorch, and leaves no trace in the graph.
_eager: ThreadPoolExecutor


def _other_thread() -> None:
    global _eager
    _eager = ThreadPoolExecutor(1, thread_name_prefix="hamsa-constants")


_other_thread()
if hasattr(os, "register_at_fork"):  # a forked child has the pool, but not its thread
    os.register_at_fork(after_in_child=_other_thread)


def eagerly(compute: Callable[[], T]) -> T:
    """Run `compute` outside of any tracing and return its result."""
    return _eager.submit(torch.no_grad()(compute)).result()


class Stored(NamedTuple):
    """Where a constant of the real graph is found: in which buffer, and what (axis, start, length) cuts from that."""

    name: str
    cuts: tuple[tuple[int, int, int], ...]


class Compilation:
    """The state of one interpretation.

    Attributes:
        module: carries the parameters and the computed constants of the real graph.
        rates: of the engine that the graph is shaped for.
        plans: the plan of each transform length, as far as it has been chosen.
        native: whether all other lengths are left to the engine's own transform.
        node: the node of the user's graph at work.
        placeholder: what stands for a constant of that name in the graph that is recorded; by default the constant.
        transforms, scans, linears: those emitted, as the manifest lists them.
        forms: of sizes of scans (scan.forms) and of complex linear layers, that are not left to the cost model.
    """

    def __init__(
        self,
        module: nn.Module,
        rates: Rates,
        plans: Mapping[Any, Any],
        native: bool = False,
        placeholder: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, value: value,
    ) -> None:
        self.module, self.rates, self.native, self.placeholder = module, rates, native, placeholder
        self.node: torch.fx.Node | None = None
        self.transforms: list[Transform] = []
        self.scans: list[Scan] = []
        self.linears: list[ComplexLinear] = []
        self.plans: dict[int, Plan] = {key: plan for key, plan in plans.items() if isinstance(key, int)}
        self.forms = {key: form for key, form in plans.items() if not isinstance(key, int)}
        self._given = dict(self.plans)
        # Facts by id; the reference to the value keeps the id from being used again.
        self._nonnegative: dict[int, Any] = {}
        self._zero: dict[int, Any] = {}
        self._large: list[tuple[str, torch.Tensor]] = []

    @property
    def module_path(self) -> str:
        """Of the module of the user's model whose node is at work."""
        return module_path(self.node) if self.node is not None else ""

    def store(self, value: torch.Tensor, dtype: torch.dtype) -> Stored:
        """Make a constant a buffer of the real graph; equal ones are stored once for the whole model.

        A large one that is a part of another, as both lie in the user's weights (the first modes of them), is cut from
        that one where it is used: a model may take many such parts.
        """

        def contiguous() -> tuple[str, torch.Tensor]:
            copied = value.detach().to(dtype).clone(memory_format=torch.contiguous_format).resolve_conj().resolve_neg()
            return f"{COMPUTED}{_digest(copied)}", copied

        is_large = value.dtype == dtype and value.nbytes >= LARGE
        for name, whole in self._large if is_large else ():
            if (cuts := _cuts(value, whole)) is not None:
                return Stored(name, cuts)
        name, copied = eagerly(contiguous)
        if not hasattr(self.module, name):
            self.module.register_buffer(name, copied)
        if is_large:
            self._large.append((name, value))
        return Stored(name, ())

    def stored(self, place: Stored) -> torch.Tensor:
        """A constant of the real graph, for the node at work."""
        value = self.placeholder(place.name, getattr(self.module, place.name))
        for axis, start, length in place.cuts:
            value = torch.narrow(value, axis, start, length)
        return value

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
        return self.placeholder(name, getattr(owner, leaf))

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

    def framed_plan(self, n: int, hop: int, columns: int | None) -> Plan:
        """The plan for frames of n samples, which are cut out unless it is dense. Their spectra are in natural order,
        so that it may be another than that of other transforms of the length.

        Args:
            columns: how many frames there are; None where that varies.
        """
        if n in self._given:
            return self._given[n]
        if self.native:
            dense = Plan(n, (n,))
            return dense if plan_for(n).is_dense else Plan(n, (n,), native=True)
        return framed_plan_for(n, hop, self.rates, columns)

    @property
    def listed(self) -> dict[str, list[Any]]:
        """What is computed in forms of ours, by the names of lists in a manifest."""
        return {"transforms": self.transforms, "scans": self.scans, "linears": self.linears}

    def linear_form(self, layer: Layer) -> LinearForm:
        """The form of a complex linear layer, which is listed with it."""
        form: LinearForm = self.forms.get(layer) or cheapest(layer, self.rates)
        self.linears.append(ComplexLinear(self.module_path, *layer, form.name))
        return form


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
    """Of a contiguous tensor."""
    digest = hashlib.sha256(f"{value.dtype}{tuple(value.shape)}".encode())
    data: Any = value.reshape(-1).view(torch.uint8).numpy()
    digest.update(data)
    return digest.hexdigest()[:16]


def _cuts(part: torch.Tensor, whole: torch.Tensor) -> tuple[tuple[int, int, int], ...] | None:
    """What to cut from a view of some memory to get another view of it; None where that is no such part."""
    alike = part.dtype == whole.dtype and part.stride() == whole.stride() and part.is_neg() == whole.is_neg()
    same = part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    rest = int(part.storage_offset()) - int(whole.storage_offset())
    if not alike or not same or rest < 0 or part.is_conj() or whole.is_conj() or 0 in part.stride():
        return None
    starts = {}
    for axis in sorted(range(part.ndim), key=part.stride, reverse=True):
        starts[axis], rest = divmod(rest, part.stride(axis))
        if starts[axis] + part.shape[axis] > whole.shape[axis]:
            return None
    cuts = tuple((axis, starts[axis], size) for axis, size in enumerate(part.shape) if size < whole.shape[axis])
    return None if rest else cuts
