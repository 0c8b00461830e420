"""`Engine`: a bundle, loaded and ready to run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from hamsa_runtime.backends import Backend, OnDevice, Operator, Settings, backend_for
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import BuildError, EngineClosedError, InputError, MissingError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import Images, inputs_from_images

if TYPE_CHECKING:
    from hamsa_runtime.tensorrt.dlpack import DeviceArray

Outputs = dict[str, np.ndarray]


class Engine:
    """Runs one bundle. A context manager; `close()` frees the memory.

    Any number of threads may share an engine: preparing images runs in parallel, and the results are those of one
    thread. With ONNX Runtime and OpenVINO inference is serialised by a lock; to infer in parallel, open one engine per
    thread. With TensorRT it runs in parallel, and takes memory on the GPU for each thread that infers at the same time
    as others. `close` waits for what runs.

    Args:
        folder: the bundle. All its files are checked against the manifest's hashes before any is loaded.
        backend: "onnxruntime", "openvino", "tensorrt" or "tensorrt-rtx"; by default the one that the bundle was made
            for.
        device: as the backend names it, such as "CPU", "GPU" or "GPU.1"; by default "GPU" with TensorRT, else "CPU".
        threads: CPU threads for one inference; by default the backend's choice.
        cuda_graph: launch each inference as one CUDA graph, which saves the time of launching its kernels one by one
            (TensorRT only). Each batch size that is used takes memory for activations of its own.

    Raises:
        InputError: the bundle is damaged or not one, or an argument is wrong.
        MissingError: the package, the device or the precision is not available here.
        BuildError: the backend could not load the model.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        backend: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        cuda_graph: bool = False,
    ) -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"threads is {threads!r}", expected="a whole number of at least 1, or None")
        bundle = open_bundle(folder)
        bundle.verify()
        self.folder = bundle.folder
        self.manifest: Manifest = bundle.manifest
        self._lock = threading.Lock()
        runner = backend_for(self.manifest.target, backend)
        self._turn = contextlib.nullcontext() if runner.parallel else self._lock
        self._backend: Backend | None = runner(self.folder, self.manifest, Settings(device, threads, cuda_graph))

    def __call__(self, images: Images) -> Outputs:
        """Runs one image or many.

        Args:
            images: for a model of images, a path, a PIL image, uint8 (H, W), (H, W, C) or (N, H, W, C),
                normalised floats (C, H, W) or (N, C, H, W), or a list of single images; see
                `inputs_from_images`. For any other model, an array, or a dict of arrays by input name.

        Returns:
            One array for each output, in the manifest's dtype; the first dimension is the batch, even of one.

        Raises:
            InputError: the images do not fit the model.
            EngineClosedError: the engine was closed.
        """
        parts = [self._infer(chunk, keep) for chunk, keep in self._chunks_of(images)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def on_device(self, images: Images) -> dict[str, DeviceArray]:
        """The same as calling the engine, with results that stay on the GPU (TensorRT only).

        Each is an array of its own for `torch.from_dlpack` or `cupy.from_dlpack`, which copy nothing; it is complete
        on return, and its memory is freed with the last reference to it, be it after `close`. The images come from
        the CPU as always.

        Raises:
            InputError: the images do not fit the model, or are more than one inference takes.
            MissingError: the backend's results are not on a GPU.
            EngineClosedError: the engine was closed.
        """
        backend = self._opened()
        if not isinstance(backend, OnDevice):
            raise MissingError(
                f"{self.folder}: the results of this backend are on the CPU",
                expected="a bundle for TensorRT",
                fix="call the engine itself: engine(images)",
            )
        chunks = list(self._chunks_of(images))
        if len(chunks) != 1:
            raise InputError(
                f"more images than one inference takes: they make {len(chunks)} of them",
                fix="pass fewer at once, or export with a larger batch",
            )
        [(inputs, keep)] = chunks
        outputs = backend.infer_on_device(inputs)
        return outputs if keep is None else {name: array.first(keep) for name, array in outputs.items()}

    def classify(self, images: Images, top: int = 5) -> list[list[tuple[str, float]]]:
        """The `top` most probable labels of every image, with their softmax probabilities, best first.

        Reads the output "logits", or the only output. Without labels in the manifest, a label is its index.
        """
        if type(top) is not int or top < 1:
            raise InputError(f"top is {top!r}", expected="a whole number of at least 1")
        logits = self._output(self(images), "logits").astype(np.float64)
        labels = self.manifest.labels or tuple(map(str, range(logits.shape[-1])))
        if logits.ndim != 2 or len(labels) != logits.shape[1]:
            raise InputError(
                f"the output has shape {logits.shape}",
                expected=f"(images, {len(labels)}), one for each label",
            )
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return [[(labels[k], float(row[k])) for k in order] for row, order in zip(probabilities, best, strict=True)]

    def embed(self, images: Images) -> np.ndarray:
        """One feature vector for every image, (images, width): the output "embedding", or the only output."""
        return self._output(self(images), "embedding")

    def describe(self) -> dict[str, str]:
        """What runs: backend, version, device, precision."""
        with self._lock:
            return self._opened().describe()

    def operators(self) -> list[Operator]:
        """Every operator that runs, and the precision that it runs in: the engine's word, not the manifest's.

        With ONNX Runtime this loads the model a second time and runs it once, on zeros.
        """
        with self._lock:
            return self._opened().operators()

    def close(self) -> None:
        """Frees the backend, after a running inference; closing twice is allowed."""
        with self._lock:
            backend, self._backend = self._backend, None
            if backend is not None:
                backend.close()

    def __enter__(self) -> Engine:
        self._opened()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> Backend:
        if self._backend is None:
            raise EngineClosedError(
                f"{self.folder}: this engine was closed",
                expected="use before close()",
                fix="open a new Engine",
            )
        return self._backend

    def _chunks_of(self, images: Images) -> Iterator[tuple[Outputs, int | None]]:
        limits = self._opened().batch_limits
        return _chunks(inputs_from_images(images, self.manifest), self.manifest, limits)

    def _infer(self, inputs: Outputs, keep: int | None) -> Outputs:
        with self._turn:
            outputs = self._opened().infer(inputs)
        _check_outputs(outputs, self.manifest)
        return outputs if keep is None else {name: array[:keep] for name, array in outputs.items()}

    def _output(self, outputs: Outputs, name: str) -> np.ndarray:
        if name in outputs:
            return outputs[name]
        if len(outputs) > 1:
            raise InputError(f"{self.folder}: no output is called {name!r}, only {', '.join(outputs)}", expected=name)
        return next(iter(outputs.values()))


def _chunks(
    inputs: Outputs, manifest: Manifest, limits: tuple[int, int] | None
) -> Iterator[tuple[Outputs, int | None]]:
    """Cuts images into what one inference takes; with each chunk, how many rows of the result to keep (None: all).

    That is the static batch of the bundle, or at most, and at least, the backend's limits for a dynamic one. A chunk
    that is too small is filled up with copies of its last image: zeros could be slower (denormals) or overflow.
    """
    names, smallest, largest = _batched(manifest, limits)
    if not names:
        yield inputs, None
        return
    total = len(inputs[names[0]])
    for start in range(0, total, largest):
        size = min(largest, total - start)
        missing = max(smallest - size, 0)
        chunk = {name: _filled(inputs[name][start : start + size], missing) for name in names}
        yield {**inputs, **chunk}, size if missing else None


def _batched(manifest: Manifest, limits: tuple[int, int] | None) -> tuple[list[str], int, int]:
    """Inputs that can be cut along their first dimension, with the smallest and the largest piece."""
    dynamic = [spec.name for spec in manifest.inputs if spec.shape[:1] == ("batch",)]
    if dynamic:
        return (dynamic, *limits) if limits is not None else ([], 0, 0)
    spec = manifest.inputs[0]
    if manifest.preprocessing is None or not isinstance(size := spec.shape[0], int):
        return [], 0, 0
    return [spec.name], size, size


def _filled(part: np.ndarray, missing: int) -> np.ndarray:
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part


def _check_outputs(outputs: Outputs, manifest: Manifest) -> None:
    for spec in manifest.outputs:
        array = outputs.get(spec.name)
        if array is None or array.dtype != np.dtype(spec.dtype) or not _fits(array.shape, spec.shape):
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise BuildError(
                f"the engine returned {found} for the output {spec.name!r}",
                expected=f"{spec.dtype} {spec.shape}, as the manifest says",
            )


def _fits(shape: tuple[int, ...], spec: tuple[int | str, ...]) -> bool:
    return len(shape) == len(spec) and all(b in ("batch", a) for a, b in zip(shape, spec, strict=True))
