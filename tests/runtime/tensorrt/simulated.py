"""A GPU and TensorRT made of host memory, as far as `hamsa_runtime.tensorrt` uses them; for machines without either.

They check what the real ones only punish: every copy stays inside an allocation, nothing is freed twice or while an
execution context still points to it, no context runs twice at once, none is captured before its first run, and none is
changed after it was captured. What they cannot show is that the real ones behave like this; test_names.py and
test_on_a_gpu.py are for that.
"""

from __future__ import annotations

import ctypes
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

FACTOR = 3.0  # the model: y = 3 x


class Code(IntEnum):
    SUCCESS = 0
    FULL = 2
    NO_DRIVER = 35
    SICK = 700


NAMES = {
    Code.FULL: (b"cudaErrorMemoryAllocation", b"out of memory"),
    Code.NO_DRIVER: (b"cudaErrorInsufficientDriver", b"CUDA driver version is insufficient"),
    Code.SICK: (b"cudaErrorIllegalAddress", b"an illegal memory access was encountered"),
}


class Cuda:
    """`cuda.bindings.runtime`. `calls` counts what was called; `fails` maps a name to the code it is to return."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, driver: int = 12060, package: int = 12090, memory: int = 2**30) -> None:
        self.driver, self.package, self.limit = driver, package, memory
        self.calls: Counter[str] = Counter()
        self.fails: dict[str, Code] = {}
        self.memory: dict[int, Any] = {}
        self.handles: dict[int, Any] = {}  # streams and graphs that were not destroyed
        self.contexts: weakref.WeakSet[Any] = weakref.WeakSet()
        self._device = threading.local()
        self._next, self._lock = 1, threading.Lock()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("cuda") and callable(found):
            self.calls[name] += 1
            if name in self.fails:
                return lambda *_: (self.fails[name], None)
        return found

    def cudaGetErrorName(self, code: Code) -> tuple[Code, bytes]:
        return Code.SUCCESS, NAMES[code][0]

    def cudaGetErrorString(self, code: Code) -> tuple[Code, bytes]:
        return Code.SUCCESS, NAMES[code][1]

    def cudaDriverGetVersion(self) -> tuple[Code, int]:
        return Code.SUCCESS, self.driver

    def cudaRuntimeGetVersion(self) -> tuple[Code, int]:
        return Code.SUCCESS, self.package

    def cudaGetDeviceCount(self) -> tuple[Code, int]:
        return Code.SUCCESS, 2

    def cudaGetDeviceProperties(self, index: int) -> tuple[Code, Any]:
        return Code.SUCCESS, SimpleNamespace(name=b"Simulated\0\0", major=8, minor=7 + index)

    def cudaMemGetInfo(self) -> tuple[Code, int, int]:
        return Code.SUCCESS, self.limit // 2, self.limit

    def cudaGetDevice(self) -> tuple[Code, int]:
        return Code.SUCCESS, getattr(self._device, "index", 0)

    def cudaSetDevice(self, index: int) -> tuple[Code]:
        self._device.index = index
        return (Code.SUCCESS,)

    def cudaMalloc(self, nbytes: int) -> tuple[Code, int | None]:
        used = sum(map(ctypes.sizeof, self.memory.values()))
        if used + nbytes > self.limit:
            return Code.FULL, None
        buffer = (ctypes.c_uint8 * nbytes)()
        self.memory[ctypes.addressof(buffer)] = buffer
        return Code.SUCCESS, ctypes.addressof(buffer)

    cudaMallocHost = cudaMalloc

    def cudaFree(self, address: int) -> tuple[Code]:
        assert not any(address in context.addresses.values() for context in self.contexts), "still in use"
        del self.memory[address]  # a KeyError here is a double free
        return (Code.SUCCESS,)

    cudaFreeHost = cudaFree

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Code, int]:
        assert flags == self.cudaStreamNonBlocking
        return Code.SUCCESS, self._new(SimpleNamespace(work=None))

    def cudaStreamSynchronize(self, stream: int) -> tuple[Code]:
        assert self.handles[stream].work is None, "synchronised while capturing"
        return (Code.SUCCESS,)

    def cudaMemcpyAsync(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> tuple[Code]:
        for address in (target, source):
            assert any(
                start <= address and address + nbytes <= start + len(each) for start, each in self.memory.items()
            )
        self.enqueue(stream, lambda: ctypes.memmove(target, source, nbytes))
        return (Code.SUCCESS,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Code]:
        self.handles[stream].work = []
        return (Code.SUCCESS,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Code, int]:
        work, self.handles[stream].work = self.handles[stream].work, None
        return Code.SUCCESS, self._new(work)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Code, int]:
        return Code.SUCCESS, self._new(self.handles[graph])

    def cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Code]:
        for work in self.handles[executable]:
            work()
        return (Code.SUCCESS,)

    def cudaGraphDestroy(self, handle: int) -> tuple[Code]:
        del self.handles[handle]
        return (Code.SUCCESS,)

    cudaStreamDestroy = cudaGraphExecDestroy = cudaGraphDestroy

    def enqueue(self, stream: int, work: Callable[[], Any]) -> bool:
        """Does it at once, or keeps it for a graph; says which."""
        waiting = self.handles[stream].work
        work() if waiting is None else waiting.append(work)
        return waiting is not None

    def _new(self, thing: Any) -> int:
        with self._lock:
            self._next += 1
            self.handles[self._next] = thing
            return self._next


class ILogger:
    WARNING, ERROR = 2, 1


class Context:
    def __init__(self, engine: Any) -> None:
        self.engine, self.cuda = engine, engine.cuda
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = engine.shapes["x"]
        self.ran = self.captured = False
        self.busy = threading.Lock()
        self.cuda.contexts.add(self)
        engine.contexts_made += 1

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "x"
        assert not self.captured, "changed after it was captured"
        self.shape, self.ran = shape, False
        return self.engine.limits[0] <= shape[0] <= self.engine.limits[1]

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert not self.captured, "changed after it was captured"
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert self.busy.acquire(blocking=False), "one context ran twice at once"
        x, y, size = self.addresses["x"], self.addresses["y"], int(np.prod(self.shape))

        def work() -> None:
            self.engine.at_work.set()
            time.sleep(self.engine.seconds)
            floats = (ctypes.c_float * size).from_address
            np.ctypeslib.as_array(floats(y))[:] = FACTOR * np.ctypeslib.as_array(floats(x))

        try:
            if self.cuda.handles[stream_handle].work is not None and not self.ran:
                self.engine.log.log(ILogger.ERROR, "captured before its first run")
                return False
            if self.engine.refuses:
                self.engine.log.log(ILogger.ERROR, self.engine.refuses)
                return False
            self.captured = self.cuda.enqueue(stream_handle, work)
            self.ran = True
            return True
        finally:
            self.busy.release()


class Engine:
    """y = 3 x, float32 (batch, 4)."""

    def __init__(self, cuda: Cuda, log: Any, limits: tuple[int, int] | None, seconds: float) -> None:
        self.cuda, self.log = cuda, log
        self.limits = limits or (5, 5)
        batch = 5 if limits is None else -1
        self.shapes = {"x": (batch, 4), "y": (batch, 4)}
        self.types = {"x": "FLOAT", "y": "FLOAT"}
        self.num_io_tensors = 2
        self.refuses, self.seconds, self.contexts_made = "", seconds, 0
        self.at_work = threading.Event()  # since the first inference began
        self.refitted_from = ""

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.types[name])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        low, high = self.limits
        return [(size, 4) for size in (low, low, high)]

    def create_execution_context(self, *config: Any) -> Context | None:
        self.configs = config
        return Context(self)

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(create_runtime_cache=RuntimeCache, set_runtime_cache=lambda cache: True)

    def create_engine_inspector(self) -> Any:
        text = '{"Layers": ["one"]}'
        return SimpleNamespace(get_engine_information=lambda kind: text)


class RuntimeCache:
    """Refuses what does not begin with "kernels"."""

    def __init__(self) -> None:
        self.loaded = b""

    def deserialize(self, blob: bytes) -> bool:
        self.loaded = blob if blob.startswith(b"kernels") else b""
        return bool(self.loaded)

    def serialize(self) -> bytes:
        return b"kernels of a GPU"


def tensorrt(
    cuda: Cuda, name: str = "tensorrt", version: str = "10.3.0", limits: Any = (1, 4), seconds: float = 0.0
) -> Any:
    """The module. A plan is b"plan"; of anything else the deserialiser makes nothing, with a line in the log.

    An inference takes as many `seconds` and a little more.
    """

    class Runtime:
        def __init__(self, log: Any) -> None:
            self.log = log

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            if plan == b"plan":
                module.engine = Engine(cuda, self.log, limits, seconds)
                return module.engine
            self.log.log(
                ILogger.ERROR, "Version tag does not match. Note: Current Version: 239, Serialized Engine Version: 236"
            )
            return None

    class OnnxParserRefitter:
        def __init__(self, refitter: Any, log: Any) -> None:
            self.log = log

        def refit_from_file(self, path: str) -> bool:
            if path.endswith("other.onnx"):
                self.log.log(ILogger.ERROR, "a weight of the plan is not in the file")
            else:
                module.engine.refitted_from = path
            return not path.endswith("other.onnx")

    module: Any = ModuleType(name)
    module.OnnxParserRefitter = OnnxParserRefitter
    module.Refitter = lambda engine, log: SimpleNamespace(refit_cuda_engine=lambda: True)
    module.__version__ = version
    module.ILogger, module.Runtime = ILogger, Runtime
    module.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    module.LayerInformationFormat = SimpleNamespace(JSON="json")
    module.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    return module
