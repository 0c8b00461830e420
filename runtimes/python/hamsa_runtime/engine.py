"""`Engine`: a bundle, loaded and ready to run."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hamsa_runtime.backends import Backend, OnDevice, Operator, Settings, backend_for
from hamsa_runtime.batches import Chunk, chunks, images_of, joined, part, together, zeros
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.clips import calls_of_clips
from hamsa_runtime.errors import BuildError, EngineClosedError, InputError, MissingError, unknown_name
from hamsa_runtime.images import is_encoded
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.outputs import EMBEDDING, LOGITS, named_or_only
from hamsa_runtime.preprocess import Images, checked_inputs, described, inputs_from_images, is_pixels
from hamsa_runtime.profiling import Profile, operator_times, stages_and_inputs
from hamsa_runtime.signature import Key
from hamsa_runtime.states import CarriedStates
from hamsa_runtime.streaming import Stream

if TYPE_CHECKING:
    from hamsa_runtime.tensorrt.dlpack import DeviceArray

Outputs = dict[str, np.ndarray]
HINTS = ("latency", "throughput")
# More than any machine has: engines take whatever number they are given, and memory for each.
MOST_THREADS = 4096
# Images of one inference on zeros, where nothing limits the batch.
MOST_WARM = 4096


class Engine:
    """Runs one bundle. A context manager; `close()` frees the memory.

    Any number of threads may share an engine: preparing images runs in parallel, and the results are those of one
    thread. With ONNX Runtime and OpenVINO inference is serialised by a lock; to infer in parallel, open one engine per
    thread, or with OpenVINO one with hint="throughput". With TensorRT it runs in parallel, and takes memory on the GPU
    for each thread that infers at the same time as others. `close` waits for what runs.

    A model that keeps something between calls (an overlap, a hidden state; `manifest.states`) keeps it here: each call
    goes on where the last one ended, `reset` starts anew, and one engine is for one stream of inputs.

    Args:
        folder: the bundle. All its files are checked against the manifest's hashes before any is loaded. That they are
            still the same files, unchanged, is checked after loading; OpenVINO may read weights later as well, so a
            bundle in use should be replaced as a folder, which is how hamsa-export does it.
        backend: "onnxruntime", "openvino", "tensorrt" or "tensorrt-rtx"; by default the one that the bundle was made
            for.
        device: what it runs on, or an error (the grammar: `devices`). With OpenVINO "CPU", "GPU.1", "NPU", "AUTO" or
            "AUTO:GPU,CPU" for one that it chooses, "HETERO:GPU,CPU" for a model that it may split; with ONNX Runtime
            "CPU", "CUDA.1", "TENSORRT", "COREML", "WEBGPU"... of `backends.providers`, or "HETERO:CUDA,CPU"; with
            TensorRT "GPU.1". By default "GPU" with TensorRT, else "CPU". `describe` says what became of it. Parity was
            measured on one device; `hamsa-parity --device` measures it on another.
        threads: CPU threads for one inference; by default the backend's choice.
        cuda_graph: launch each inference as one CUDA graph, which saves the time of launching its kernels one by one
            (TensorRT only). Each batch size that is used takes memory for activations of its own.

        hint: "latency", the fastest single inference; or "throughput" (OpenVINO only), as many inferences at once as
            the plugin recommends, each on some of the threads, for callers in several threads and for `stream`.
        public_key: refuse a bundle that `hamsa-sign` has not signed with the private key that belongs to this one: the
            path of a PEM file, or its content. Checked before anything is deserialised.

    Raises:
        InputError: the bundle is damaged, not one or not signed with that key, or an argument is wrong.
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
        hint: str = "latency",
        public_key: Key | None = None,
    ) -> None:
        if threads is not None and (type(threads) is not int or not 1 <= threads <= MOST_THREADS):
            raise InputError(f"threads is {threads!r}", expected=f"a whole number from 1 to {MOST_THREADS}, or None")
        for name, value in (("backend", backend), ("device", device)):
            if value is not None and (not isinstance(value, str) or not value):
                raise InputError(f"{name} is {value!r}", expected="a name, or None")
        if not isinstance(cuda_graph, bool):
            raise InputError(f"cuda_graph is {cuda_graph!r}", expected="True or False")
        if public_key is not None and not isinstance(public_key, (str, bytes, os.PathLike)):
            raise InputError(f"public_key is {public_key!r}", expected="the path of a PEM file, or its content")
        if hint not in HINTS:
            raise unknown_name("hint", str(hint), HINTS)
        bundle = open_bundle(folder, public_key=public_key)
        self._verified = bundle.verify()
        self.folder = bundle.folder
        self.manifest: Manifest = bundle.manifest
        self._lock = threading.Lock()
        runner = backend_for(self.manifest.target, backend)
        settings = Settings(device, threads, cuda_graph, throughput=hint == "throughput")
        self._backend: Backend | None = runner(self.folder, self.manifest, settings)
        self._states = CarriedStates(self.folder, self.manifest.states)
        self._parallel = 1 if self.manifest.states else self._backend.parallel
        self._turn = contextlib.nullcontext() if self._parallel > 1 else self._lock
        self._streams: weakref.WeakSet[Stream[tuple[Images, bool]]] = weakref.WeakSet()
        try:
            self._verified.check_unchanged()
        except InputError:
            self.close()
            raise

    def __call__(self, images: Images) -> Outputs:
        """Runs one image or many.

        Args:
            images: for a model of images, a path, a PIL image, uint8 (H, W), (H, W, C) or (N, H, W, C), red first
                (RGB, not OpenCV's BGR), normalised floats (C, H, W) or (N, C, H, W), or a list of single images; see
                `inputs_from_images`. For a model of clips (`manifest.audio`), the path of a WAV or FLAC file of its
                sample rate, channels and length. For any other model, an array, or a dict of arrays by input name.

        Returns:
            One array for each output, in the manifest's dtype. The batch, even of one, is its first dimension, unless
            the manifest says otherwise: see `OutputSpec`.

        Raises:
            InputError: the images do not fit the model.
            EngineClosedError: the engine was closed.
        """
        self._opened()
        try:
            return self._run(inputs_from_images(images, self.manifest))
        except MemoryError as error:
            raise InputError(
                f"too little memory for these inputs ({str(error) or 'an array is too large'})",
                expected="inputs that fit into memory as the model takes them",
                fix="fewer at a time, or smaller ones",
            ) from error

    def infer(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Runs what was prepared before, by `hamsa_runtime.preprocess.inputs_from_images`, any number of images.

        Args:
            inputs: arrays by the names of the graph's inputs, in the manifest's dtypes and shapes.

        Returns:
            As calling the engine with the images does.

        Raises:
            InputError: the arrays do not fit the graph.
            EngineClosedError: the engine was closed.
        """
        self._opened()
        return self._run(checked_inputs(inputs, self.manifest))

    def stream(self, images: Iterable[Images]) -> Iterator[Outputs]:
        """What `map(engine, images)` gives, faster: the next images are decoded and prepared meanwhile.

        Results come in order, one for each image: the outputs by name, of a batch of 1. (An item may also be
        a batch, or what a model of plain arrays takes: anything that the engine can be called with.) With a static
        batch, and with TensorRT, images that are ready at the same time share an inference, up to the bundle's batch; a
        slow source is never waited for to fill one. Elsewhere each image is inferred by itself.

        To a model of clips that keeps something between calls, each file is a stream of its own: the model starts anew
        with it. Where its input has a fixed length, the file is cut into blocks of that length, in order, and there is
        a result for each block; the last one is filled up with zeros, and what it gives for them is for the application
        to cut off.

        Reads ahead by a limited number of images, so `images` may be endless. It is iterated in a thread of its own.
        An error, of an image or of `images` itself, is raised in the place of the image; the stream then is over, and
        images that were read ahead are lost. Close the iterator (`contextlib.closing`) or drop it to stop early; to
        close the engine ends its streams with EngineClosedError. No thread is left then, but one inside of `images`,
        which ends as soon as that returns. An engine may have several streams; one stream is for one thread.

        Raises:
            InputError: `images` is a single image, or cannot be iterated; while iterating: see calling the engine.
            EngineClosedError: the engine was closed.
        """
        backend = self._opened()
        is_one = (
            isinstance(images, (Image.Image, Mapping))
            or is_encoded(images)
            or (self.manifest.preprocessing is not None and is_pixels(images))
        )
        if is_one or not isinstance(images, Iterable):
            raise InputError(
                f"images to stream given as {described(images)}",
                expected="an iterable of images, such as a list, a generator or a uint8 array (N, H, W, C)",
                fix="call the engine itself with a single image: engine(image)",
            )
        batch = together(self.manifest, backend.batch_limits)
        stream: Stream[tuple[Images, bool]] = Stream(
            self._call_of,
            self._run,
            lambda outputs, start, stop, images: part(outputs, self.manifest, start, stop, images),
            batch,
            self._parallel,
        )
        with self._lock:
            self._streams.add(stream)
        return stream.results(calls_of_clips(images, self.manifest))

    def warm_up(self, batch: int = 1, runs: int = 3) -> None:
        """Runs a few inferences on zeros, so that the next one of this size is as fast as all after it.

        What the model keeps between calls is afterwards as before.

        Args:
            batch: images of one inference, where the bundle leaves it open.
            runs: how many.
        """
        _check_whole("batch", batch)
        _check_whole("runs", runs)
        if batch > MOST_WARM:
            raise InputError(f"batch is {batch}", expected=f"at most {MOST_WARM}")
        with self._states_kept():
            for _ in range(runs):
                self._run(zeros(self.manifest, batch))

    def reset(self) -> None:
        """Starts a new stream: what the model keeps between calls is again as it was when it was exported.

        Raises:
            EngineClosedError: the engine was closed.
        """
        with self._lock:
            self._opened()
            self._states.reset()

    def profile(self, images: Images | None = None, runs: int = 10) -> Profile:
        """Measures stages and operators. The operators are timed in a second copy of the model, which is dropped again.
        What the model keeps between calls is afterwards as before.

        Args:
            images: as for calling the engine, of one inference at most; None: one of zeros, without decoding and
                preprocessing.
            runs: measured, after one that is not.

        Raises:
            InputError: the images do not fit, or are more than one inference takes.
            EngineClosedError: the engine was closed.
        """
        _check_whole("runs", runs)
        self._opened()
        with self._states_kept():
            stages, inputs = stages_and_inputs(images, self.manifest, self._run, runs)
        chunk = self._only_chunk(inputs)
        with self._lock:
            timed = self._opened().times({**chunk.inputs, **self._states.values}, runs)
            self._verified.check_unchanged()
        return Profile(
            engine=self.describe(),
            images=images_of(inputs, self.manifest),
            runs=runs,
            stages=stages,
            operators=operator_times(timed),
        )

    def on_device(self, images: Images) -> dict[str, DeviceArray]:
        """The same as calling the engine, with results that stay on the GPU (TensorRT only).

        Each is an array of its own for `torch.from_dlpack` or `cupy.from_dlpack`, which copy nothing; it is complete
        on return, and its memory is freed with the last reference to it, be it after `close`. The images come from
        the CPU as always.

        Raises:
            InputError: the images do not fit the model, or are more than one inference takes.
            MissingError: the backend's results are not on a GPU, or the model keeps something between calls.
            EngineClosedError: the engine was closed.
        """
        backend = self._opened()
        if not isinstance(backend, OnDevice):
            raise MissingError(
                f"{self.folder}: the results of this backend are on the CPU",
                expected="a bundle for TensorRT",
                fix="call the engine itself: engine(images)",
            )
        if self.manifest.states:
            raise MissingError(
                f"{self.folder}: results that stay on the GPU, of a model that keeps something between calls",
                expected="a model without state",
                fix="call the engine itself: engine(images)",
            )
        chunk = self._only_chunk(inputs_from_images(images, self.manifest))
        outputs = backend.infer_on_device(chunk.inputs)
        if chunk.keep == chunk.images:
            return outputs
        return {
            spec.name: outputs[spec.name].first(chunk.keep, chunk.images, spec.batch_axis or 0)
            for spec in self.manifest.outputs
        }

    def classify(self, images: Images, top: int = 5) -> list[list[tuple[str, float]]]:
        """The `top` most probable labels of every image, with their softmax probabilities, best first.

        Reads the output "logits", or the only output. Without labels in the manifest, a label is its index.
        """
        _check_whole("top", top)
        logits = self._output(self(images), LOGITS).astype(np.float64)
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
        return self._output(self(images), EMBEDDING)

    def describe(self) -> dict[str, str]:
        """What runs: backend, version, device, precision."""
        with self._lock:
            return self._opened().describe()

    def operators(self) -> list[Operator]:
        """Every operator that runs, and the precision that it runs in: the engine's word, not the manifest's.

        With ONNX Runtime this loads the model a second time and runs it once, on zeros.
        """
        with self._lock:
            operators = self._opened().operators()
            self._verified.check_unchanged()
            return operators

    def close(self) -> None:
        """Ends streams, and frees the backend after a running inference; closing twice is allowed."""
        with self._lock:
            backend, self._backend = self._backend, None
            if backend is not None:
                backend.close()
            streams = list(self._streams)
        for stream in streams:
            stream.stop(self._closed())

    def __enter__(self) -> Engine:
        self._opened()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> Backend:
        if self._backend is None:
            raise self._closed()
        return self._backend

    def _closed(self) -> EngineClosedError:
        return EngineClosedError(
            f"{self.folder}: this engine was closed", expected="use before close()", fix="open a new Engine"
        )

    def _run(self, inputs: Outputs) -> Outputs:
        """Prepared inputs of any number of images, in as many inferences as they need."""
        found = chunks(inputs, self.manifest, self._opened().batch_limits)
        return joined([self._infer(chunk) for chunk in found], self.manifest)

    def _only_chunk(self, inputs: Outputs) -> Chunk:
        found = list(chunks(inputs, self.manifest, self._opened().batch_limits))
        if len(found) != 1:
            raise InputError(
                f"more images than one inference takes: they make {len(found)} of them",
                fix="pass fewer at once, or export with a larger batch",
            )
        return found[0]

    def _call_of(self, call: tuple[Images, bool]) -> Outputs:
        """Prepared inputs; with those of the states where the model starts anew."""
        images, starts_anew = call
        return {**inputs_from_images(images, self.manifest), **(self._states.initial if starts_anew else {})}

    def _infer(self, chunk: Chunk) -> Outputs:
        with self._turn:
            outputs = self._opened().infer({**self._states.values, **chunk.inputs})
            _check_outputs(outputs, self.manifest)
            self._states.take(outputs)
        for state in self.manifest.states:
            del outputs[state.output]
        return chunk.kept(outputs, self.manifest)

    @contextlib.contextmanager
    def _states_kept(self) -> Iterator[None]:
        before = self._states.values
        try:
            yield
        finally:
            self._states.values = before

    def _output(self, outputs: Outputs, name: str) -> np.ndarray:
        found = named_or_only(name, outputs)
        if found is None:
            raise InputError(f"{self.folder}: no output is called {name!r}, only {', '.join(outputs)}", expected=name)
        return outputs[found]


def _check_whole(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise InputError(f"{name} is {value!r}", expected="a whole number of at least 1")


def _check_outputs(outputs: Outputs, manifest: Manifest) -> None:
    for spec in manifest.graph_outputs:
        array = outputs.get(spec.name)
        if array is None or array.dtype != np.dtype(spec.dtype) or not _fits(array.shape, spec.shape):
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise BuildError(
                f"the engine returned {found} for the output {spec.name!r}",
                expected=f"{spec.dtype} {spec.shape}, as the manifest says",
            )


def _fits(shape: tuple[int, ...], spec: tuple[int | str, ...]) -> bool:
    return len(shape) == len(spec) and all(isinstance(b, str) or a == b for a, b in zip(shape, spec, strict=True))
