"""CUDA's runtime, through NVIDIA's cuda-python: which GPU is here, its memory, its streams and its graphs.

Nothing else in this package calls CUDA. What is allocated here is freed once: by `free()`, or when its last reference
goes. Freeing raises nothing, because nothing can be done about a GPU that fails at that.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hamsa_runtime.devices import only_name
from hamsa_runtime.errors import BuildError, HamsaError, MissingError, nearest
from hamsa_runtime.interrupts import interruptible


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        index: as CUDA counts them.
        name: such as "Orin" or "NVIDIA GeForce RTX 4090".
        compute_capability: such as "8.7".
        free_bytes, total_bytes: of its memory; on a Jetson the memory is the CPU's as well.
    """

    index: int
    name: str
    compute_capability: str
    free_bytes: int
    total_bytes: int


class Advice(NamedTuple):
    """What an error code of CUDA means for whoever sees it."""

    error: type[HamsaError]
    cause: str
    fix: str


NO_DRIVER = Advice(
    MissingError,
    "no NVIDIA driver is installed, or it cannot be reached from this container",
    "nvidia-smi shows driver and GPUs; a container needs --gpus all (on a Jetson: --runtime nvidia)",
)
NO_GPU = Advice(MissingError, "no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it", "nvidia-smi shows the GPUs")
FULL = Advice(
    BuildError,
    "the GPU's memory is full; a Jetson shares it with the CPU",
    "close other programs, use fewer threads, or build for a smaller largest batch",
)
ADVICE = {
    "cudaErrorInsufficientDriver": NO_DRIVER,
    "cudaErrorStubLibrary": NO_DRIVER,
    "cudaErrorInitializationError": NO_DRIVER,
    "cudaErrorSystemDriverMismatch": NO_DRIVER,
    "cudaErrorCompatNotSupportedOnDevice": NO_DRIVER,
    "cudaErrorCallRequiresNewerDriver": NO_DRIVER,
    "cudaErrorNoDevice": NO_GPU,
    "cudaErrorInvalidDevice": NO_GPU,
    "cudaErrorDevicesUnavailable": NO_GPU,
    "cudaErrorMemoryAllocation": FULL,
}
FAILED = Advice(BuildError, "", "")


@functools.cache
def runtime() -> Any:
    """The module `cuda.bindings.runtime`. It can be imported where there is no driver; its calls then fail.

    Raises:
        MissingError: cuda-python is not installed.
    """
    try:
        with interruptible():
            from cuda.bindings import runtime as module
    except ImportError as error:
        raise MissingError(
            f"the package cuda-python cannot be imported: {error}",
            expected="cuda-python 12.6.2 or newer, of the CUDA version that the driver is for",
            fix="pip install 'hamsa-runtime[tensorrt]', or on JetPack 6: pip install 'cuda-python<13'",
        ) from error
    return module


def call(name: str, *arguments: Any) -> Any:
    """Call a function of CUDA's runtime: its result, or a tuple of them, without the error code.

    Raises:
        MissingError: no driver, or no GPU.
        BuildError: any other error code.
    """
    code, *results = getattr(runtime(), name)(*arguments)
    check(code, name)
    return results[0] if len(results) == 1 else tuple(results)


def check(code: Any, name: str) -> None:
    """Raise the error for an error code that the function `name` has returned, with CUDA's name and text for it."""
    if int(code) == 0:
        return
    (_, symbol), (_, text) = runtime().cudaGetErrorName(code), runtime().cudaGetErrorString(code)
    advice = ADVICE.get(symbol.decode(), FAILED)
    if symbol == b"cudaErrorInsufficientDriver":
        advice = _driver_advice(*versions())
    raise advice.error(f"{name}: {symbol.decode()} ({text.decode()})", cause=advice.cause, fix=advice.fix)


