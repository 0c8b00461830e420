"""`export`: from a model to a checked bundle, stage by stage.

capture and realise   nn.Module -> real-valued ExportedProgram      spectral.to_real
  or replace          ONNX file -> real-valued ONNX graph           onnx_entrance
tune                  the plans of its transforms, if asked for     tuning
emit                  -> ONNX                                       targets.onnx
type                  -> float16 ONNX, if asked for                 precision.float16
  or quantise         -> int8 ONNX or OpenVINO IR, if asked for     precision.calibrate
convert               -> OpenVINO IR, if asked for                  targets.openvino
  or build            -> TensorRT plan, where that can be           targets.tensorrt
parity                the staged bundle against the original        parity
speed                 a lower precision against float32             precision.execution
pack                  manifest, hashes, one rename                  bundle
"""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from hamsa_deploy.bundle import Stage, staged_bundle
from hamsa_deploy.models.normalisation import normalised, scale_and_offset
from hamsa_deploy.models.preprocessing import Preprocessing
from hamsa_deploy.onnx_entrance import OnnxFile, form_of_file, load_onnx
from hamsa_deploy.parity import ParityReport, check_parity
from hamsa_deploy.precision.accuracy import described, layers_kept
from hamsa_deploy.precision.calibrate import RANGE_IMAGES, Calibrated, calibrated, feeds_of_inputs
from hamsa_deploy.precision.calibration_set import calibration_set
from hamsa_deploy.precision.evaluation import Arrays
from hamsa_deploy.precision.execution import execution_of, warnings_of
from hamsa_deploy.precision.feeds import feeds_of
from hamsa_deploy.precision.float16 import float16_from_float32
from hamsa_deploy.precision.passes import PASSES
from hamsa_deploy.precision.quantisation import ranking
from hamsa_deploy.precision.ranges import ranges_of
from hamsa_deploy.precision.thresholds import AUTO, METHODS
from hamsa_deploy.real_form import RealForm, form_of_program
from hamsa_deploy.spectral import FFTS, to_real
from hamsa_deploy.spectral.plans import Plan
from hamsa_deploy.targets import onnx as onnx_target
from hamsa_deploy.targets import openvino as openvino_target
from hamsa_deploy.targets import tensorrt as tensorrt_target
from hamsa_deploy.tuning import choices, engine_timer, with_measurements
from hamsa_runtime.backends import backend_for
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError, MissingError, ParityError, unknown_name
from hamsa_runtime.manifest import SCHEMA_VERSION, Manifest, manifest_from_json
from hamsa_runtime.tensorrt.achieved import fallen_text
from hamsa_runtime.tensorrt.gpu import has_gpu
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
FLOAT32 = "fp32"
EXAMPLE_BATCH = 2  # torch.export takes a dimension of size 1 for fixed

LOG = logging.getLogger(__name__)

NO_PLANS: Mapping[int, Plan] = MappingProxyType({})
Progress = Callable[[str], AbstractContextManager[Any]]


def no_progress(stage: str) -> AbstractContextManager[None]:
    """Says nothing."""
    return nullcontext()


@dataclass(frozen=True)
class Request:
    """What to export, and how. See `export` for the fields."""

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
    with staged_bundle(output) as stage, tempfile.TemporaryDirectory() as aside:
        twin = Path(aside) if "speed" in stages_of(to, precision) else None
        with progress("real form"):
            form = form_of_request(request)
            check_labels(request, form)
        if tune:
            with progress("tune"):
                form = tuned_form(request, form)
        written = _write_files(request, form, stage.folder, progress, twin)
        manifest = manifest_of(request, form, written)
        with progress("parity"):
            stage.write_manifest(manifest)
            report = check_parity(stage.folder, model, _parity_data(request, form))
            _require(report, written.ready)
        if twin:
            with progress("speed"):
                manifest["execution"] = _execution(request, form, written, stage, twin)
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


