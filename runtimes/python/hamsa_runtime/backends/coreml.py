"""Core ML: Apple's CPUs, GPUs and Neural Engine. Runs Core ML bundles (model.mlpackage), one input at a time, on macOS.

In an application for iOS or macOS the package is loaded by Core ML itself, in Swift; this backend is what compares it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_runtime.backends import Operator, Settings, Timed, no_cuda_graph, no_throughput
from hamsa_runtime.devices import only_name
from hamsa_runtime.errors import BuildError, InputError, MissingError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.port_names import as_identifiers, check_names
from hamsa_runtime.vocabulary import MLPACKAGE

# On import it says which of its parts are missing on other systems, and which versions of others it was tested with.
_before = logging.root.manager.disable
logging.disable(logging.WARNING)
import coremltools  # noqa: E402

logging.disable(_before)

# What devices are called here -> what Core ML may use.
UNITS = {"CPU": "CPU_ONLY", "GPU": "CPU_AND_GPU", "NPU": "CPU_AND_NE", "AUTO": "ALL"}


class Runner:
    """One package; see `Backend`."""

    parallel = 1

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        no_cuda_graph("coreml", settings)
        no_throughput("coreml", settings)
        if settings.threads is not None:
            raise InputError(
                f"threads is {settings.threads}", expected="None: Core ML chooses by itself", fix="leave it away"
            )
        self._device = settings.device or "CPU"
        self.check_device(self._device)
        units = getattr(coremltools.ComputeUnit, UNITS[str(only_name(self._device, "Core ML"))])
        path = folder / MLPACKAGE
        try:
            self._model: Any = coremltools.models.MLModel(str(path), compute_units=units)
        except Exception as error:
            raise BuildError(f"{path}: Core ML cannot load this model\n{error}") from error
        self._precision = {"fp16": "f16"}.get(manifest.precision, "f32")
        self._inputs = as_identifiers([spec.name for spec in manifest.graph_inputs])
        self._outputs = as_identifiers([spec.name for spec in manifest.graph_outputs])
        self._dtypes = {spec.name: spec.dtype for spec in manifest.graph_outputs}
        ports = self._model.get_spec().description
        check_names("inputs", self._inputs.values(), [{port.name} for port in ports.input])
        check_names("outputs", self._outputs.values(), [{port.name} for port in ports.output])
        is_free = any(isinstance(size, str) for spec in manifest.graph_inputs for size in spec.shape)
        self.batch_limits = (1, 1) if is_free else None

    @staticmethod
    def check_device(device: str) -> None:
        """Fails for all but Apple's systems, and for devices that Core ML cannot be confined to."""
        if sys.platform != "darwin":
            raise MissingError(
                f"Core ML runs on Apple's systems, and this is {sys.platform}",
                expected="macOS 14 or newer",
                fix="hamsa-parity BUNDLE on a Mac compares the bundle with its original",
            )
        if str(only_name(device, "Core ML")) not in UNITS:
            raise MissingError(f"Core ML has no device {device!r}", expected=f"one of {', '.join(UNITS)}")

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller. Core ML has float32 and int32 at
        its borders, and numbers of other types are converted."""
        given = {self._inputs[name]: _at_the_border(array) for name, array in inputs.items()}
        try:
            found = self._model.predict(given)
        except Exception as error:
            raise BuildError(f"Core ML failed to run the model\n{error}") from error
        return {name: np.asarray(found[port]).astype(self._dtypes[name]) for name, port in self._outputs.items()}

    def describe(self) -> dict[str, str]:
        """What runs; which of its units runs which operator, Core ML does not tell Python."""
        return {
            "backend": "coreml",
            "version": coremltools.__version__,
            "device": self._device,
            "precision": self._precision,
        }

    def operators(self) -> list[Operator]:
        """Of the program as converted, before Core ML has fused them."""
        function = self._model.get_spec().mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        return [Operator(each.type, self._precision, ()) for each in block.operations if each.type != "const"]

    def times(self, inputs: dict[str, np.ndarray], runs: int) -> list[Timed]:
        """Nothing: that is Xcode's."""
        raise MissingError(
            "Core ML does not time operators for Python",
            expected="Xcode's performance report of the package",
            fix="hamsa-bench, which times whole inferences",
        )

    def close(self) -> None:
        """Drops the model."""
        del self._model


def _at_the_border(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32, copy=False)