def versions() -> tuple[tuple[int, int], tuple[int, int]]:
    """The CUDA version that the driver is for, (0, 0) without a driver, and that of cuda-python: (12, 6)."""
    numbers = (runtime().cudaDriverGetVersion()[1], runtime().cudaRuntimeGetVersion()[1])
    driver, package = ((number // 1000, number % 1000 // 10) for number in numbers)
    return driver, package


def _driver_advice(driver: tuple[int, int], package: tuple[int, int]) -> Advice:
    if driver == (0, 0):
        return NO_DRIVER
    return Advice(
        MissingError,
        f"the driver is for CUDA {driver[0]}.{driver[1]}, cuda-python for {package[0]}.{package[1]}",
        f"a newer driver, or pip install 'cuda-python<{driver[0] + 1}'",
    )


def gpu_at(index: int) -> Gpu:
    """One GPU of this machine, as CUDA counts them, with the memory that is free now.

    Raises:
        MissingError: there is none, or not that many, or the driver or cuda-python is missing.
    """
    count = call("cudaGetDeviceCount")
    if not 0 <= index < count:
        names = ", ".join(f"GPU.{each}" for each in range(count)) or "none"
        raise MissingError(f"no GPU number {index} here", expected=f"one of {names}")
    properties = call("cudaGetDeviceProperties", index)
    with current(index):
        free, total = call("cudaMemGetInfo")
    capability = f"{properties.major}.{properties.minor}"
    return Gpu(index, properties.name.decode().rstrip("\0"), capability, int(free), int(total))


def index_of(device: str) -> int:
    """0 for "GPU", 1 for "GPU.1".

    Raises:
        InputError: it is no name of one device.
        MissingError: the name is not one of a GPU.
    """
    name = only_name(device, "TensorRT")
    if name.kind != "GPU" or (name.which and not name.which.isdecimal()):
        raise MissingError(
            f"TensorRT has no device {device!r}",
            expected="GPU, or GPU.1 for the second one",
            fix=nearest(device, ["GPU", "GPU.1"]) or "Engine(folder, backend='onnxruntime') runs the bundle on the CPU",
        )
    return int(name.which or 0)


@contextlib.contextmanager
def current(index: int) -> Iterator[None]:
    """Makes a GPU this thread's current one for the block, and then the one before again."""
    before = call("cudaGetDevice")
    call("cudaSetDevice", index)
    try:
        yield
    finally:
        if before != index:
            call("cudaSetDevice", before)


def release(name: str, handle: Any) -> None:
    """Call a function that frees something."""
    getattr(runtime(), name)(handle)


def _freeing(owner: object, name: str, handle: Any) -> weakref.finalize[Any, Any]:
    """What frees `handle` once: when it is called, or when its owner goes, but not at the process's end."""
    finalizer = weakref.finalize(owner, release, name, handle)
    finalizer.atexit = False  # CUDA may be unloaded by then, and the system takes the memory back
    return finalizer


class Memory:
    """Memory of the current GPU.

    Attributes:
        address: on the device.
        nbytes: its size.
        free: frees it, once.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.address = int(call("cudaMalloc", max(nbytes, 1)))
        self.free = _freeing(self, "cudaFree", self.address)


class Pinned:
    """Page-locked memory of the host, which the GPU copies from and to by itself.

    Attributes:
        address: on the host.
        bytes: all of it, uint8. Not to be used after `free`.
        free: frees it, once.
    """

    def __init__(self, nbytes: int) -> None:
        size = max(nbytes, 1)
        self.address = int(call("cudaMallocHost", size))
        self.bytes: np.ndarray = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.address))
        self.free = _freeing(self, "cudaFreeHost", self.address)


class Graph:
    """Work that was captured on a stream, to be launched as one piece, any number of times."""

    def __init__(self, graph: Any) -> None:
        self._executable = call("cudaGraphInstantiate", graph, 0)
        self.free = _freeing(self, "cudaGraphExecDestroy", self._executable)

    def launch(self, stream: Stream) -> None:
        """Enqueue all of it."""
        call("cudaGraphLaunch", self._executable, stream.handle)


class Stream:
    """A queue of work for the current GPU, which does not wait for the default stream.

    Attributes:
        handle: for CUDA and TensorRT.
        free: destroys it, once.
    """

    def __init__(self) -> None:
        self.handle = call("cudaStreamCreateWithFlags", runtime().cudaStreamNonBlocking)
        self.free = _freeing(self, "cudaStreamDestroy", self.handle)

    def copy(self, target: int, source: int, nbytes: int, kind: str) -> None:
        """Enqueue a copy; `kind` is "HostToDevice", "DeviceToHost" or "DeviceToDevice"."""
        direction = getattr(runtime().cudaMemcpyKind, f"cudaMemcpy{kind}")
        call("cudaMemcpyAsync", target, source, nbytes, direction, self.handle)

    def synchronize(self) -> None:
        """Wait until all of its work is done."""
        call("cudaStreamSynchronize", self.handle)

    def captured(self, enqueue: Callable[[], None]) -> Graph:
        """What `enqueue` puts on this stream, as a graph; it is not run.

        Other threads may go on using CUDA meanwhile: the mode forbids unsafe calls to this thread only.
        """
        call("cudaStreamBeginCapture", self.handle, runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            enqueue()
        except BaseException:
            code, unfinished = runtime().cudaStreamEndCapture(self.handle)
            if int(code) == 0:
                release("cudaGraphDestroy", unfinished)
            raise
        graph = call("cudaStreamEndCapture", self.handle)
        try:
            return Graph(graph)
        finally:
            release("cudaGraphDestroy", graph)
