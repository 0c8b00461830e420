"""OpenVINO: Intel CPUs, GPUs and NPUs, ARM CPUs. Runs IR (model.xml, model.bin) and ONNX bundles.

The precision is always set and read back. Left alone, the CPU plugin runs a float32 model in bfloat16 on any
processor that has AMX or AVX512-BF16 (OpenVINO 2026.4: 1e-2 instead of 1e-6 relative error in one product).

A float16 model says itself what is float16 and what has to stay float32. "dynamic" makes the plugin follow it; asked
for "f16", the plugin would make all of it float16, and sqrt(x x + y y) infinite from 256 on.
"""

from __future__ import annotations

import functools
import queue
import re
import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hamsa_runtime.backends import Operator, Settings, Timed, no_cuda_graph
from hamsa_runtime.backends.openvino_bounds import check_bounds
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.batches import batch_axes, sized
from hamsa_runtime.devices import AUTO, HETERO, Device, Name, device_from
from hamsa_runtime.errors import BuildError, EngineClosedError, InputError, MissingError, nearest
from hamsa_runtime.manifest import BATCH, Manifest
from hamsa_runtime.port_names import check_input, check_names
from hamsa_runtime.vocabulary import IR_FILES, ONNX_FILE

with no_usage_reports():
    import openvino

# bundle precision: (execution precision to ask for, what layers then run in, capability that the device must report).
# What an int8 bundle leaves in floating point runs in float32, unless its manifest says that the file has it in
# bfloat16: where it has not, and is asked for that, the plugin converts back and forth, slower by 6 % (HAMSA-S).
PRECISIONS = {
    "fp32": ("f32", "f32", "FP32"),
    "fp16": ("dynamic", "f16", "FP16"),
    "bf16": ("bf16", "bf16", "BF16"),
    "int8": ("f32", "f32", "INT8"),
}
# An NPU computes in float16 whatever the model says, and is asked for that in place of what stands above.
NPU, NPU_HINT = "NPU", "f16"
ACCELERATORS = ("GPU", NPU)
# What HETERO puts in front of an operator's name: which of its parts it is in.
OF_PART = re.compile(r"^subgraph\d+: ")
NO_NODES = ("Parameter", "Result", "Constant")
# What float32 must not become.
LOWER = {"f16", "bf16"}
FILES = {"openvino": IR_FILES[0], "onnx": ONNX_FILE}
ANY_SIZE = -1


@functools.cache
def shared_core() -> openvino.Core:
    """The core of all of this process, which lives as long as it does.

    OpenVINO's plugin for CPUs gives the thread that loads it a stack for signals, and takes it back when its core goes.
    Of two cores that go in the order in which they came, the first one's stack is put back in place after it is gone:
    the next Ctrl-C then ends Python with SIGSEGV (OpenVINO 2026.4).
    """
    return openvino.Core()


