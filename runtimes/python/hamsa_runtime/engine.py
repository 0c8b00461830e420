"""`Engine`: a bundle, loaded and ready to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from hamsa_runtime.backends import Backend, Operator, backend_for
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import BuildError, EngineClosedError, InputError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import Images, inputs_from_images

Outputs = dict[str, np.ndarray]


class Engine:
    """Runs one bundle. A context manager; `close()` frees the memory.

    Any number of threads may share an engine: preparing images runs in parallel, inference is serialised by a
    lock, and the results are those of one thread. To infer in parallel, open one engine per thread.

    Args:
        folder: the bundle. All its files are checked against the manifest's hashes before any is loaded.
        backend: "onnxruntime" or "openvino"; by default the one that the bundle was made for.
        device: as the backend names it, such as "CPU" or "GPU".
        threads: CPU threads for one inference; by default the backend's choice.

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
        device: str = "CPU",
        threads: int | None = None,
    ) -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"threads is {threads!r}", expected="a whole number of at least 1, or None")
        bundle = open_bundle(folder)
        bundle.verify()
        self.folder = bundle.folder
        self.manifest: Manifest = bundle.manifest
        self._lock = threading.Lock()
        runner = backend_for(self.manifest.target, backend)
        self._backend: Backend | None = runner(self.folder, self.manifest, device, threads)

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
        self._opened()
        inputs = inputs_from_images(images, self.manifest)
        parts = [self._infer(chunk, keep) for chunk, keep in _chunks(inputs, self.manifest)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

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

    def _infer(self, inputs: Outputs, keep: int | None) -> Outputs:
        with self._lock:
            outputs = self._opened().infer(inputs)
        _check_outputs(outputs, self.manifest)
        return outputs if keep is None else {name: array[:keep] for name, array in outputs.items()}

    def _output(self, outputs: Outputs, name: str) -> np.ndarray:
        if name in outputs:
            return outputs[name]
        if len(outputs) > 1:
            raise InputError(f"{self.folder}: no output is called {name!r}, only {', '.join(outputs)}", expected=name)
        return next(iter(outputs.values()))


def _chunks(inputs: Outputs, manifest: Manifest) -> Iterator[tuple[Outputs, int | None]]:
    """Cuts images into the static batch of the bundle; with each chunk, how many rows of the result to keep.

    The last chunk is filled up with copies of its last image: zeros could be slower (denormals) or overflow.
    """
    spec = manifest.inputs[0]
    size = spec.shape[0] if spec.shape else "batch"
    if manifest.preprocessing is None or size == "batch":
        yield inputs, None
        return
    batch = inputs[spec.name]
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        fill = np.repeat(part[-1:], size - len(part), axis=0)
        yield {spec.name: np.concatenate([part, fill]) if len(fill) else part}, len(part)


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
