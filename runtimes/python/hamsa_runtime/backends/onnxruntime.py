"""ONNX Runtime: any CPU, and NVIDIA GPUs with onnxruntime-gpu. Runs ONNX bundles (model.onnx)."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from hamsa_runtime.backends import Operator, Settings, Timed, no_cuda_graph, no_throughput
from hamsa_runtime.batches import graph_zeros
from hamsa_runtime.errors import BuildError, MissingError, nearest
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.port_names import check_input, check_names
from hamsa_runtime.vocabulary import ONNX_FILE, PRECISIONS
from hamsa_runtime.whole_files import scratch_folder

PROVIDERS = {"CPU": "CPUExecutionProvider", "CUDA": "CUDAExecutionProvider"}
# The CUDA provider computes float32 products in TF32 by default, with 10 bits of significand, which is not what a
# float32 bundle was compared as. Not tried on a GPU yet.
OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
ERRORS_ONLY = 3

# The names that ONNX Runtime's profiler has for types -> those of `Operator`.
TYPES = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16", "int8": "i8", "uint8": "u8"}
TYPES |= {"int32": "i32", "int64": "i64"}
# The names that it has for the types of inputs -> those of manifests.
DTYPES = {f"tensor({name})": name for name in ("bool", "uint8", "int8", "int32", "int64", "float16")}
DTYPES |= {"tensor(float)": "float32", "tensor(double)": "float64"}
KERNEL = "_kernel_time"

# ONNX Runtime computes in the types of the file; only bfloat16 no kernel set takes.
WITHOUT = ("bf16",)

# The first version with an inverse DFT to real numbers; 1.23 and 1.24 refuse to load it, 1.25 and 1.26 compute another.
NATIVE_SINCE = (1, 27)


def has_native_transforms() -> bool:
    """Whether this version computes all transforms that a bundle may hold as operators."""
    return tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= NATIVE_SINCE


class Runner:
    """One session; see `Backend`."""

    parallel = 1
    batch_limits = None

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        no_cuda_graph("onnxruntime", settings)
        no_throughput("onnxruntime", settings)
        device, threads = settings.device or "CPU", settings.threads
        self._providers, self._threads = [_provider(device)], threads
        if manifest.precision in WITHOUT:
            raise MissingError(
                f"ONNX Runtime cannot run {manifest.precision}",
                expected="one of " + ", ".join(name for name in PRECISIONS if name not in WITHOUT),
                fix="Engine(folder, backend='openvino')",
            )
        if manifest.has_native_transforms and not has_native_transforms():
            raise MissingError(
                f"ONNX Runtime {onnxruntime.__version__} has no inverse DFT to real numbers, which this bundle needs",
                expected=f"version {'.'.join(map(str, NATIVE_SINCE))} or later, or transforms that are products",
                fix="another version of onnxruntime, or a bundle exported without --fft native",
            )
        self._manifest = manifest
        self._device = device
        self._inputs = [spec.name for spec in manifest.graph_inputs]
        self._outputs = [spec.name for spec in manifest.graph_outputs]
        self._path = folder / ONNX_FILE
        self._session = self._loaded(_options(threads))
        # On a failure to start a GPU provider the session falls back to the CPU with a log line only.
        if self._session.get_providers()[:1] != self._providers:
            found = self._session.get_providers()[0]
            raise MissingError(f"ONNX Runtime would run on {found}", expected=self._providers[0])
        check_names("inputs", self._inputs, [{port.name} for port in self._session.get_inputs()])
        check_names("outputs", self._outputs, [{port.name} for port in self._session.get_outputs()])
        ports = {port.name: port for port in self._session.get_inputs()}
        for spec in manifest.graph_inputs:
            port = ports[spec.name]
            shape = [size if isinstance(size, int) else None for size in port.shape]
            check_input(spec, DTYPES.get(port.type, port.type), shape)

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        return dict(zip(self._outputs, self._results(self._session, inputs), strict=True))

    def describe(self) -> dict[str, str]:
        """What runs. The CPU provider stores float16 but computes most of its operators in float32: see `operators`."""
        return {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": self._device,
            "precision": "f32" if self._manifest.precision == "fp32" else "as typed in the file",
        }

    def operators(self) -> list[Operator]:
        """What ran, as the profiler of a second session saw it in one run on zeros: no other interface tells."""
        return [_operator(event) for event in self._kernels(graph_zeros(self._manifest, 1), 1)]

    def times(self, inputs: dict[str, np.ndarray], runs: int) -> list[Timed]:
        """What the profiler of a second session saw, without its first run."""
        events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self._kernels(inputs, 1 + runs):
            events[event["name"]].append(event)
        timed = []
        for same in events.values():
            in_one_run = len(same) // (1 + runs)
            microseconds = statistics.median(event["dur"] for event in same[in_one_run:]) * in_one_run
            timed.append(Timed(_operator(same[0]), microseconds / 1e3))
        return timed

    def close(self) -> None:
        """Drops the session."""
        del self._session

    def _kernels(self, inputs: dict[str, np.ndarray], runs: int) -> list[dict[str, Any]]:
        """The profiler's events of a second session: one for each operator in each run."""
        options = _options(self._threads)
        options.enable_profiling = True
        with scratch_folder() as folder:
            options.profile_file_prefix = str(folder / "run")
            session = self._loaded(options)
            for _ in range(runs):
                self._results(session, inputs)
            events = json.loads(Path(session.end_profiling()).read_text())
        return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(KERNEL)]

    def _loaded(self, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        try:
            providers = [(name, OPTIONS.get(name, {})) for name in self._providers]
            return onnxruntime.InferenceSession(self._path, options, providers=providers)
        except Exception as error:
            raise BuildError(f"{self._path}: ONNX Runtime cannot load this model\n{error}") from error

    def _results(self, session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        try:
            return session.run(self._outputs, inputs)
        except Exception as error:
            raise BuildError(f"ONNX Runtime failed to run the model\n{error}") from error


def _operator(event: dict[str, Any]) -> Operator:
    """From an event of the profiler, which lists inputs as [{type: shape}, ...].

    The first input decides, because all others may be of another type: scales and zero points of an int8 product, or
    what a conversion gives. A condition has no numbers in it.
    """
    tensors = (*event["args"]["input_type_shape"], *event["args"]["output_type_shape"])
    types = [name for tensor in tensors for name in tensor]
    numbers = [name for name in types if name != "bool"]
    precision = (numbers or types or ["unknown"])[0]
    return Operator(event["args"]["op_name"], TYPES.get(precision, precision), (event["name"].removesuffix(KERNEL),))


def _provider(device: str) -> str:
    present = onnxruntime.get_available_providers()
    devices = [name for name, provider in PROVIDERS.items() if provider in present]
    if device not in devices:
        raise MissingError(
            f"ONNX Runtime has no device {device!r} here",
            expected="one of " + ", ".join(devices),
            fix=nearest(device, devices),
        )
    return PROVIDERS[device]


def _options(threads: int | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    return options
