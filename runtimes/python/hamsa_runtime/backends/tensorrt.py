"""TensorRT and TensorRT-RTX: NVIDIA GPUs. Run TensorRT bundles (model.onnx, and perhaps model.plan).

The plan is the bundle's, if this TensorRT has built it on this GPU, or else this device's, built now if it is not in
the cache yet: that takes minutes; `hamsa-build BUNDLE` does it beforehand.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from hamsa_runtime.backends import Operator, Settings, Timed, no_throughput
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.tensorrt.cache import plans_folder
from hamsa_runtime.tensorrt.cuda import gpu_at, index_of
from hamsa_runtime.tensorrt.differences import can
from hamsa_runtime.tensorrt.dlpack import DeviceArray
from hamsa_runtime.tensorrt.engine_files import ONNX, plan_of_bundle
from hamsa_runtime.tensorrt.execution import Execution
from hamsa_runtime.tensorrt.inspection import layers_of
from hamsa_runtime.tensorrt.kernels import file_for
from hamsa_runtime.tensorrt.modules import load
from hamsa_runtime.tensorrt.options import options_from_manifest


class Runner:
    """One plan on one GPU; see `Backend`. Threads infer in parallel, each with memory of its own: see `Execution`."""

    parallel = 2  # while one is computed, the data of another are copied

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        no_throughput("tensorrt", settings)
        if settings.threads is not None:
            raise InputError(
                f"threads is {settings.threads}", expected="None: a GPU does the work", fix="leave it away"
            )
        self._trt, self._manifest = load(manifest.target), manifest
        self._gpu = gpu_at(index_of(settings.device or "GPU"))
        compiles = can(self._trt, "plans that are compiled on the device")
        plan = plan_of_bundle(self._trt, Bundle(folder, manifest), None if compiles else self._gpu).plan
        self._execution = Execution(
            self._trt,
            plan,
            manifest,
            self._gpu,
            cuda_graph=settings.cuda_graph,
            kernels=file_for(plan, self._gpu, plans_folder()) if compiles else None,
            weights=folder / ONNX if options_from_manifest(manifest.options).strip_weights else None,
        )
        self.batch_limits = self._execution.batch_limits

    @staticmethod
    def check_device(device: str) -> None:
        """Fails where there is no such GPU."""
        gpu_at(index_of(device))

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        return self._execution.infer(inputs)

    def infer_on_device(self, inputs: dict[str, np.ndarray]) -> dict[str, DeviceArray]:
        """The same, with results in GPU memory."""
        return self._execution.infer_on_device(inputs)

    def describe(self) -> dict[str, str]:
        """What runs; `layers` counts the types that the layers of the plan compute in."""
        layers = Counter(operator.precision for operator in self.operators())
        return {
            "backend": self._manifest.target,
            "version": str(self._trt.__version__),
            "device": f"{self._gpu.name} (compute capability {self._gpu.compute_capability})",
            "precision": self._manifest.precision,
            "layers": ", ".join(f"{count} {name}" for name, count in layers.most_common()),
        }

    def operators(self) -> list[Operator]:
        """The layers of the plan, with the ONNX nodes that each does the work of, or else TensorRT's own name."""
        return list(self._layers().values())

    def times(self, inputs: dict[str, np.ndarray], runs: int) -> list[Timed]:
        """TensorRT's own times of its layers, in an execution context for this only. Not yet tried on a GPU."""
        layers = self._layers()
        return [
            Timed(layers.get(name) or Operator("", "unknown", (name,)), milliseconds)
            for name, milliseconds in self._execution.layer_times(inputs, runs).items()
        ]

    def close(self) -> None:
        """Waits for running inferences, and frees the GPU's memory."""
        self._execution.close()

    def _layers(self) -> dict[str, Operator]:
        """By TensorRT's name of the layer."""
        layers = layers_of(self._execution.information())
        return {each.name: Operator(each.kind, each.precision, each.nodes or (each.name,)) for each in layers}
