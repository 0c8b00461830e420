"""`export`: from a model to a checked bundle, stage by stage.

capture and realise   nn.Module -> real-valued ExportedProgram      targets.to_real
  or replace          ONNX file -> real-valued ONNX graph           onnx_import
tune                  the plans of its transforms, if asked for     pipeline.tuning
emit                  -> ONNX, unless the target takes programs     targets.onnx_file
type                  -> float16 ONNX, if asked for                 precision.float16
  or quantise         -> int8 ONNX or OpenVINO IR, if asked for     pipeline.int8
write                 -> what the target's engine loads             targets.<name>
parity                the staged bundle against the original        parity
speed                 a lower precision against float32             measure.execution
pack                  manifest, hashes, one rename                  pipeline.staging
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from pathlib import Path

from torch import nn

from hamsa_deploy.form.from_request import called, parity_data, real_model_of_request
from hamsa_deploy.form.options import documented, option, taking
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import ExportOptions, Request
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.inputs.files import kind_of_data, read_data
from hamsa_deploy.measure.execution import measure_execution, warnings_of
from hamsa_deploy.models.catalogue import BUILT_IN
from hamsa_deploy.onnx_import import OnnxFile, load_onnx
from hamsa_deploy.parity import ParityReport, check_parity
from hamsa_deploy.parity.comparison import doubt_colours, separated_outputs
from hamsa_deploy.parity.sample import sample_of
from hamsa_deploy.parity.variations import is_of_other_sizes
from hamsa_deploy.pipeline.checks import check_clips, check_labels, check_request
from hamsa_deploy.pipeline.files import order_of, tuned_form, write_files, writes_after_typing
from hamsa_deploy.pipeline.int8 import Calibrated
from hamsa_deploy.pipeline.manifest import ExportFacts, manifest_of
from hamsa_deploy.pipeline.max_drop import described
from hamsa_deploy.pipeline.progress import Progress, no_progress
from hamsa_deploy.pipeline.staging import Stage, staged_bundle
from hamsa_deploy.pipeline.trial import try_file
from hamsa_deploy.precision.int8.quantisation import rank_layers
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.precision.records.record import FLOAT32
from hamsa_deploy.targets import target_of
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.manifest import Execution, Preprocessing
from hamsa_runtime.tensorrt.achieved import fallen_text
from hamsa_runtime.vocabulary import is_of_hub

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportArguments(ExportOptions):
    """What can be asked of `export`, and where to."""

    _: KW_ONLY
    output: str | Path = field(
        metadata=documented(
            "the bundle's folder; an older bundle there is replaced in one step, once the new one has passed.",
        )
    )
    progress: Progress = option(no_progress, "called with a stage's name, gives a context manager around that stage.")


@taking(ExportArguments, nn=nn, OnnxFile=OnnxFile, Preprocessing=Preprocessing)
def export(arguments: ExportArguments) -> Bundle:
    """Export a model, check it against the original, and publish the bundle.

    Args:
        {options}

    Returns:
        The published bundle; its manifest holds the parity metrics, and for a lower precision what runs in it and how
        fast. That it does not pay, or not everywhere, is logged as a warning.

    Raises:
        ParityError: the bundle does not compute what the model computes; nothing is published. Only where a target's
            engine runs on no machine of this kind, a bundle is published that nothing has run: its manifest has no
            parity, and a warning says so.
        InputError, MissingError, BuildError: see hamsa_runtime.errors; nothing is published.
    """
    return _exported(_loaded(arguments), Path(arguments.output), arguments.progress)


def _loaded(arguments: ExportArguments) -> Request:
    model = load_onnx(_a_file(arguments.model)) if isinstance(arguments.model, str | Path) else arguments.model
    if not isinstance(model, nn.Module | OnnxFile):
        raise _no_model(model)
    asked = {each.name: getattr(arguments, each.name) for each in fields(Request)}
    asked["data"] = read_data(arguments.data, kind_of_data(arguments.preprocessing, arguments.sample_rate))
    return Request(**{**asked, "model": model})


def _a_file(path: str | Path) -> str | Path:
    """An ONNX file's path, not the name of a model."""
    if str(path) in BUILT_IN or is_of_hub(str(path)) or (":" in str(path) and not Path(path).exists()):
        raise InputError(
            f"the model's name {str(path)!r}",
            expected="the model itself, a torch.nn.Module; or the path of an ONNX file",
            fix=f"hamsa_deploy.load_model({str(path)!r})",
        )
    return path


def _no_model(given: object) -> InputError:
    found, fix = type(given).__name__, "a class on torch.nn.Module whose forward calls it"
    if isinstance(given, type):
        found = f"the class {given.__name__}"
        fix = f"{given.__name__}().eval()" if issubclass(given, nn.Module) else fix
    return InputError(
        f"a model given as {found}",
        expected="a torch.nn.Module in eval mode, or the path of an ONNX file",
        fix=fix,
    )


