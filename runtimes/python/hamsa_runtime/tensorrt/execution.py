"""A plan that runs: deserialised once, used by any number of threads.

The engine holds the weights and is shared. Each inference that runs at the same time as another has a lane of its own:
execution context, stream and memory. A lane is made when none is idle, and kept for the next inference, so there are
as many as threads that ever ran at once. Copies and kernels run in parallel, as far as the GPU has room. Execution
contexts are made one at a time. What Python does in between holds its lock, and so does waiting for the GPU with a
cuda-python before 12.9.1.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hamsa_runtime.errors import BuildError, EngineClosedError, HamsaError, InputError
from hamsa_runtime.manifest import BATCH, Manifest
from hamsa_runtime.tensorrt import cuda
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.differences import can
from hamsa_runtime.tensorrt.dlpack import DeviceArray
from hamsa_runtime.tensorrt.kernels import Kernels
from hamsa_runtime.tensorrt.lanes import Arrays, Lane
from hamsa_runtime.tensorrt.messages import build_error, nodes_in
from hamsa_runtime.tensorrt.modules import log_of
from hamsa_runtime.tensorrt.ports import batch_limits, ports_of

T = TypeVar("T")


class Execution:
    """Runs a plan on one GPU. Any number of threads may call `infer` and `infer_on_device`.

    Args:
        trt: the module that has built the plan, `tensorrt` or `tensorrt_rtx`.
        plan: serialised.
        manifest: of the bundle: what the plan's inputs and outputs have to be.
        gpu: to run on.
        cuda_graph: launch each inference as one CUDA graph. With TensorRT it is captured at the second inference of a
            batch size, for which a context with its own activation memory is kept; if that fails, so does the
            inference. TensorRT-RTX captures by itself, when its kernels for a shape are ready, and does not say when.
        kernels: file for what TensorRT-RTX compiles here; None compiles it anew in each process.
        weights: ONNX file that the weights come from, for a plan without them.

    Attributes:
        batch_limits: smallest and largest batch that one call takes; None if the batch is fixed.

    Raises:
        BuildError: the plan cannot be loaded, with what TensorRT said, or it is not one for this manifest.
        MissingError: no driver or no GPU.
    """

    def __init__(
        self,
        trt: Any,
        plan: bytes,
        manifest: Manifest,
        gpu: Gpu,
        *,
        cuda_graph: bool = False,
        kernels: Path | None = None,
        weights: Path | None = None,
    ) -> None:
        self._trt, self._gpu = trt, gpu
        self._compiles = can(trt, "plans that are compiled on the device")
        self._cuda_graph = cuda_graph
        self._kernels = Kernels(kernels)
        self._idle: list[Lane] = []
        self._running, self._closed = 0, False
        self._changed, self._making = threading.Condition(), threading.Lock()
        with cuda.current(gpu.index):
            self._runtime = trt.Runtime(log_of(trt))
            self._engine = self._explained("load the plan", lambda: self._runtime.deserialize_cuda_engine(plan))
            if weights is not None:
                self._explained("give the plan its weights", lambda: _refitted(trt, self._engine, weights))
        self._inputs, self._outputs = ports_of(trt, self._engine, manifest.graph_inputs, manifest.graph_outputs)
        self.batch_limits = batch_limits(self._engine, self._inputs)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Runs checked, contiguous inputs by name; the returned arrays belong to the caller.

        Raises:
            InputError: the batch is outside `batch_limits`, or not the same for all inputs.
            BuildError: TensorRT or CUDA failed, with what they said.
            EngineClosedError: it was closed.
        """
        batch = self._batch_of(inputs)
        with self._lane() as lane:
            return self._explained("run the plan", lambda: lane.infer(inputs, batch))

    def infer_on_device(self, inputs: Mapping[str, np.ndarray]) -> dict[str, DeviceArray]:
        """The same, with results that stay on the GPU, in memory of their own; see `infer` for errors."""
        batch = self._batch_of(inputs)
        with self._lane() as lane:
            return self._explained("run the plan", lambda: lane.infer_on_device(inputs, batch, self._gpu.index))

    def information(self) -> str:
        """The engine inspector's JSON text, for the smallest batch; see `inspection.layers_of`."""
        batch = 1 if self.batch_limits is None else self.batch_limits[0]
        with self._lane() as lane:
            inspector = self._engine.create_engine_inspector()
            inspector.execution_context = lane.context_for(batch)
            return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def layer_times(self, inputs: Mapping[str, np.ndarray], runs: int) -> dict[str, float]:
        """Median milliseconds of each layer by TensorRT's name; in a lane of its own, which measuring slows down."""
        batch = self._batch_of(inputs)
        largest = 1 if self.batch_limits is None else self.batch_limits[1]
        recorder = layer_recorder(self._trt)
        with cuda.current(self._gpu.index):
            lane = Lane(self._new_context, self._inputs, self._outputs, largest, capture=False)
            try:
                lane.infer(inputs, batch)
                lane.context_for(batch).profiler = recorder
                for _ in range(runs):
                    self._explained("run the plan", lambda: lane.infer(inputs, batch))
            finally:
                lane.close()
        return {name: statistics.median(times) for name, times in recorder.seen.items()}

    def close(self) -> None:
        """Waits for running inferences and frees everything: lanes, engine, runtime. Closing twice is allowed."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.wait_for(lambda: self._running == 0)
            lanes, self._idle = self._idle, []
        with cuda.current(self._gpu.index):
            for lane in lanes:
                lane.close()
            self._kernels.save()
            self._engine = None
            self._runtime = None

    @contextlib.contextmanager
    def _lane(self) -> Iterator[Lane]:
        """A lane for this thread alone, on its current GPU; one in which something failed is not used again."""
        with self._changed:
            if self._closed:
                raise EngineClosedError(
                    "this engine was closed", expected="use before close()", fix="open a new Engine"
                )
            self._running += 1
            lane = self._idle.pop() if self._idle else None
        try:
            with cuda.current(self._gpu.index):
                lane = lane or self._new_lane()
                try:
                    yield lane
                except BaseException:
                    lane.close()
                    lane = None
                    raise
        finally:
            with self._changed:
                self._running -= 1
                if lane is not None:
                    self._idle.append(lane)
                self._changed.notify_all()

    def _new_lane(self) -> Lane:
        largest = 1 if self.batch_limits is None else self.batch_limits[1]
        capture = self._cuda_graph and not self._compiles
        return Lane(self._new_context, self._inputs, self._outputs, largest, capture)

    def _new_context(self) -> Any:
        arguments = []
        with self._making:
            if self._compiles:
                arguments.append(self._kernels.config(self._trt, self._engine, self._cuda_graph))
            return self._explained(
                "make an execution context", lambda: self._engine.create_execution_context(*arguments)
            )

    def _explained(self, what: str, work: Callable[[], T | None]) -> T:
        """The result of `work`; where it fails or gives nothing, an error with what TensorRT said meanwhile."""
        with log_of(self._trt).listening() as lines:
            try:
                result = work()
            except BuildError as error:
                if not lines.errors:
                    raise
                raise self._failure(what, [*lines.errors, str(error)]) from error
        if result is None:
            raise self._failure(what, lines.errors)
        return result

    def _failure(self, what: str, lines: Sequence[str]) -> HamsaError:
        gpu = f"{self._gpu.name} (compute capability {self._gpu.compute_capability})"
        what = f"{self._trt.__name__} {self._trt.__version__} could not {what}"
        return build_error(what, lines, nodes_in(lines, ()), gpu)

    def _batch_of(self, inputs: Mapping[str, np.ndarray]) -> int:
        """How many images the inputs are; any number for a model with a fixed batch."""
        if self.batch_limits is None:
            return 1
        sizes = {inputs[port.name].shape[port.shape.index(BATCH)] for port in self._inputs if BATCH in port.shape}
        low, high = self.batch_limits
        if len(sizes) != 1 or not low <= min(sizes) <= high:
            found = " and ".join(map(str, sorted(sizes)))
            raise InputError(f"a batch of {found}", expected=f"{low} to {high}, which the plan was built for")
        return int(min(sizes))


def layer_recorder(trt: Any) -> Any:
    """An `IProfiler` that collects, in `seen`, the milliseconds of each layer, run after run."""

    class Recorder(trt.IProfiler):  # type: ignore[misc]  # of whichever module
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[str, list[float]] = defaultdict(list)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.seen[layer_name].append(ms)

    return Recorder()


def _refitted(trt: Any, engine: Any, onnx_file: Path) -> bool | None:
    """Puts the weights of an ONNX file into a plan that has none; None if that failed."""
    refitter = trt.Refitter(engine, log_of(trt))
    read = trt.OnnxParserRefitter(refitter, log_of(trt)).refit_from_file(str(onnx_file))
    return True if read and refitter.refit_cuda_engine() else None
