"""`export`: from a model to a checked bundle, stage by stage.

capture and realise   nn.Module -> real-valued ExportedProgram      spectral.to_real
  or replace          ONNX file -> real-valued ONNX graph           onnx_import
tune                  the plans of its transforms, if asked for     pipeline.tuning
emit                  -> ONNX                                       targets.onnx_file
type                  -> float16 ONNX, if asked for                 precision.float16
  or quantise         -> int8 ONNX or OpenVINO IR, if asked for     pipeline.int8
convert               -> OpenVINO IR, if asked for                  targets.openvino_ir
  or build            -> TensorRT plan, where that can be           targets.tensorrt_plan
parity                the staged bundle against the original        parity
speed                 a lower precision against float32             measure.execution
pack                  manifest, hashes, one rename                  pipeline.staging
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from hamsa_deploy.form.from_request import parity_data, real_model_of_request
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.measure.execution import measure_execution, warnings_of
from hamsa_deploy.models.preprocessing import Preprocessing
from hamsa_deploy.onnx_import import OnnxFile, load_onnx
from hamsa_deploy.parity import ParityReport, check_parity
from hamsa_deploy.pipeline.checks import check_labels, check_request
from hamsa_deploy.pipeline.files import Progress, no_progress, replace_onnx_by_ir, tuned_form, write_files
from hamsa_deploy.pipeline.int8 import Calibrated
from hamsa_deploy.pipeline.manifest import ExportFacts, manifest_of
from hamsa_deploy.pipeline.max_drop import described
from hamsa_deploy.pipeline.staging import Stage, staged_bundle
from hamsa_deploy.precision.int8.quantisation import ranking
from hamsa_deploy.precision.int8.thresholds import AUTO
from hamsa_deploy.precision.passes import PASSES
from hamsa_deploy.targets import tensorrt_plan
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import ParityError
from hamsa_runtime.tensorrt.achieved import fallen_text
from hamsa_runtime.tensorrt.options import BuildOptions

FLOAT32 = "fp32"

LOG = logging.getLogger(__name__)


def export(
    model: nn.Module | OnnxFile | str | Path,
    example_inputs: Sequence[Any] | None = None,
    *,
    to: str,
    output: str | Path,
    precision: str = "fp32",
    name: str = "model",
    preprocessing: Preprocessing | None = None,
    input_dtype: str = "uint8",
    batch: int | None = None,
    labels: Sequence[str] | None = None,
    data: Any = None,
    provenance: Mapping[str, Any] | None = None,
    tune: bool = False,
    calibration: Any = None,
    calibration_method: str = AUTO,
    passes: Sequence[str] = tuple(PASSES),
    max_drop: float | None = None,
    classes: Sequence[int] | None = None,
    builder: BuildOptions | None = None,
    require_plan: bool = False,
    fft: str = "real",
    progress: Progress = no_progress,
) -> Bundle:
    """Export a model, check it against the original, and publish the bundle.

    Args:
        model: a module in eval mode; or an ONNX file, whose DFT and STFT operators are then replaced.
        example_inputs: the model's inputs, batch first. Not needed for a model of images (`preprocessing`). For an ONNX
            file, arrays whose shapes settle what the file leaves open beside the batch; seldom needed.
        to: "onnx", "openvino", "tensorrt" or "tensorrt-rtx".
        output: the bundle's folder; an older bundle there is replaced in one step, once the new one has passed.
        precision: "fp32", "fp16", "int8" or (openvino) "bf16".
        name: of the bundle, in its manifest.
        preprocessing: makes it a model of images: the bundle takes images of any size.
        input_dtype: for a model of images, "uint8" puts the normalisation into the graph; "float32" leaves it to the
            runtime, and the graph takes normalised NCHW floats.
        batch: a fixed batch size; by default the batch is dynamic.
        labels: class names in order of the logits.
        data: images (or arrays) for the parity check, and for the ranges of float16; by default random arrays for a
            model without preprocessing.
        provenance: `reference`, `config` and `weights` for the manifest.
        tune: measure the plans of the transforms on this machine, which takes minutes, instead of trusting the cost
            model; the manifest's `plan` lists what was measured.
        calibration: what ranges are measured on, for a precision in MEASURED: a folder of images, an .npz or .npy file,
            an iterable of images (for a model of arrays, of dicts of arrays), or None for the built-in samples.
        calibration_method: for int8, "min-max", "percentile", "entropy", "mse", or "auto", which keeps the best of them
            on inputs that it holds out.
        passes: for int8, which exact rewritings to apply first; see precision.passes.
        max_drop: for int8, the largest loss of accuracy in percentage points: of top-1 where `classes` is given, else
            the share of `data` on which bundle and model disagree. The layers that cost most stay in floating point, as
            few as possible.
        classes: the true class of each of `data`.
        builder: options for TensorRT's builder, here and on the device.
        require_plan: fail where no TensorRT plan can be built here; else it is left to the device.
        fft: "real" for transforms as products, or "native" for one operator DFT each, where the engine has an FFT of
            its own (all but NO_NATIVE_FFT). Everything around them is the same.
        progress: called with a stage's name, gives a context manager around that stage.

    Returns:
        The published bundle; its manifest holds the parity metrics, and for a lower precision what runs in it and how
        fast. That it does not pay, or not everywhere, is logged as a warning.

    Raises:
        ParityError: the bundle does not compute what the model computes; nothing is published.
        InputError, MissingError, BuildError: see hamsa_runtime.errors; nothing is published.
    """
    model = load_onnx(model) if isinstance(model, str | Path) else model
    request = Request(
        model, to, precision, name, example_inputs, preprocessing, input_dtype, batch, labels, data, provenance or {},
        tune, calibration, calibration_method, passes, max_drop, classes, builder, require_plan, fft,
    )  # fmt: skip
    check_request(request)
    with staged_bundle(output) as stage, stage.scratch() as scratch:
        float32_bundle = scratch if "speed" in stages_of(to, precision) else None
        with progress("real form"):
            form = real_model_of_request(request)
            check_labels(request, form)
        if tune:
            with progress("tune"):
                form = tuned_form(request, form)
        written = write_files(request, form, stage.folder, progress, float32_bundle)
        manifest = manifest_of(request, form, written)
        with progress("parity"):
            stage.write_manifest(manifest)
            report = check_parity(stage.folder, model, parity_data(request, form))
            _require(report, written.ready)
        if float32_bundle:
            with progress("speed"):
                manifest["execution"] = _execution(request, form, written, stage, float32_bundle)
        with progress("pack"):
            stage.write_manifest({**manifest, "parity": report.as_manifest()})
            bundle = stage.publish()
    if bundle.manifest.execution:
        for sentence in warnings_of(bundle.manifest.execution, to, precision):
            LOG.warning(sentence)
    engine = bundle.manifest.engine
    if engine is not None and engine.achieved is not None and engine.achieved.fell_back:
        LOG.warning("%s", fallen_text(engine.achieved.fell_back))
    return bundle


def _require(report: ParityReport, ready: Calibrated | None) -> None:
    """Raise ParityError if the verdict is negative; for int8 with the layers that cost most."""
    if ready is None or report.passed:
        report.require()
        return
    costs = ranking(ready.quantisation, ready.measurements)
    raise ParityError(
        "int8 is outside its limits: " + "; ".join(report.failures),
        expected=", ".join(f"{k} {v:g}" for k, v in report.thresholds.as_dict().items()),
        cause="layers that int8 cannot hold, with the signal-to-noise ratio that each alone leaves: "
        + described(ready.quantisation, costs),
        fix="--max-drop 0.5, which keeps the costliest layers in floating point; more calibration images; or --bf16",
    )


def _execution(
    request: Request, form: RealModel, written: ExportFacts, stage: Stage, float32_bundle: Path
) -> dict[str, Any]:
    """For the manifest; `float32_bundle` holds the float32 ONNX file and becomes a bundle."""
    if request.to == "openvino":
        replace_onnx_by_ir(float32_bundle, FLOAT32)
    float32 = Stage(float32_bundle, float32_bundle).write_manifest(
        manifest_of(replace(request, precision=FLOAT32), form, ExportFacts())
    )
    inputs = next(feeds_of(parity_data(request, form), float32.manifest))
    return measure_execution(stage.folder, float32_bundle, inputs, written.int8_layers)


def stages_of(to: str, precision: str, *, tune: bool = False, search: bool = False) -> list[str]:
    """The stages that `export` goes through: what it calls `progress` with, in order."""
    tuning = ["tune"] if tune else []
    searching = ["search"] if search else []
    typing = {"fp16": ["float16"], "int8": ["calibrate", *searching, "int8"]}.get(precision, [])
    conversion = ["openvino"] if to == "openvino" and precision != "int8" else []
    building = ["plan"] if to in tensorrt_plan.TARGETS else []
    # A second plan, in float32, would take as long again, and nothing is learnt without a GPU.
    comparison = [] if precision == FLOAT32 or building else ["speed"]
    return ["real form", *tuning, "onnx", *typing, *conversion, *building, "parity", *comparison, "pack"]