def _exported(request: Request, output: Path, progress: Progress) -> Bundle:
    to, precision = request.to, request.precision
    check_request(request)
    try_file(request)
    with staged_bundle(output) as stage, stage.scratch() as scratch:
        float32_bundle = scratch if "speed" in stages_of(to, precision) else None
        with progress("real form"):
            form = real_model_of_request(request)
            check_labels(request, form)
            check_clips(request, form)
        if request.tune:
            with progress("tune"):
                form = tuned_form(request, form)
        written = write_files(request, form, stage.folder, progress, float32_bundle)
        manifest = written.added_to(manifest_of(request, form))
        original, unverified = called(request.model, request.example_inputs), target_of(to).no_engine_here()
        with progress("parity") if not unverified else nullcontext():
            manifest = replace(manifest, outputs=separated_outputs(original, parity_data(request, form), manifest))
            parity = None
            if not unverified:
                bundle = stage.write_manifest(manifest)
                report = check_parity(bundle, original, parity_data(request, form), device=request.device)
                _require(report, written.calibrated, request.max_drop)
                doubt_colours(original, parity_data(request, form), request.classes, manifest)
                parity = report.recorded
        if float32_bundle and manifest.precision != FLOAT32:
            with progress("speed"):
                execution = _execution(request, form, written, stage, float32_bundle)
                manifest = replace(manifest, execution=execution)
        with progress("pack"):
            target_of(to).complete(
                stage.folder,
                lambda: sample_of(original, parity_data(request, form), manifest),
            )
            stage.write_manifest(replace(manifest, parity=parity))
            bundle = stage.publish()
    if written.precision is not None:
        LOG.warning("int8 does not pay on this machine: the bundle is in %s", written.precision)
    elif written.calibrated is not None and not written.int8_layers:
        LOG.warning("nothing is computed in int8: %s", written.calibrated.why_nothing_is_int8())
    elif bundle.manifest.execution:
        for sentence in warnings_of(bundle.manifest.execution, to, precision):
            LOG.warning(sentence)
    if unverified:
        LOG.warning(
            "NOT VERIFIED: nothing has run this bundle. %s; where that is not so, hamsa-parity does", unverified
        )
    engine = bundle.manifest.engine
    if engine is not None and engine.achieved is not None and engine.achieved.fell_back:
        LOG.warning("%s", fallen_text(engine.achieved.fell_back))
    return bundle


def _require(report: ParityReport, ready: Calibrated | None, max_drop: float | None) -> None:
    """Raise ParityError if the verdict is negative; for int8 with the layers that cost most."""
    if ready is None or report.passed:
        is_translated_wrongly = report.precision == FLOAT32 and report.failures and not report.ill_conditioned
        report.require(*_otherwise(report) if is_translated_wrongly else ())
        return
    costs = rank_layers(ready.quantisation, ready.measurements)
    raise ParityError(
        "int8 is outside its limits: " + "; ".join(report.failures),
        expected=report.limits,
        cause="layers that int8 cannot hold, with the signal-to-noise ratio that each alone leaves: "
        + described(ready.quantisation, costs),
        fix=report.way_out
        if max_drop is None
        else f"a smaller --max-drop than {max_drop:g}; more calibration images; or --fp16",
    )


def _otherwise(report: ParityReport) -> tuple[str, str]:
    """Cause and way out of float32 that differs: neither the precision nor a checkpoint is to blame, but how an
    operator was translated."""
    if all(map(is_of_other_sizes, report.failures)):
        cause = "an operator, such as a pooling to a number of places, that is exported for the example's size only"
        return cause, "leave that axis fixed: no dynamic_shapes in Python, no --dynamic on the command line"
    cause = f"an operator that {target_of(report.target).title}, or the ONNX file, computes otherwise than PyTorch does"
    other = "openvino" if report.target == "onnx" else "onnx"
    return cause, f"--to {other}, another engine; or that operator in other words"


def _execution(
    request: Request, form: RealModel, written: ExportFacts, stage: Stage, float32_bundle: Path
) -> Execution:
    """For the manifest; `float32_bundle` holds the float32 ONNX file and becomes a bundle."""
    target_of(request.to).write(float32_bundle, order_of(request, form, FLOAT32))
    float32 = Stage(float32_bundle, float32_bundle).write_manifest(
        manifest_of(replace(request, precision=FLOAT32), form)
    )
    inputs = next(feeds_of(parity_data(request, form), float32.manifest))
    return measure_execution(stage.folder, float32_bundle, inputs, written.int8_layers, request.device)


def stages_of(to: str, precision: str, *, tune: bool = False, search: bool = False, choice: bool = False) -> list[str]:
    """The stages that `export` goes through: what it calls `progress` with, in order."""
    tuning = ["tune"] if tune else []
    optional = {"search": search, "pays": choice, "choose": choice}
    target = target_of(to)
    typing = [] if target.takes_program else ["onnx", *precision_of(precision).stages]
    typing = [stage for stage in typing if optional.get(stage, True)]
    writing = [target.stage] if writes_after_typing(target, precision) else []
    parity = [] if target.no_engine_here() else ["parity"]
    comparison = ["speed"] if precision != FLOAT32 and target.timed_beside_float32 else []
    return ["real form", *tuning, *typing, *writing, *parity, *comparison, "pack"]
