"""The manifest of a bundle: from the request and its real model, and then what became of them, fact by fact."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request, builder_of
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.pipeline.int8 import Calibrated
from hamsa_deploy.targets import all_targets, target_of
from hamsa_runtime.errors import unknown_name
from hamsa_runtime.manifest import Calibration, EngineBuild, Int8Choice, Manifest, Model, Preprocessing, WeightsFile
from hamsa_runtime.vocabulary import SCHEMA_VERSION

Layout = Literal["NHWC", "NCHW"] | None
# What a request may say of its model.
PROVENANCE = ("reference", "config", "weights", "parameters")


@dataclass(frozen=True)
class ExportFacts:
    """What became of the request while the files were written.

    Attributes:
        islands: layers that float16 leaves in float32, each with its reason.
        calibration: int8's, as the manifest has it.
        engine: TensorRT's plan, or why there is none.
        calibrated: int8's calibration itself, for the advice where parity fails.
        int8_layers: node of the ONNX graph -> what reports call it, for the products asked for in int8.
        choice: where int8 was asked for only where it pays: what was timed.
        precision: of the files, where another one than asked for was as fast.
    """

    islands: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None
    engine: EngineBuild | None = None
    calibrated: Calibrated | None = None
    int8_layers: Mapping[str, str] = field(default_factory=dict)
    choice: Int8Choice | None = None
    precision: str | None = None

    def added_to(self, manifest: Manifest) -> Manifest:
        """A manifest that tells them."""
        return replace(
            manifest,
            precision=self.precision or manifest.precision,
            islands=self.islands,
            calibration=self.calibration,
            engine=self.engine,
            int8_choice=self.choice,
        )


def manifest_of(request: Request, real: RealModel) -> Manifest:
    """Everything that is known before there are files."""
    how = _preprocessing(request)
    layout: Layout = None if how is None else "NHWC" if how.normalise == "graph" else "NCHW"
    return Manifest(
        schema=SCHEMA_VERSION,
        name=request.name,
        model=_model(request, real),
        inputs=tuple(replace(spec, layout=layout) for spec in real.inputs),
        outputs=real.outputs,
        preprocessing=how,
        labels=None if request.labels is None else tuple(request.labels),
        target=request.to,
        precision=request.precision,
        options=builder_of(request, real.batch).as_options() if target_of(request.to).has_builder else {},
        plan=real.transforms,
        files={},
        versions=tool_versions(),
        calibration=None,
        parity=None,
        axes=real.axes,
        states=tuple(state for state, _ in real.states),
        audio=real.audio,
        stand_ins=real.stand_ins,
        scans=real.scans,
        linears=real.linears,
    )


def _preprocessing(request: Request) -> Preprocessing | None:
    """The request's, which also says what the graph takes: pixels, which it normalises, or what the runtime makes."""
    how, in_graph = request.preprocessing, request.input_dtype == "uint8"
    return None if how is None else replace(how, normalise="graph" if in_graph else "runtime")


def _model(request: Request, real: RealModel) -> Model:
    found = Model(reference=real.reference, config={}, weights=None, parameters=real.parameters)
    if isinstance(request.model, OnnxFile):
        found = _of_file(request.model, found)
    told = dict(request.provenance or {})
    for key in told:
        if key not in PROVENANCE:
            raise unknown_name("key of provenance", key, PROVENANCE)
    if told.get("weights") is not None:
        told["weights"] = WeightsFile(**told["weights"])
    return replace(found, **told)


def _of_file(file: OnnxFile, model: Model) -> Model:
    """An ONNX file is its own weights; its external data go into the configuration."""
    (name, digest), *data = file.sha256.items()
    return replace(model, weights=WeightsFile(name, digest), config={"external_data": dict(data)} if data else {})


def tool_versions() -> dict[str, str]:
    """Of Python and of every package that a bundle depends on, as far as they are installed."""
    engines = [package.pip_name for target in all_targets() for package in target.packages]
    found = {"python": platform.python_version()}
    for package in (*"hamsa-deploy hamsa-runtime torch onnx onnxscript onnxruntime".split(), *engines):
        with contextlib.suppress(PackageNotFoundError):  # a target that was not asked for may be missing
            found[package] = version(package)
    return found
