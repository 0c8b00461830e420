"""OpenVINO: Intel CPUs and GPUs, ARM CPUs. Runs IR (model.xml, model.bin) and ONNX bundles.

The precision is always set and read back. Left alone, the CPU plugin runs a float32 model in bfloat16 on any
processor that has AMX or AVX512-BF16 (OpenVINO 2026.4: 1e-2 instead of 1e-6 relative error in one product).

A float16 model says itself what is float16 and what has to stay float32. "dynamic" makes the plugin follow it; asked
for "f16", the plugin would make all of it float16, and sqrt(x x + y y) infinite from 256 on.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from hamsa_runtime.backends import Operator, Settings, check_names, no_cuda_graph
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.errors import BuildError, MissingError, nearest
from hamsa_runtime.manifest import Manifest

with no_usage_reports():
    import openvino

# bundle precision: (execution precision to ask for, what layers then run in, capability that the device must report).
# What an int8 bundle leaves in floating point runs in float32: asked for bfloat16, the plugin converts back and forth,
# slower by 6 % (HAMSA-S).
PRECISIONS = {
    "fp32": ("f32", "f32", "FP32"),
    "fp16": ("dynamic", "f16", "FP16"),
    "bf16": ("bf16", "bf16", "BF16"),
    "int8": ("f32", "f32", "INT8"),
}
FILES = {"openvino": "model.xml", "onnx": "model.onnx"}


class Runner:
    """One compiled model with one infer request; see `Backend`."""

    parallel = False
    batch_limits = None

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        no_cuda_graph("openvino", settings)
        if manifest.has_native_transforms:
            raise MissingError(
                "OpenVINO reads the operator DFT wrongly, which this bundle holds",
                expected="transforms that are products",
                cause="the bundle was exported with --fft native",
                fix="Engine(folder, backend='onnxruntime'), or a bundle exported without --fft native",
            )
        core = openvino.Core()
        device, threads = settings.device or "CPU", settings.threads
        self._device = device
        inputs, outputs = [spec.name for spec in manifest.inputs], [spec.name for spec in manifest.outputs]
        _check_device(core, device)
        self._hint, self._precision = _hint_and_precision(core, device, manifest.precision)
        options: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._hint,
        }
        if threads is not None and device == "CPU":
            options["INFERENCE_NUM_THREADS"] = threads
        path = folder / FILES[manifest.target]
        self._manifest, self._options = manifest, options
        try:
            self._model = core.read_model(path)
            # One image at a time is what devices do most. The CPU plugin runs a model of known shapes faster than one
            # with a dynamic batch (HAMSA-S: 12 % in f32, 22 % in bf16), so this case has a compiled model of its own.
            self._compiled = core.compile_model(self._with_batch_of_one(), device, options)
            self._requests = {True: self._compiled.create_infer_request()}
        except RuntimeError as error:
            raise BuildError(f"{path}: OpenVINO cannot load this model on {device}\n{error}") from error
        self._check_granted()
        check_names("inputs", inputs, [port.get_names() for port in self._compiled.inputs])
        check_names("outputs", outputs, [port.get_names() for port in self._compiled.outputs])
        self._outputs = outputs

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        single = all(inputs[spec.name].shape[0] == 1 for spec in self._manifest.inputs if "batch" in spec.shape[:1])
        try:
            if single not in self._requests:
                compiled = openvino.Core().compile_model(self._model, self._device, self._options)
                self._requests[single] = compiled.create_infer_request()
            request = self._requests[single]
            request.infer(inputs)
        except RuntimeError as error:
            raise BuildError(f"OpenVINO failed to run the model\n{error}") from error
        return {name: request.get_tensor(name).data.copy() for name in self._outputs}

    def describe(self) -> dict[str, str]:
        """What runs; `layers` counts the precisions that the layers were really given."""
        return {
            "backend": "openvino",
            "version": openvino.__version__,
            "device": self._device,
            "precision": self._precision,
            "layers": ", ".join(f"{count} {name}" for name, count in self._layers().most_common()),
        }

    def operators(self) -> list[Operator]:
        """The plugin's runtime model, without inputs, outputs and constants."""
        rows = (node.get_rt_info() for node in self._compiled.get_runtime_model().get_ordered_ops())
        return [_operator(row) for row in rows if row["layerType"].astype(str) not in ("Input", "Output", "Const")]

    def close(self) -> None:
        """Drops the request before the model that it belongs to."""
        del self._requests, self._compiled, self._model

    def _with_batch_of_one(self) -> openvino.Model:
        """The model for one image at a time; itself where its batch is fixed."""
        shapes = {spec.name: [1 if size == "batch" else size for size in spec.shape] for spec in self._manifest.inputs}
        model = self._model.clone()
        if any("batch" in spec.shape for spec in self._manifest.inputs):
            model.reshape(shapes)
        return model

    def _layers(self) -> Counter[str]:
        """How many layers run in which precision."""
        return Counter(operator.precision for operator in self.operators())

    def _check_granted(self) -> None:
        """Fails if the plugin settled for another precision or device than the one asked for."""
        hint = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        devices = list(self._compiled.get_property("EXECUTION_DEVICES"))
        follows = hint == self._hint and (hint != "dynamic" or self._precision in self._layers())
        if not follows or [name.split(".")[0] for name in devices] != [self._device.split(".")[0]]:
            found = ", ".join(self._layers()) if hint == "dynamic" else hint
            raise MissingError(
                f"OpenVINO would run in {found} on {', '.join(devices)}",
                expected=f"{self._precision} on {self._device}",
                fix="export for a precision that this device has",
            )


def _operator(row: openvino.RTMap) -> Operator:
    kind, precision, names = (row[key].astype(str) for key in ("layerType", "runtimePrecision", "originalLayersNames"))
    return Operator(kind, precision, tuple(names.split(",")))


def _check_device(core: openvino.Core, device: str) -> None:
    """Only devices that are here: no AUTO, MULTI or HETERO, which choose another one silently."""
    available = core.available_devices
    if device not in available and device not in {name.split(".")[0] for name in available}:
        raise MissingError(
            f"OpenVINO has no device {device!r} here",
            expected="one of " + ", ".join(available),
            cause="another name, or the device's driver is not installed",
            fix=nearest(device, available),
        )


def _hint_and_precision(core: openvino.Core, device: str, wanted: str) -> tuple[str, str]:
    hint, precision, capability = PRECISIONS[wanted]
    capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if capability not in capabilities:
        name = core.get_property(device, "FULL_DEVICE_NAME")
        raise MissingError(
            f"{device} ({name}) cannot run {wanted}",
            expected=f"a device with {capability}; this one has {', '.join(capabilities)}",
            fix="export with --fp32",
        )
    return hint, precision
