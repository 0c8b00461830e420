"""Importing repositories of Mamba models, unmodified, where what they compile for GPUs is not installed.

    with hamsa_deploy.without_extensions():
        from vmamba import VSSM
        model = VSSM()

    import selective_scan_cuda --not found--> a module of stand-ins, for the importing module alone
    def layer_norm_fn(...), around a Triton kernel --its file imported--> a stand-in of that name in its place

An import is answered where Python asks for it, in `__import__`, after everything else has failed: what is installed, or
lies on the path, wins. Nothing is put into sys.modules, so that nobody else can find it: other threads, torch's
has_triton(), transformers, all of which remember what they have once found.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

import torch

from hamsa_deploy.scan.compiled import COMPILED, KERNELS, PYTHON, Function, noted
from hamsa_deploy.scan.cuda import DEVICES, OnTheProcessor, Replaced
from hamsa_deploy.scan.kernels import OPERATORS, Anything, no_stand_in
from hamsa_deploy.spectral.provenance import line_of_error
from hamsa_runtime.errors import MissingError
from hamsa_runtime.interrupts import interruptible

# These look for what they could use, and are told the truth.
PROBES = frozenset({"accelerate", "torch", "torchvision", "transformers", "hamsa_deploy"})
# mamba_ssm before 2.0 imports names of transformers 4; what they stand for in 5.
RENAMED = dict.fromkeys(("GreedySearchDecoderOnlyOutput", "SampleDecoderOnlyOutput"), "GenerateDecoderOnlyOutput")
# What is installed wins, and cannot be traced.
WHERE_MISSING = "the export where it is not installed: hamsa_deploy.without_extensions() has stand-ins there"
SOURCES = "pip download --no-deps --no-binary :all: {0}, and put its unpacked Python sources on PYTHONPATH"


@contextlib.contextmanager
def without_extensions() -> Iterator[None]:
    """Import and build a model without the CUDA extensions and Triton kernels that its repository wants.

    What is stood in for: selective_scan_cuda (and _core, _oflex, _nrow, _ndstate), causal_conv1d, the scans and norms
    of mamba_ssm, and functions of these names in a repository's own files that launch Triton kernels. The model runs on
    the CPU then, its scans as operators that every target knows; a bundle's manifest lists the stand-ins that it
    called. A kernel without a stand-in is an error once it is called.

    In this thread, and only meanwhile; what is installed is used as it is. Where there is no GPU, what the model is put
    on one for stays on the CPU.

    Raises:
        MissingError: a module that is not installed, and has no stand-in; names it, the line, and the way out.
    """
    scope = _Imports()
    token = _SCOPE.set(scope)
    try:
        with interruptible(), _IMPORT, DEVICES, OnTheProcessor():
            yield
    except ImportError as error:
        if (missing := _missing(error)) is None:
            raise
        raise missing from error
    finally:
        scope.finish(-1)
        _SCOPE.reset(token)


class _Imports:
    """The imports of one `without_extensions`."""

    def __init__(self) -> None:
        self._depth = 0
        # Modules that have got a stand-in, and how many imports deep they run.
        self._running: list[tuple[int, str]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While an import runs what it imports."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        self.finish(self._depth)

    def answer(self, error: ModuleNotFoundError, name: str, importer: str, fromlist: Any) -> Any:
        """What an import gets that has failed.

        Raises:
            ModuleNotFoundError: nothing stands in for it.
        """
        found = None if importer.partition(".")[0] in PROBES else _stand_in(name, error.name, fromlist)
        if found is None:
            raise error
        self._running.append((self._depth, importer))
        return found

    def finish(self, depth: int) -> None:
        """Put stand-ins for functions that launch kernels into the modules that have run by now, deeper than that."""
        done = {name for deep, name in self._running if deep > depth}
        self._running = [each for each in self._running if each[1] not in done]
        for name in done & set(sys.modules):
            _replace_launchers(sys.modules[name])
            _drop_views(sys.modules[name])


_SCOPE: ContextVar[_Imports | None] = ContextVar("scope", default=None)


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    scope = _SCOPE.get()
    if scope is None:
        return _IMPORT.original(name, globals, locals, fromlist, level)
    try:
        with scope.running():
            found = _IMPORT.original(name, globals, locals, fromlist, level)
    except ModuleNotFoundError as error:
        if level:
            raise
        return scope.answer(error, name, (globals or {}).get("__name__") or "", fromlist)
    return _with_old_names(found, fromlist)


_IMPORT = Replaced(builtins, "__import__", _import)


class StandIn(types.ModuleType):
    """In place of a module that is not installed."""

    def __getattr__(self, name: str) -> Any:
        full = f"{self.__name__}.{name}"
        if name.startswith("__"):
            raise AttributeError(name)
        if (function := _functions(self.__name__).get(name)) is not None:
            return function if isinstance(function, type) else noted(full, function)
        if (inside := _module(full)) is not None:
            return inside
        if self.__name__ in COMPILED:
            return _NoStandIn(full)
        raise AttributeError(f"{full} has no stand-in")


class _NoStandIn:
    """A function of a compiled module that may be imported, but not called."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise no_stand_in(self.__name__, "a compiled function", f"in the model, PyTorch in its place, or {OPERATORS}")