@dataclass(frozen=True)
class Written:
    """What became of the request: float16's islands, int8's calibration and TensorRT's plan, as the manifest has them;
    the calibration itself, and which nodes are int8, with what reports call them."""

    islands: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    engine: Mapping[str, Any] | None = None
    ready: Calibrated | None = None
    int8_layers: Mapping[str, str] = field(default_factory=dict)


def _write_files(
    request: Request, form: RealForm, folder: Path, progress: Progress, twin: Path | None = None
) -> Written:
    """Everything a bundle holds but its manifest; the float32 ONNX file also goes to `twin`."""
    with progress("onnx"):
        onnx_model = form.write(folder / onnx_target.FILE)
        if twin:
            shutil.copytree(folder, twin, dirs_exist_ok=True)
    written = _write_typed(request, form, onnx_model, folder, progress)
    if request.to == "openvino" and request.precision != "int8":
        with progress("openvino"):
            _replace_onnx_by_ir(folder, request.precision)
    if request.to in tensorrt_target.TARGETS:
        with progress("plan"):
            return replace(written, engine=_write_plan(request, folder))
    return written


def _write_typed(request: Request, form: RealForm, model: ir.Model, folder: Path, progress: Progress) -> Written:
    """The float32 ONNX file in the precision asked for."""
    if request.precision == "int8":
        return _write_int8(request, form, model, folder, progress)
    islands: dict[str, str] = {}
    if request.precision == "fp16":
        with progress("float16"):
            islands = float16_from_float32(model, ranges_of(model, _range_feeds(request, form)))
            onnx_target.save(model, folder / onnx_target.FILE)
    if request.to in tensorrt_target.TARGETS:
        tensorrt_target.save(model, folder / onnx_target.FILE)
    return Written(islands)


def _write_plan(request: Request, folder: Path) -> dict[str, Any]:
    """The plan, where it can be built here; elsewhere the reason."""
    engine = tensorrt_target.write_plan(request.to, folder, _builder_of(request))
    if engine["missing"] and request.require_plan:
        raise MissingError(
            f"no plan can be built here: {engine['missing']}",
            expected="TensorRT and a GPU, because of --require-plan",
            fix="leave --require-plan away: the plan is then built on the device",
        )
    return engine


def _write_int8(request: Request, form: RealForm, model: ir.Model, folder: Path, progress: Progress) -> Written:
    with progress("calibrate"):
        ready = calibrated(
            model, _draft(request, form), request.calibration, request.calibration_method, request.passes
        )
    kept: list[str] = []
    if request.max_drop is not None:
        with progress("search"):
            kept = _layers_kept(request, form, ready, request.max_drop)
    with progress("int8"):
        islands = ready.write(request.to, folder, kept)
    layers = {site.node: site.layer for site in ready.quantisation.without(kept)}
    return Written(islands, calibration=ready.as_manifest(kept), ready=ready, int8_layers=layers)


def _layers_kept(request: Request, form: RealForm, ready: Calibrated, max_drop: float) -> list[str]:
    """Nodes that have to stay in floating point for the accuracy to hold."""
    data = _parity_data(request, form)

    def build(folder: Path, kept: Sequence[str]) -> None:
        ready.write(request.to, folder, kept)
        Stage(folder, folder).write_manifest(manifest_of(request, form, Written()))

    return layers_kept(ready, _draft(request, form), build, request.model, data, request.classes, max_drop)


def _execution(request: Request, form: RealForm, written: Written, stage: Stage, twin: Path) -> dict[str, Any]:
    """For the manifest; `twin` holds the float32 ONNX file and becomes a bundle."""
    if request.to == "openvino":
        _replace_onnx_by_ir(twin, FLOAT32)
    float32 = Stage(twin, twin).write_manifest(manifest_of(replace(request, precision=FLOAT32), form, Written()))
    inputs = next(feeds_of(_parity_data(request, form), float32.manifest))
    return execution_of(stage.folder, twin, inputs, written.int8_layers)


