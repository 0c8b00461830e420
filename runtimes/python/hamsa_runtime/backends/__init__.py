"""The engines that can run a bundle: one file each, imported when asked for.

Adding one: a module with a class `Runner` that fits the `Backend` protocol, named like the target that it runs; one
that is called otherwise, or runs others as well, has a line in `vocabulary.ENGINES`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from hamsa_runtime.errors import InputError, MissingError, unknown_name
from hamsa_runtime.interrupts import interruptible
from hamsa_runtime.vocabulary import ENGINES, TARGETS, EngineName

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from hamsa_runtime.manifest import Manifest
    from hamsa_runtime.tensorrt.dlpack import DeviceArray

__all__ = [
    "BACKENDS",
    "TARGETS",
    "Backend",
    "OnDevice",
    "Operator",
    "Settings",
    "Timed",
    "backend_for",
    "check_device",
    "module_of_node",
    "no_cuda_graph",
    "no_throughput",
]


@dataclass(frozen=True)
class Settings:
    """How a model is to be run.

    Attributes:
        device: see `hamsa_runtime.devices`; None for the backend's first choice.
        threads: CPU threads for one inference; None for the backend's choice.
        cuda_graph: launch an inference as one CUDA graph.
        throughput: prefer many inferences at once over the speed of one.
    """

    device: str | None = None
    threads: int | None = None
    cuda_graph: bool = False
    throughput: bool = False


class Operator(NamedTuple):
    """One operator as the engine runs it.

    Attributes:
        kind: as the engine calls it, such as "FullyConnected" or "MatMulIntegerToFloat".
        precision: the type of number that it computes with: "f32", "f16", "bf16", "i8", "u8", "i64"...
        names: of the nodes of the model that it does the work of, with what the engine has added to them.
    """

    kind: str
    precision: str
    names: tuple[str, ...]


class Timed(NamedTuple):
    """How long one operator takes in one inference: the median of several, in milliseconds."""

    operator: Operator
    milliseconds: float


class Backend(Protocol):
    """One loaded model. `Engine` holds a lock around every call, except around `infer` of a parallel one.

    Attributes:
        parallel: how many threads make sense to call `infer` at once; with 1, only one may. Where there are more, any
            number may, and `close` waits for them.
        batch_limits: smallest and largest batch that one call of `infer` takes, where it is dynamic; None for any.

    Raises:
        InputError: a setting that this backend does not have.
        MissingError: the device or the precision cannot be had; nothing else is ever put in its place.
        BuildError: the engine could not load the model, with what it said.
    """

    parallel: int
    batch_limits: tuple[int, int] | None

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None: ...

    @staticmethod
    def check_device(device: str) -> None:
        """Fails where this machine has no such device, before there is a model to be run on it."""
        ...

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        ...

    def describe(self) -> dict[str, str]:
        """What runs, in which precision, on which device."""
        ...

    def operators(self) -> list[Operator]:
        """What was compiled, operator by operator, for a batch of one where the batch is dynamic."""
        ...

    def times(self, inputs: dict[str, np.ndarray], runs: int) -> list[Timed]:
        """The engine's own times of its operators, in a second copy of the model: measuring slows it down."""
        ...

    def close(self) -> None:
        """Frees the engine's memory."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """A backend whose results can stay on the GPU."""

    def infer_on_device(self, inputs: dict[str, np.ndarray]) -> dict[str, DeviceArray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        ...


# By name; the first that runs a target is that target's default.
BACKENDS = ENGINES


def backend_for(target: str, name: str | None) -> type[Backend]:
    """The backend called `name`, or the default one for a target; its engine is imported here.

    Raises:
        InputError: no backend has that name, or it does not run this target.
        MissingError: the engine's package is not installed; the message names the extra.
    """
    able = [each for each, entry in BACKENDS.items() if target in entry.runs]
    name = able[0] if name is None else name
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    if name not in able:
        raise InputError(f"backend {name!r} does not run bundles for {target!r}", expected="one of " + ", ".join(able))
    return _imported(name, BACKENDS[name])


def check_device(target: str, device: str | None) -> None:
    """Fail early where a device that was asked for is not here, for the engine that a bundle is made for.

    Raises:
        InputError: it is no name of a device.
        MissingError: the engine, or the device, is not here.
    """
    if device is not None:
        backend_for(target, None).check_device(device)


def module_of_node(name: str) -> str | None:
    """Path in the user's model of the node that an engine calls `name`; empty for the model itself.

    hamsa-export calls nodes `module/node`, and engines add to that. None: this is no such name.
    """
    module, slash, _ = name.partition("/")
    return module if slash else None


def no_cuda_graph(name: str, settings: Settings) -> None:
    """Raise InputError if a backend without CUDA graphs is asked for them."""
    if settings.cuda_graph:
        raise InputError(f"the {name} backend has no CUDA graphs", expected="cuda_graph=False", fix="--to tensorrt")


def no_throughput(name: str, settings: Settings) -> None:
    """Raise InputError if a backend that runs in one way only is asked for another."""
    if settings.throughput:
        raise InputError(
            f"the {name} backend has no performance hints",
            expected='hint="latency", which is how it runs',
            fix="one engine for each thread, each with threads=1, on a CPU; or a larger batch",
        )


def _imported(name: str, entry: EngineName) -> type[Backend]:
    try:
        with interruptible():
            runner: type[Backend] = importlib.import_module(entry.module).Runner
    except ImportError as error:
        raise MissingError(
            f"the {name} backend cannot be imported: {error}",
            expected=f"the package {name}",
            fix=f"pip install 'hamsa-runtime[{entry.extra}]'",
        ) from error
    return runner