def _functions(module: str) -> Mapping[str, Function]:
    return COMPILED.get(module) or PYTHON.get(module) or {}


def _module(name: str) -> Any:
    if name.partition(".")[0] == "triton":
        return Anything(name)
    return StandIn(name) if name in COMPILED or name in PYTHON else None


def _stand_in(name: str, missing: str | None, fromlist: Any) -> Any:
    """What `import name` gets where `missing`, a part of it, is not there; None for nothing."""
    if missing is None or not f"{name}.".startswith(f"{missing}."):
        return None
    if _module(name) is None:
        return None
    if fromlist:
        return _module(name)
    top = name.partition(".")[0]
    return _module(top) if missing == top else None


def _replace_launchers(module: types.ModuleType) -> None:
    """In a module of a repository that has asked for Triton or an extension in vain."""
    for name, stand_in in KERNELS.items():
        original = vars(module).get(name)
        if isinstance(original, types.FunctionType) and original.__module__ == module.__name__:
            setattr(module, name, noted(f"{module.__name__}.{name}", _called_alike(original, stand_in)))


def _drop_views(module: types.ModuleType) -> None:
    """Of tensors as Triton wants them, `class tTensor(torch.Tensor)` with a shape of plain numbers and nothing else:
    no tracer of PyTorch makes one of a tensor."""
    for name, found in list(vars(module).items()):
        if isinstance(found, type) and found.__bases__ == (torch.Tensor,) and found.__module__ == module.__name__:
            own = {each for each in vars(found) if not each.startswith("__")}
            if own == {"shape"} and "__torch_function__" not in vars(found):
                setattr(module, name, lambda x: x)


def _called_alike(original: Function, stand_in: Function) -> Function:
    """The stand-in with the parameters of the original, whose order changes from version to version."""
    signature = inspect.signature(original)

    def called(*args: Any, **kwargs: Any) -> Any:
        return stand_in(**signature.bind(*args, **kwargs).arguments)

    called.__name__, called.__signature__ = original.__name__, signature  # type: ignore[attr-defined]
    return called


def _with_old_names(found: Any, fromlist: Any) -> Any:
    """For `from transformers.generation import GreedySearchDecoderOnlyOutput`: a view that has the old names, too."""
    if getattr(found, "__name__", "").partition(".")[0] != "transformers":
        return found
    if all(name not in RENAMED or hasattr(found, name) for name in fromlist or ()):
        return found
    view = types.ModuleType(found.__name__)
    for name in fromlist:
        kept = name if hasattr(found, name) else RENAMED.get(name, name)
        if hasattr(found, kept):
            setattr(view, name, getattr(found, kept))
    return view


def _missing(error: ImportError) -> MissingError | None:
    """Which module is not here, where it was asked for, and how to get it; None where it is something else."""
    top = (error.name or "").partition(".")[0]
    found = f"{error}{line_of_error(error)}"
    if top in _extensions() and top not in sys.modules:
        return MissingError(
            found,
            expected=f"all of {top}, of which only some functions have stand-ins",
            cause=f"{top} is not installed",
            fix=SOURCES.format(top),
        )
    if not isinstance(error, ModuleNotFoundError):
        return None
    return MissingError(
        found,
        expected=f"what the model's repository imports; stand-ins are there for {', '.join(_extensions())}",
        cause=f"{top or 'it'} is not installed, and has no stand-in",
        fix="install it; if it is a CUDA extension, put a module of its name on PYTHONPATH that computes the same with "
        f"PyTorch, or with {OPERATORS}",
    )


def _extensions() -> list[str]:
    return sorted({each.partition(".")[0] for each in (*COMPILED, *PYTHON)} | {"triton"})