def stages_of(to: str, precision: str, *, tune: bool = False, search: bool = False) -> list[str]:
    """The stages that `export` goes through: what it calls `progress` with, in order."""
    tuning = ["tune"] if tune else []
    searching = ["search"] if search else []
    typing = {"fp16": ["float16"], "int8": ["calibrate", *searching, "int8"]}.get(precision, [])
    conversion = ["openvino"] if to == "openvino" and precision != "int8" else []
    building = ["plan"] if to in tensorrt_target.TARGETS else []
    # A second plan, in float32, would take as long again, and nothing is learnt without a GPU.
    comparison = [] if precision == FLOAT32 or building else ["speed"]
    return ["real form", *tuning, "onnx", *typing, *conversion, *building, "parity", *comparison, "pack"]


def check_request(request: Request) -> None:
    """Refuse what cannot be exported before anything is built."""
    if request.to not in PRECISIONS:
        raise unknown_name("target", request.to, PRECISIONS)
    if request.precision not in PRECISIONS[request.to]:
        raise InputError(
            f"precision {request.precision} for {request.to}",
            expected=f"one of {', '.join(PRECISIONS[request.to])}",
            cause="ONNX Runtime's CPU has no products in bfloat16" if request.precision == "bf16" else "",
            fix="--to openvino --bf16" if request.precision == "bf16" else "",
        )
    if request.input_dtype not in ("uint8", "float32"):
        raise unknown_name("input type", request.input_dtype, ("uint8", "float32"))
    _check_calibration(request)
    _check_fft(request)
    if request.batch is not None and request.batch < 1:
        raise InputError(f"a batch of {request.batch}", expected="at least 1")
    if isinstance(request.model, nn.Module):
        _check_module(request, request.model)
    elif request.preprocessing is not None:
        raise InputError(
            f"preprocessing for {request.model.path}", expected="arrays, which an ONNX file takes as it is"
        )
    _check_builder(request)
    # Parity runs the bundle: without its engine, fail now. What TensorRT lacks is left to the device.
    backend_for(request.to, "onnxruntime" if request.to in tensorrt_target.TARGETS else None)


def _check_builder(request: Request) -> None:
    if request.to in tensorrt_target.TARGETS:
        options = request.builder or BuildOptions()
        options.check()
        if request.batch is not None and options.profile not in (BuildOptions().profile, (request.batch,) * 3):
            raise InputError(
                f"a batch of {request.batch} with the batch profile {', '.join(map(str, options.profile))}",
                expected="a fixed batch, or a profile for a dynamic one",
                fix="leave one of --batch and --batch-profile away",
            )
        if request.tune and not has_gpu():
            raise MissingError(
                f"no GPU to measure plans on for {request.to}", fix="leave --tune away: the cost model then chooses"
            )
        return
    if request.builder is not None or request.require_plan:
        raise InputError(
            f"options of TensorRT's builder for the target {request.to}",
            expected=f"them only for {' and '.join(tensorrt_target.TARGETS)}",
            fix="leave them away, or choose another target",
        )


def _check_calibration(request: Request) -> None:
    if request.calibration_method not in (*METHODS, AUTO):
        raise unknown_name("calibration method", request.calibration_method, (*METHODS, AUTO))
    if request.calibration is not None and request.precision not in MEASURED:
        raise InputError(
            f"calibration inputs for precision {request.precision}",
            expected=f"calibration only for {' and '.join(MEASURED)}, which depend on measured ranges",
            fix="leave --calibration away, or choose another precision",
        )
    if request.calibration_method != AUTO and request.precision != "int8":
        raise InputError(
            f"calibration method {request.calibration_method} for precision {request.precision}",
            expected="a method only for int8, whose scales it chooses",
            fix="leave --calibration-method away, or choose another precision",
        )
    if request.max_drop is not None and request.precision != "int8":
        raise InputError(
            f"a largest loss of {request.max_drop:g} points for precision {request.precision}",
            expected="--max-drop only for int8, some of whose layers can stay in floating point",
            fix="leave --max-drop away: parity has limits for every precision",
        )
    for name in request.passes:
        if name not in PASSES:
            raise unknown_name("pass", name, PASSES)


