"""Core ML: Apple's CPUs, GPUs and Neural Engine. Runs Core ML bundles (model.mlpackage), one input at a time, on macOS.

In an application for iOS or macOS the package is loaded by Core ML itself, in Swift; this backend is what compares it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_runtime.backends import Operator, Settings
from hamsa_runtime.backends.mobile import MobileRunner
from hamsa_runtime.devices import only_name
from hamsa_runtime.errors import MissingError
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


class Runner(MobileRunner):
    """One package; see `Backend`."""

    name, title, package = "coreml", "Core ML", "coremltools"
    threads = "Core ML chooses by itself"
    profiler = "Xcode's performance report of the package"

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        super().__init__(settings)
        units = getattr(coremltools.ComputeUnit, UNITS[self.device])
        path = folder / MLPACKAGE
        with self.loading(path):
            self._model: Any = coremltools.models.MLModel(str(path), compute_units=units)
        self.precision = {"fp16": "f16"}.get(manifest.precision, "f32")
        self._inputs = as_identifiers([spec.name for spec in manifest.graph_inputs])
        self._outputs = as_identifiers([spec.name for spec in manifest.graph_outputs])
        self._dtypes = {spec.name: spec.dtype for spec in manifest.graph_outputs}
        ports = self._model.get_spec().description
        check_names("inputs", self._inputs.values(), [{port.name} for port in ports.input])
        check_names("outputs", self._outputs.values(), [{port.name} for port in ports.output])
        is_free = any(isinstance(size, str) for spec in manifest.graph_inputs for size in spec.shape)
        self.batch_limits = (1, 1) if is_free else None

    @classmethod
    def check_device(cls, device: str) -> None:
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
        with self.running():
            found = self._model.predict(given)
        return {name: np.asarray(found[port]).astype(self._dtypes[name]) for name, port in self._outputs.items()}

    def operators(self) -> list[Operator]:
        """Of the program as converted, before Core ML has fused them."""
        function = self._model.get_spec().mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        return [Operator(each.type, self.precision, ()) for each in block.operations if each.type != "const"]

    def close(self) -> None:
        """Drops the model."""
        del self._model


def _at_the_border(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32, copy=False)