class Runner:
    """One compiled model; see `Backend`. For throughput it has as many infer requests as the plugin recommends, each on
    some of the threads; otherwise one, on all of them."""

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        no_cuda_graph("openvino", settings)
        if manifest.has_native_transforms:
            raise MissingError(
                "OpenVINO reads the operator DFT wrongly, which this bundle holds",
                expected="transforms that are products",
                cause="the bundle was exported with --fft native",
                fix="Engine(folder, backend='onnxruntime'), or a bundle exported without --fft native",
            )
        core = shared_core()
        self._asked = device_from(settings.device or "CPU")
        names = _names_here(core, self._asked)
        outputs = [spec.name for spec in manifest.graph_outputs]
        self._names, self._hint, self._precision = _names_and_precision(core, self._asked, names, manifest)
        self._device = device = str(Device(self._asked.choice, self._names))
        # A plug-in for NPUs compiles models of known shapes only.
        self.batch_limits = (1, 1) if any(name.kind == NPU for name in self._names) else None
        options: dict[str, object] = {
            "PERFORMANCE_HINT": "THROUGHPUT" if settings.throughput else "LATENCY",
            "INFERENCE_PRECISION_HINT": self._hint,
        }
        threads = threads_option(settings.threads, self._names)
        choosing = {"ENABLE_STARTUP_FALLBACK": False} if self._asked.choice == AUTO else {}
        path = folder / FILES[manifest.target]
        self._manifest = manifest
        try:
            self._model = core.read_model(path)
            _check_inputs(self._model, manifest)
            # One image at a time is what devices do most. The CPU plugin runs a model of known shapes faster than one
            # with a dynamic batch (HAMSA-S: 12 % in f32, 22 % in bf16), so this case has a compiled model of its own.
            single = self._with_batch_of_one()
            _check_bounds(single, manifest, path)
            self._compiled = core.compile_model(single, device, {**options, **threads, **choosing})
            # What AUTO has chosen once is what other batches run on as well.
            self._runs_on = self._running_on()[0] if self._asked.choice == AUTO else device
            self._options = options | (threads if "CPU" in self._runs_on else {})
            self._nodes = _nodes_by_device(core, single, device) if self._asked.choice == HETERO else Counter()
            count = "OPTIMAL_NUMBER_OF_INFER_REQUESTS"
            self.parallel = self._compiled.get_property(count) if settings.throughput else 1
            self._requests = {True: _Requests(self._compiled, self.parallel)}
        except RuntimeError as error:
            raise BuildError(f"{path}: OpenVINO cannot load this model on {device}\n{error}") from error
        self._check_granted()
        check_names("outputs", outputs, [port.get_names() for port in self._compiled.outputs])
        self._outputs, self._narrowed = outputs, _narrowed(self._model, manifest)
        self._compiling, self._closed = threading.Lock(), False

    @staticmethod
    def check_device(device: str) -> None:
        """Fails where OpenVINO finds it not."""
        _names_here(shared_core(), device_from(device))

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        for name in self._narrowed:
            _check_whole_numbers(name, inputs[name])
        try:
            with self._requests_for(self._is_single(inputs)).one() as request:
                request.infer(inputs)
                return {name: request.get_tensor(name).data.copy() for name in self._outputs}
        except RuntimeError as error:
            raise BuildError(f"OpenVINO failed to run the model\n{error}") from error

    def describe(self) -> dict[str, str]:
        """What runs; `layers` counts the precisions that the layers were really given, `nodes` of a split model those
        of each device. With AUTO, `device` says which one it chose."""
        facts = {
            "backend": "openvino",
            "version": openvino.__version__,
            "device": self._device,
            "precision": self._precision,
        }
        if self._asked.choice == AUTO:
            facts |= {"device": ", ".join(self._running_on()), "chosen_by": self._device}
        if self._nodes:
            facts["nodes"] = ", ".join(f"{count} {name}" for name, count in self._nodes.most_common())
        layers = ", ".join(f"{count} {name}" for name, count in self._layers().most_common())
        return facts | ({"layers": layers} if layers else {})

    def operators(self) -> list[Operator]:
        """The plugin's runtime model, without inputs, outputs and constants."""
        try:
            return list(_operators(self._compiled).values())
        except RuntimeError as error:
            raise MissingError(f"OpenVINO's plugin for {self._device} does not tell what it runs\n{error}") from error

    def times(self, inputs: dict[str, np.ndarray], runs: int) -> list[Timed]:
        """The plugin's own counters, in a second compiled model that has them."""
        model = self._with_batch_of_one() if self._is_single(inputs) else self._model
        compiled = shared_core().compile_model(model, self._runs_on, {**self._options, "PERF_COUNT": True})
        request = compiled.create_infer_request()
        request.infer(inputs)
        seen: dict[str, list[float]] = defaultdict(list)
        for _ in range(runs):
            request.infer(inputs)
            for row in request.get_profiling_info():
                if row.status == row.Status.EXECUTED:
                    seen[OF_PART.sub("", row.node_name)].append(1e3 * row.real_time.total_seconds())
        operators = _operators(compiled)
        return [Timed(operators[name], statistics.median(ms)) for name, ms in seen.items() if name in operators]

    def close(self) -> None:
        """Waits for running inferences, and drops the requests before the model that they belong to."""
        with self._compiling:
            self._closed = True
            for requests in self._requests.values():
                requests.close()
        del self._compiled, self._model

    def _requests_for(self, single: bool) -> _Requests:
        with self._compiling:
            if single not in self._requests:
                if self._closed:
                    raise _closed()
                compiled = shared_core().compile_model(self._model, self._runs_on, self._options)
                self._requests[single] = _Requests(compiled, self.parallel)
            return self._requests[single]

    def _is_single(self, inputs: dict[str, np.ndarray]) -> bool:
        return all(inputs[name].shape[axis] == 1 for name, axis in batch_axes(self._manifest.inputs).items())

    def _with_batch_of_one(self) -> openvino.Model:
        """The model for one image at a time; itself where no batch is dynamic."""
        sizes = {BATCH: 1} | {axis.name: ANY_SIZE for axis in self._manifest.axes}
        model = self._model.clone()
        if batch_axes(self._manifest.inputs):
            model.reshape({spec.name: list(sized(spec.shape, sizes)) for spec in self._manifest.graph_inputs})
        return model

    def _layers(self) -> Counter[str]:
        """How many layers run in which precision; nothing where the plugin does not tell."""
        try:
            return Counter(operator.precision for operator in self.operators())
        except MissingError:
            return Counter()

    def _running_on(self) -> list[str]:
        """The devices that the plugin has taken."""
        return list(self._compiled.get_property("EXECUTION_DEVICES"))

    def _check_granted(self) -> None:
        """Fails if the plugin settled for another precision or device than the one asked for."""
        devices, layers = self._running_on(), self._layers()
        if self._asked.choice:  # which does not know what it has handed on
            hint = "dynamic"
            follows = self._precision in layers if self._precision in LOWER else not LOWER.intersection(layers)
        else:
            hint = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
            follows = hint == self._hint and (hint != "dynamic" or self._precision in layers)
        asked = {name.kind for name in self._names}
        if not follows or not {each.split(".")[0] for each in devices} <= asked:
            found = ", ".join(layers) if hint == "dynamic" else hint
            raise MissingError(
                f"OpenVINO would run in {found} on {', '.join(devices)}",
                expected=f"{self._precision} on {self._device}",
                fix="export for a precision that this device has",
            )