def _check_fft(request: Request) -> None:
    if request.fft not in FFTS:
        raise unknown_name("form of transforms", request.fft, FFTS)
    if request.fft == "real":
        return
    if request.to in NO_NATIVE_FFT:
        able = [target for target in PRECISIONS if target not in NO_NATIVE_FFT]
        raise InputError(
            f"native transforms for {request.to}",
            expected=f"them only for {' and '.join(able)}, whose engines have an FFT that works",
            cause=NO_NATIVE_FFT[request.to],
            fix="leave --fft native away: products are what this engine is good at",
        )
    if isinstance(request.model, OnnxFile):
        raise InputError(
            f"native transforms for {request.model.path}",
            expected="a PyTorch model: an ONNX file is there to have its DFT operators replaced",
            fix="leave --fft native away; or give the file to the engine as it is",
        )
    if request.tune:
        raise InputError(
            "tuning with native transforms",
            expected="one of them: a native transform has no plan to choose",
            fix="leave --tune away, or --fft native",
        )


def _check_module(request: Request, model: nn.Module) -> None:
    if request.preprocessing is None and request.example_inputs is None:
        raise InputError(
            "no example inputs",
            expected="example_inputs, or preprocessing for a model of images",
            fix="--input-shape 1x3x224x224",
        )
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise InputError(
            f"the model holds NaN or Inf in {', '.join(bad)}", expected="finite weights", fix="another checkpoint"
        )


def form_of_request(request: Request, plans: Mapping[int, Plan] = NO_PLANS) -> RealForm:
    """Make the model real: capture a module, with its normalisation where the graph has it; or replace the transforms
    of an ONNX file. `plans` are for some lengths; the cost model chooses the others.
    """
    model = request.model
    if isinstance(model, OnnxFile):
        shapes = [tuple(example.shape) for example in request.example_inputs or ()]
        return form_of_file(model, target=request.to, shapes=shapes, batch=request.batch, plans=plans)
    inputs = _example_inputs(request)
    dynamic_shapes: dict[str, Any] | None = None if request.batch is None else {}
    with _normalising(request, model):
        program = to_real(model, inputs, dynamic_shapes=dynamic_shapes, target=request.to, plans=plans, fft=request.fft)
    return form_of_program(program, model)


def tuned_form(request: Request, form: RealForm) -> RealForm:
    """The form with the plans that are fastest here, and with what was measured in its transforms."""
    precision = "fp32" if request.precision == "int8" else request.precision  # int8 leaves transforms as they are

    def build(model: nn.Module, example: torch.Tensor, plans: Mapping[int, Plan], folder: Path) -> None:
        trial = Request(model, request.to, precision, example_inputs=(example,), batch=len(example))
        real = form_of_request(trial, plans)
        written = _write_files(trial, real, folder, no_progress)
        Stage(folder, folder).write_manifest(manifest_of(trial, real, written))

    chosen = choices(form.transforms, request.to, engine_timer(build, request.batch or 1))
    plans = {n: choice.plan for n, choice in chosen.items()}
    if any(choice.plan != choice.default for choice in chosen.values()):
        form = form_of_request(request, plans)
    return replace(form, transforms=with_measurements(form.transforms, chosen))


def check_labels(request: Request, form: RealForm) -> None:
    """One label for every class, wherever the number of classes is known."""
    outputs = {spec["name"]: spec["shape"] for spec in form.outputs}
    shape = outputs.get("logits", next(iter(outputs.values()), []) if len(outputs) == 1 else [])
    if request.labels is not None and len(shape) == 2 and len(request.labels) != shape[1]:
        raise InputError(
            f"{len(request.labels)} labels for a model with {shape[1]} classes",
            expected=f"{shape[1]} labels, in order of the logits",
        )


