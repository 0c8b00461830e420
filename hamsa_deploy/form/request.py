"""What to export, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from hamsa_deploy.models.preprocessing import Preprocessing
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.precision.int8.thresholds import AUTO
from hamsa_deploy.precision.passes import PASSES
from hamsa_runtime.tensorrt.options import BuildOptions

# What each target can be exported in; bf16 is OpenVINO's only: ONNX Runtime's CPU has no products in it.
PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8"),
}
# Targets without a use for native transforms, and why: for the others the engine has an FFT, TensorRT's from 11.2 on.
NO_NATIVE_FFT = {
    "openvino": "OpenVINO 2026.4 reads the operator DFT wrongly",
    "tensorrt-rtx": "TensorRT-RTX 1.7 has no plugin for the operator DFT",
}
MEASURED = ("fp16", "int8")  # precisions that depend on ranges measured on images


@dataclass(frozen=True)
class Request:
    """What to export, and how. See `pipeline.export` for the fields."""

    model: nn.Module | OnnxFile
    to: str
    precision: str = "fp32"
    name: str = "model"
    example_inputs: Sequence[Any] | None = None
    preprocessing: Preprocessing | None = None
    input_dtype: str = "uint8"
    batch: int | None = None
    labels: Sequence[str] | None = None
    data: Any = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tune: bool = False
    calibration: Any = None
    calibration_method: str = AUTO
    passes: Sequence[str] = tuple(PASSES)
    max_drop: float | None = None
    classes: Sequence[int] | None = None
    builder: BuildOptions | None = None
    require_plan: bool = False
    fft: str = "real"


def builder_of(request: Request) -> BuildOptions:
    """A fixed batch is the whole profile."""
    options, fixed = request.builder or BuildOptions(), request.batch
    return options if fixed is None else replace(options, min_batch=fixed, opt_batch=fixed, max_batch=fixed)