class _Requests:
    """Infer requests of one compiled model, each for one thread at a time."""

    def __init__(self, compiled: openvino.CompiledModel, count: int) -> None:
        self._count = count
        self._free: queue.SimpleQueue[openvino.InferRequest | None] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(compiled.create_infer_request())

    @contextmanager
    def one(self) -> Iterator[openvino.InferRequest]:
        """A request that nobody else uses; waits for one."""
        request = self._free.get()
        if request is None:
            self._free.put(None)
            raise _closed()
        try:
            yield request
        finally:
            self._free.put(request)

    def close(self) -> None:
        """Waits for all requests; whoever asks for one from then on gets EngineClosedError."""
        for _ in range(self._count):
            self._free.get()
        self._free.put(None)


def _check_inputs(model: openvino.Model, manifest: Manifest) -> None:
    check_names("inputs", [spec.name for spec in manifest.graph_inputs], [port.get_names() for port in model.inputs])
    for spec in manifest.graph_inputs:
        port = model.input(spec.name)
        sizes = port.get_partial_shape()
        known = None if sizes.rank.is_dynamic else [n.get_length() if n.is_static else None for n in sizes]
        kind = port.get_element_type()
        check_input(spec, "bool" if kind == openvino.Type.boolean else kind.to_dtype().name, known)


def _narrowed(model: openvino.Model, manifest: Manifest) -> list[str]:
    """The inputs of int64 that are computed with as they are, and not as floats: the plugins have int32 in its place,
    and make another number of one that does not fit."""
    wide = [spec.name for spec in manifest.graph_inputs if spec.dtype == "int64"]
    users = {name: [each.get_node() for each in model.input(name).get_target_inputs()] for name in wide}
    return [name for name in wide if not all(map(_makes_floats, users[name]))]


def _makes_floats(node: openvino.Node) -> bool:
    return node.get_type_name() == "Convert" and node.get_output_element_type(0).is_real()


def _check_whole_numbers(name: str, array: np.ndarray) -> None:
    ends = [int(array.min()), int(array.max())] if array.size else []
    if beyond := [end for end in ends if not -(2**31) <= end < 2**31]:
        raise InputError(
            f"the input {name!r} holds {beyond[0]}",
            expected=f"numbers from {-(2**31)} to {2**31 - 1}",
            cause="OpenVINO computes int64 in 32 bits",
            fix="smaller numbers; or a bundle for onnx, whose engine has 64",
        )


def _check_bounds(model: openvino.Model, manifest: Manifest, path: Path) -> None:
    try:
        check_bounds(model, sum(entry.bytes for entry in manifest.files.values()))
    except InputError as error:
        raise InputError(f"{path}: {error.found}", expected=error.expected, cause=error.cause, fix=error.fix) from error


def _closed() -> EngineClosedError:
    return EngineClosedError("this engine was closed", expected="use before close()", fix="open a new Engine")


def _operators(compiled: openvino.CompiledModel) -> dict[str, Operator]:
    """By the plugin's name of the operator."""
    rows = {node.get_friendly_name(): node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()}
    kinds = ("Input", "Output", "Const")
    return {name: _operator(row) for name, row in rows.items() if row["layerType"].astype(str) not in kinds}


