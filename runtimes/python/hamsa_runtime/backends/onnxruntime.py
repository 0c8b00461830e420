"""ONNX Runtime: any CPU, and NVIDIA GPUs with onnxruntime-gpu. Runs ONNX bundles (model.onnx)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from hamsa_runtime.backends import check_names
from hamsa_runtime.errors import BuildError, MissingError, nearest
from hamsa_runtime.manifest import Manifest

PROVIDERS = {"CPU": "CPUExecutionProvider", "CUDA": "CUDAExecutionProvider"}
ERRORS_ONLY = 3

# ONNX Runtime computes in the types of the file; float16 is a typed file, and no kernel set takes bfloat16.
PRECISIONS = ("fp32", "fp16", "int8")


class Runner:
    """One session; see `Backend`."""

    def __init__(self, folder: Path, manifest: Manifest, device: str, threads: int | None) -> None:
        provider = _provider(device)
        if manifest.precision not in PRECISIONS:
            raise MissingError(
                f"ONNX Runtime cannot run {manifest.precision}",
                expected="one of " + ", ".join(PRECISIONS),
                fix="Engine(folder, backend='openvino')",
            )
        self._manifest = manifest
        self._device = device
        self._inputs = [spec.name for spec in manifest.inputs]
        self._outputs = [spec.name for spec in manifest.outputs]
        path = folder / "model.onnx"
        try:
            self._session = onnxruntime.InferenceSession(path, _options(threads), providers=[provider])
        except Exception as error:
            raise BuildError(f"{path}: ONNX Runtime cannot load this model\n{error}") from error
        # On a failure to start a GPU provider the session falls back to the CPU with a log line only.
        if self._session.get_providers()[0] != provider:
            raise MissingError(f"ONNX Runtime would run on {self._session.get_providers()[0]}", expected=provider)
        check_names("inputs", self._inputs, [{port.name} for port in self._session.get_inputs()])
        check_names("outputs", self._outputs, [{port.name} for port in self._session.get_outputs()])

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        try:
            results = self._session.run(self._outputs, inputs)
        except Exception as error:
            raise BuildError(f"ONNX Runtime failed to run the model\n{error}") from error
        return dict(zip(self._outputs, results, strict=True))

    def describe(self) -> dict[str, str]:
        """What runs. The CPU provider stores float16 but computes most of its operators in float32."""
        return {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": self._device,
            "precision": "f32" if self._manifest.precision == "fp32" else "as typed in the file",
        }

    def close(self) -> None:
        """Drops the session."""
        del self._session


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
