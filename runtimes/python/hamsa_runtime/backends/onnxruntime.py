"""ONNX Runtime: any CPU, and what its execution providers run on. Runs ONNX bundles (model.onnx).

A node that the provider asked for has no kernel for goes to the CPU without a word; so does the whole model where the
provider does not start. So ONNX Runtime is asked which node it gave to whom, and what was not asked for is an error.
The sizes of shapes, which GPUs leave to the CPU on purpose, are not counted.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from hamsa_runtime.backends import Operator, Settings, Timed, no_cuda_graph, no_throughput
from hamsa_runtime.backends.providers import PROVIDERS, add_provider, check_here, not_here, provider_of
from hamsa_runtime.batches import graph_zeros
from hamsa_runtime.devices import CPU, HETERO, Device, device_from
from hamsa_runtime.errors import BuildError, HamsaError, InputError, MissingError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.onnx_sizes import nodes_of_sizes
from hamsa_runtime.port_names import check_input, check_names
from hamsa_runtime.vocabulary import ONNX_FILE, PRECISIONS
from hamsa_runtime.whole_files import scratch_folder

KINDS = {provider.name: kind for kind, provider in PROVIDERS.items()}
# What it has to be asked beforehand to tell which node it gave to whom, which it does from 1.24 on.
RECORD = "session.record_ep_graph_assignment_info"
MOST_NODES = 4
ERRORS_ONLY = 3

# From the second run of a size on, ONNX Runtime takes all that it needs at once, beside what the first run took piece
# by piece and it keeps. hamsa_nano takes 0.95 of the time so (a file of 1.2 MB; batch 8: 0.98), HAMSA-S the same time
# (124 MB, batches of 1 and 8: 1.01 and 1.00), but of 1248 pixels 5.3 GiB in place of 3.5 once it has run on batches of
# 2 and of 1. Without the arena it would be 2.9, and 1.2 times the time of batch 8.
LARGE_FILE_BYTES = 32 << 20

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
        self._device, self._threads = device_from(settings.device or CPU), settings.threads
        _check_device(self._device)
        self._on_cpu = {name.kind for name in self._device.names} == {CPU}
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
        self._inputs = [spec.name for spec in manifest.graph_inputs]
        self._outputs = [spec.name for spec in manifest.graph_outputs]
        self._path = folder / ONNX_FILE
        self._session = self._loaded(_options(self._threads, self._path))
        self._nodes = {} if self._on_cpu else self._checked_nodes()
        check_names("inputs", self._inputs, [{port.name} for port in self._session.get_inputs()])
        check_names("outputs", self._outputs, [{port.name} for port in self._session.get_outputs()])
        ports = {port.name: port for port in self._session.get_inputs()}
        for spec in manifest.graph_inputs:
            port = ports[spec.name]
            shape = [size if isinstance(size, int) else None for size in port.shape]
            check_input(spec, DTYPES.get(port.type, port.type), shape)

    @staticmethod
    def check_device(device: str) -> None:
        """Fails where a provider is not here, or its plug-in finds nothing to run on."""
        asked = device_from(device)
        _check_device(asked)
        for name in asked.names:
            check_here(name)

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        return dict(zip(self._outputs, self._results(self._session, inputs), strict=True))

    def describe(self) -> dict[str, str]:
        """What runs, and beside the CPU how many nodes where. The CPU provider stores float16 but computes most of its
        operators in float32: see `operators`."""
        facts = {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": str(self._device),
            "precision": "f32" if self._manifest.precision == "fp32" else "as typed in the file",
        }
        nodes = ", ".join(f"{count} {kind}" for kind, count in self._nodes.items())
        return facts | ({"nodes": nodes} if nodes else {})

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
        options = _options(self._threads, self._path)
        options.enable_profiling = True
        with scratch_folder() as folder:
            options.profile_file_prefix = str(folder / "run")
            session = self._loaded(options)
            for _ in range(runs):
                self._results(session, inputs)
            events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
        return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(KERNEL)]

    def _loaded(self, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        try:
            if self._on_cpu:
                return onnxruntime.InferenceSession(self._path, options, providers=[PROVIDERS[CPU].name])
            options.add_session_config_entry(RECORD, "1")
            for name in self._device.names:
                if name.kind != CPU:  # which is there always, as the last one
                    add_provider(options, name, self._manifest.precision)
            # Python's class, not only the engine, begins again on the CPU where a provider fails, and prints that.
            return onnxruntime.InferenceSession(self._path, options, enable_fallback=False)
        except HamsaError:
            raise
        except Exception as error:
            where = "" if self._on_cpu else f" on {self._device}"
            raise BuildError(f"{self._path}: ONNX Runtime cannot load this model{where}\n{error}") from error

    def _checked_nodes(self) -> dict[str, int]:
        """How many nodes each of the devices has been given; fails if another one has."""
        if not hasattr(self._session, "get_provider_graph_assignment_info"):
            raise MissingError(
                f"onnxruntime {onnxruntime.__version__} does not tell which node runs on {self._device}",
                expected="version 1.24 or later, which does: it puts the CPU in the place of a device without a word",
                fix="pip install --upgrade onnxruntime",
            )
        asked = {name.kind: name for name in self._device.names}
        for kind in asked.keys() - {KINDS.get(each) for each in self._session.get_providers()}:
            raise not_here(asked[kind], "the provider does not start; its log says why")
        graphs = self._session.get_provider_graph_assignment_info()
        found = [(KINDS.get(graph.ep_name, graph.ep_name), node) for graph in graphs for node in graph.get_nodes()]
        others = [node for kind, node in found if kind not in asked]
        if others:
            sizes = nodes_of_sizes(self._path.read_bytes())
            others = [node for node in others if node.name not in sizes]
        if others:
            raise self._elsewhere(others, len(found), sorted({kind for kind, _ in found} - asked.keys()))
        return dict(Counter(kind for kind, _ in found))

    def _elsewhere(self, others: list[Any], count: int, kinds: list[str]) -> MissingError:
        shown = ", ".join(f"{node.op_type} {node.name}".rstrip() for node in others[:MOST_NODES])
        more = f" and {len(others) - MOST_NODES} more" if len(others) > MOST_NODES else ""
        names = ",".join(map(str, (*self._device.names, *kinds)))
        return MissingError(
            f"{len(others)} of {count} nodes would run on {', '.join(kinds)}, not on {self._device}: {shown}{more}",
            expected=f"every node on {self._device}",
            cause="the provider has no kernels for them",
            fix=f"{HETERO}:{names} as the device, which lets them",
        )

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


def _check_device(device: Device) -> None:
    if device.choice not in ("", HETERO):
        raise InputError(
            f"device is {str(device)!r}",
            expected="one of " + ", ".join(PROVIDERS) + f", or {HETERO}: and several of them",
            cause="ONNX Runtime does not choose a device for a whole model",
            fix="Engine(folder, backend='openvino') does",
        )
    for name in device.names:
        provider_of(name)


def _options(threads: int | None, path: Path) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.enable_mem_pattern = path.stat().st_size < LARGE_FILE_BYTES
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    return options
