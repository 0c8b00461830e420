"""One inference at a time: a stream, memory on both sides, and TensorRT's execution contexts.

An execution context holds the activations. It takes one inference at a time, and a CUDA graph that was captured from
it is only valid as long as nothing about the context is changed: so with CUDA graphs each batch size has its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hamsa_runtime.errors import BuildError
from hamsa_runtime.tensorrt.cuda import Graph, Memory, Pinned, Stream
from hamsa_runtime.tensorrt.dlpack import CUDA, DeviceArray
from hamsa_runtime.tensorrt.ports import Port

Arrays = dict[str, np.ndarray]
ANY = 0  # in place of a batch size


class Lane:
    """What one inference needs, allocated once for the largest batch, on the current GPU.

    Args:
        new_context: creates an execution context.
        inputs, outputs: of the plan.
        largest: batch that memory is taken for.
        capture: launch CUDA graphs, captured at the second inference of a batch size.

    Raises:
        BuildError: the GPU's memory is full.
    """

    def __init__(
        self,
        new_context: Callable[[], Any],
        inputs: list[Port],
        outputs: list[Port],
        largest: int,
        capture: bool,
    ) -> None:
        self._new_context, self._inputs, self._outputs, self._capture = new_context, inputs, outputs, capture
        self._contexts: dict[int, Any] = {}  # by batch size, or the only one
        self._graphs: dict[int, Graph] = {}
        self._ran: set[int] = set()  # batch sizes
        with contextlib.ExitStack() as stack:
            self._stream = Stream()
            stack.callback(self._stream.free)
            self._device: dict[str, Memory] = {}
            self._host: dict[str, Pinned] = {}
            for port in (*inputs, *outputs):
                self._device[port.name] = Memory(port.nbytes_of(largest))
                stack.callback(self._device[port.name].free)
                self._host[port.name] = Pinned(port.nbytes_of(largest))
                stack.callback(self._host[port.name].free)
            self._stack = stack.pop_all()

    def infer(self, inputs: Mapping[str, np.ndarray], batch: int) -> Arrays:
        """Runs checked inputs; the results are copies."""
        self._start(inputs, batch)
        for port in self._outputs:
            host, device = self._host[port.name].address, self._device[port.name].address
            self._stream.copy(host, device, port.nbytes_of(batch), "DeviceToHost")
        self._stream.synchronize()
        return {port.name: self._view(port, batch).copy() for port in self._outputs}

    def infer_on_device(self, inputs: Mapping[str, np.ndarray], batch: int, gpu: int) -> dict[str, DeviceArray]:
        """The same with results in memory of their own on the GPU; complete on return."""
        results = {port.name: Memory(port.nbytes_of(batch)) for port in self._outputs}
        self._start(inputs, batch)
        for port in self._outputs:
            target, source = results[port.name].address, self._device[port.name].address
            self._stream.copy(target, source, port.nbytes_of(batch), "DeviceToDevice")
        self._stream.synchronize()
        return {
            port.name: DeviceArray(results[port.name], port.shape_of(batch), port.dtype, (CUDA, gpu))
            for port in self._outputs
        }

    def context_for(self, batch: int) -> Any:
        """The execution context, with its shapes set for a batch."""
        # No variable holds a context: in the traceback of an error it would outlive its memory.
        key = self._key(batch)
        if key not in self._contexts:
            self._contexts[key] = self._new_context()
            for name, memory in self._device.items():
                if not self._contexts[key].set_tensor_address(name, memory.address):
                    raise BuildError(f"TensorRT does not take the memory for {name!r}")
        for port in self._inputs:
            shape = port.shape_of(batch)
            if tuple(self._contexts[key].get_tensor_shape(port.name)) == shape:
                continue
            if not self._contexts[key].set_input_shape(port.name, shape):
                raise BuildError(f"TensorRT does not take the shape {shape} for {port.name!r}")
        return self._contexts[key]

    def close(self) -> None:
        """Frees graphs before the contexts that they were captured from, and these before their memory."""
        with contextlib.suppress(BuildError):  # the GPU has failed: there is nothing to wait for
            self._stream.synchronize()
        for graph in self._graphs.values():
            graph.free()
        self._graphs.clear()
        self._contexts.clear()
        self._stack.close()

    def _start(self, inputs: Mapping[str, np.ndarray], batch: int) -> None:
        """Enqueues the copies of the inputs and the inference."""
        for port in self._inputs:
            np.copyto(self._view(port, batch), inputs[port.name])
            host, device = self._host[port.name].address, self._device[port.name].address
            self._stream.copy(device, host, port.nbytes_of(batch), "HostToDevice")
        if batch in self._graphs:
            self._graphs[batch].launch(self._stream)
            return
        self.context_for(batch)
        if self._capture and batch in self._ran:
            # The first inference has done what TensorRT puts off until then; only now can the rest be captured.
            self._graphs[batch] = self._stream.captured(lambda: self._enqueue(batch))
            self._graphs[batch].launch(self._stream)
        else:
            self._enqueue(batch)
            self._ran.add(batch)

    def _enqueue(self, batch: int) -> None:
        if not self._contexts[self._key(batch)].execute_async_v3(self._stream.handle):
            raise BuildError("TensorRT could not enqueue an inference")

    def _key(self, batch: int) -> int:
        return batch if self._capture else ANY

    def _view(self, port: Port, batch: int) -> np.ndarray:
        """The front of the host's memory, as an array."""
        used = self._host[port.name].bytes[: port.nbytes_of(batch)]
        return used.view(port.dtype).reshape(port.shape_of(batch))
