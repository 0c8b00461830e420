"""The manifest of a bundle, from the request and what became of it."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import nn

from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request, builder_of
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.pipeline.int8 import Calibrated
from hamsa_deploy.targets import target_of
from hamsa_runtime.manifest import SCHEMA_VERSION, Manifest, manifest_from_json


@dataclass(frozen=True)
class ExportFacts:
    """What became of the request: float16's islands, int8's calibration and TensorRT's plan, as the manifest has them;
    the calibration itself, and which nodes are int8, with what reports call them."""

    islands: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    engine: Mapping[str, Any] | None = None
    ready: Calibrated | None = None
    int8_layers: Mapping[str, str] = field(default_factory=dict)


def manifest_of(request: Request, form: RealModel, written: ExportFacts) -> dict[str, Any]:
    """Everything the manifest holds but `files`, before parity is known."""
    how = request.preprocessing
    layout = None if how is None else "NHWC" if request.input_dtype == "uint8" else "NCHW"
    normalise = "graph" if request.input_dtype == "uint8" else "runtime"
    return {
        "schema": SCHEMA_VERSION,
        "name": request.name,
        "model": {
            "reference": form.reference,
            "config": {},
            "weights": None,
            "parameters": form.parameters,
            **_files_of(request.model),
            **(request.provenance or {}),
        },
        "inputs": [{**spec, "layout": layout} for spec in form.inputs],
        "outputs": form.outputs,
        "preprocessing": None if how is None else {**how.as_manifest(), "normalise": normalise},
        "labels": None if request.labels is None else list(request.labels),
        "target": request.to,
        "precision": request.precision,
        "options": _options(request),
        "islands": dict(written.islands),
        "plan": form.transforms,
        "versions": tool_versions(),
        "calibration": None if written.calibration is None else dict(written.calibration),
        "parity": None,
        **({} if written.engine is None else {"engine": dict(written.engine)}),
    }


def draft_of(request: Request, form: RealModel) -> Manifest:
    """The manifest as far as it is known before there are files: what the graph's inputs are made of."""
    return manifest_from_json(json.dumps({**manifest_of(request, form, ExportFacts()), "files": {}}).encode())


def _options(request: Request) -> dict[str, Any]:
    """Of the builder, for the device that builds the plan."""
    return builder_of(request).as_manifest() if target_of(request.to).has_builder else {}


def _files_of(model: nn.Module | OnnxFile) -> dict[str, Any]:
    """Of an ONNX file, itself as the weights, and its external data in the configuration."""
    if not isinstance(model, OnnxFile):
        return {}
    (name, digest), *data = model.sha256.items()
    return {"weights": {"file": name, "sha256": digest}, "config": {"external_data": dict(data)} if data else {}}


def tool_versions() -> dict[str, str]:
    """Of Python and of every package that a bundle depends on, as far as they are installed."""
    packages = (
        "hamsa-deploy hamsa-runtime torch onnx onnxscript onnxruntime openvino nncf tensorrt tensorrt-rtx".split()
    )
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):  # a target that was not asked for may be missing
            found[package] = version(package)
    return found