def _operator(row: openvino.RTMap) -> Operator:
    kind, precision, names = (row[key].astype(str) for key in ("layerType", "runtimePrecision", "originalLayersNames"))
    return Operator(kind, precision, tuple(names.split(",")))


def absent(kind: str) -> str:
    """Why there is no device of a kind that OpenVINO knows."""
    return f"OpenVINO finds no {kind}, or no driver for it"


def _names_here(core: openvino.Core, asked: Device) -> tuple[Name, ...]:
    """The names that are asked for, which have to be here; with AUTO alone, all that are."""
    available = core.available_devices
    for name in asked.names:
        if str(name) not in available and str(name) not in {each.split(".")[0] for each in available}:
            is_known = name.kind in ACCELERATORS
            raise MissingError(
                f"OpenVINO has no device {str(name)!r} here",
                expected="one of " + ", ".join(available),
                cause=absent(name.kind) if is_known else "OpenVINO calls none so",
                fix="" if is_known else _way_to(name, available),
            )
    return asked.names or tuple(device_from(each).names[0] for each in available)


def _way_to(name: Name, available: Sequence[str]) -> str:
    if name.kind in ("CUDA", "TENSORRT"):
        return "for NVIDIA's GPUs a bundle of --to onnx, or of --to tensorrt"
    return nearest(str(name), [*available, *ACCELERATORS])


def _nodes_by_device(core: openvino.Core, model: openvino.Model, device: str) -> Counter[str]:
    """How many nodes of a split model each device is given, without inputs, outputs and constants."""
    kinds = {node.get_friendly_name(): node.get_type_name() for node in model.get_ordered_ops()}
    split: dict[str, str] = core.query_model(model, device)
    return Counter(split[name] for name, kind in kinds.items() if name in split and kind not in NO_NODES)


def _names_and_precision(
    core: openvino.Core, asked: Device, names: tuple[Name, ...], manifest: Manifest
) -> tuple[tuple[Name, ...], str, str]:
    """Those of the devices that can run the precision, where one of all is enough; the hint, and what layers run in."""
    hint, precision = hint_and_precision(manifest)
    able = names
    for wanted in (manifest.precision, _around(manifest)):
        capability, among = PRECISIONS[wanted][2], able
        able = tuple(each for each in among if capability in core.get_property(str(each), "OPTIMIZATION_CAPABILITIES"))
        unable = [each for each in among if each not in able]
        if unable and (asked.names or not able):
            raise _cannot_run(core, unable[0], wanted)
    return able, NPU_HINT if {each.kind for each in able} == {NPU} else hint, precision


def check_cpu(precision: str) -> None:
    """Fails early where the CPU does not compute in a precision.

    Raises:
        MissingError: it does not; says in which it does.
    """
    core, cpu = shared_core(), Name("CPU")
    if PRECISIONS[precision][2] not in core.get_property(str(cpu), "OPTIMIZATION_CAPABILITIES"):
        raise _cannot_run(core, cpu, precision)


def _cannot_run(core: openvino.Core, name: Name, wanted: str) -> MissingError:
    capabilities = core.get_property(str(name), "OPTIMIZATION_CAPABILITIES")
    others = [each for each, (_, _, capability) in PRECISIONS.items() if capability in capabilities]
    return MissingError(
        f"{name} ({core.get_property(str(name), 'FULL_DEVICE_NAME')}) cannot run {wanted}",
        expected=f"a device with {PRECISIONS[wanted][2]}; this one has {', '.join(capabilities)}",
        fix="export with " + " or ".join(f"--{each}" for each in others) if others else "",
    )


def threads_option(threads: int | None, names: tuple[Name, ...]) -> dict[str, object]:
    """The option for them."""
    if threads is None:
        return {}
    if not any(name.kind == "CPU" for name in names):
        raise InputError(
            f"threads is {threads}",
            expected=f"None: {', '.join(map(str, names))} does the work",
            fix="leave it away",
        )
    return {"INFERENCE_NUM_THREADS": threads}


def hint_and_precision(manifest: Manifest) -> tuple[str, str]:
    """What the plugin is asked for, and what layers then run in, but for products in int8."""
    hint, precision, _ = PRECISIONS[_around(manifest)]
    return hint, precision


def _around(manifest: Manifest) -> str:
    return (manifest.calibration and manifest.calibration.around) or manifest.precision