def _example_inputs(request: Request) -> tuple[Any, ...]:
    batch = request.batch or EXAMPLE_BATCH
    how = request.preprocessing
    if how is None:
        return tuple(request.example_inputs or ())
    if request.input_dtype == "uint8":
        return (torch.zeros(batch, *how.size, how.channels, dtype=torch.uint8),)
    return (torch.zeros(batch, how.channels, *how.size),)


@contextlib.contextmanager
def _normalising(request: Request, model: nn.Module) -> Iterator[None]:
    """While it lasts, the model takes uint8 NHWC pixels. A hook, so that the names of its parameters stay theirs."""
    how = request.preprocessing
    if how is None or request.input_dtype != "uint8":
        yield
        return
    scale, offset = scale_and_offset(how.mean, how.std)

    def normalise(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (normalised(args[0], scale, offset), *args[1:])

    hook = model.register_forward_pre_hook(normalise)
    try:
        yield
    finally:
        hook.remove()


def _replace_onnx_by_ir(folder: Path, precision: str) -> None:
    onnx_file = folder / onnx_target.FILE
    openvino_target.ir_from_onnx(onnx_file, folder, precision)
    for path in folder.glob(f"{onnx_target.FILE}*"):
        path.unlink()


def manifest_of(request: Request, form: RealForm, written: Written) -> dict[str, Any]:
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
            **request.provenance,
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


def _options(request: Request) -> dict[str, Any]:
    """Of the builder, for the device that builds the plan."""
    return _builder_of(request).as_manifest() if request.to in tensorrt_target.TARGETS else {}


def _builder_of(request: Request) -> BuildOptions:
    """A fixed batch is the whole profile."""
    options, fixed = request.builder or BuildOptions(), request.batch
    return options if fixed is None else replace(options, min_batch=fixed, opt_batch=fixed, max_batch=fixed)


def _files_of(model: nn.Module | OnnxFile) -> dict[str, Any]:
    """Of an ONNX file, itself as the weights, and its external data in the configuration."""
    if not isinstance(model, OnnxFile):
        return {}
    (name, digest), *data = model.sha256.items()
    return {"weights": {"file": name, "sha256": digest}, "config": {"external_data": dict(data)} if data else {}}


def _parity_data(request: Request, form: RealForm) -> Any:
    if request.data is not None:
        return request.data
    if request.preprocessing is not None:
        raise InputError("no images for the parity check", expected="data=, a list of images")
    generator = torch.Generator().manual_seed(0)
    return {spec["name"]: _random(spec, generator) for spec in form.inputs}


def _range_feeds(request: Request, form: RealForm) -> Iterable[Arrays]:
    """What the ranges of float16 are measured on: calibration inputs if given, or else the data of the parity check."""
    manifest = _draft(request, form)
    if request.calibration is not None:
        return feeds_of_inputs(calibration_set(request.calibration, manifest, RANGE_IMAGES).inputs, manifest)
    return feeds_of(_parity_data(request, form), manifest, limit=RANGE_IMAGES)


def _draft(request: Request, form: RealForm) -> Manifest:
    """The manifest as far as it is known before there are files: what the graph's inputs are made of."""
    return manifest_from_json(json.dumps({**manifest_of(request, form, Written()), "files": {}}).encode())


def _random(spec: Mapping[str, Any], generator: torch.Generator) -> np.ndarray:
    """Normal numbers; for a type of whole numbers 0 and 1, which every index and mask may be."""
    dtype: torch.dtype = getattr(torch, spec["dtype"])
    shape = [EXAMPLE_BATCH if size == "batch" else size for size in spec["shape"]]
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype).numpy()
    return torch.randint(0, 2, shape, generator=generator).to(dtype).numpy()


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
