"""The files of a bundle, all but its manifest: ONNX, typed or quantised, converted or built."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import torch
from torch import nn

from hamsa_deploy.form.from_request import parity_data, real_model_of_request
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request, builder_of
from hamsa_deploy.graph.sessions import with_states
from hamsa_deploy.inputs.calibration_set import calibration_set
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.pipeline.int8 import RANGE_IMAGES, calibrate, feeds_of_inputs
from hamsa_deploy.pipeline.int8_files import Int8Files
from hamsa_deploy.pipeline.manifest import ExportFacts, manifest_of
from hamsa_deploy.pipeline.progress import Progress, no_progress
from hamsa_deploy.pipeline.staging import Stage
from hamsa_deploy.pipeline.tuning import (
    choose_plans,
    engine_timer,
    with_measurements,
)
from hamsa_deploy.precision.float16.of_program import by_layer
from hamsa_deploy.precision.observers import RANGES, Ranges, float32_values
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.targets import onnx_file, target_of
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime.batches import Arrays
from hamsa_runtime.vocabulary import ONNX_FILE


def write_files(
    request: Request, form: RealModel, folder: Path, progress: Progress, float32_bundle: Path | None = None
) -> ExportFacts:
    """Everything a bundle holds but its manifest; what the target makes its float32 files of also goes to
    `float32_bundle`: the ONNX file, if it takes one."""
    target = target_of(request.to)
    form.write_states(folder)
    if target.takes_program:
        written = ExportFacts()
        if float32_bundle:
            shutil.copytree(folder, float32_bundle, dirs_exist_ok=True)
    else:
        written = _write_onnx(request, form, target, folder, progress, float32_bundle)
    if not writes_after_typing(target, request.precision):
        return written
    with progress(target.stage):
        order = order_of(request, form, request.precision)
        if target.halves and form.program is not None:
            program, manifest = form.program, manifest_of(request, form)
            feeds = _range_feeds(request, form)
            kept = precision_of(request.precision).islands_of(program, manifest, feeds, form.states)
            order, written = replace(order, float32=frozenset(kept)), ExportFacts(by_layer(program, kept))
        return replace(written, engine=target.write(folder, order))


def order_of(request: Request, form: RealModel, precision: str) -> Order:
    """What the target's `write` is asked for, in a precision."""
    manifest = manifest_of(request, form)
    return Order(
        precision,
        builder_of(request, form.batch),
        request.require_plan,
        form.program,
        manifest.graph_inputs,
        manifest.graph_outputs,
    )


def _write_onnx(
    request: Request, form: RealModel, target: Target, folder: Path, progress: Progress, float32_bundle: Path | None
) -> ExportFacts:
    """The typed ONNX file, or what the target's quantiser makes of it."""
    with progress("onnx"):
        onnx_model = form.write(folder / ONNX_FILE)
        if target.operators is not None:
            # A native transform is the operator DFT, which has versions of its own: see _check_fft.
            native = {"DFT"} if request.fft == "native" else set()
            onnx_file.check_operators(onnx_model, target.operators | native, target.title, target.later_operators)
        if float32_bundle:
            shutil.copytree(folder, float32_bundle, dirs_exist_ok=True)
    return _write_typed(request, form, onnx_model, folder, progress, float32_bundle)


def writes_after_typing(target: Target, precision: str) -> bool:
    """Whether a stage of its own makes of the typed ONNX file what the engine loads: a quantiser has done so."""
    has_quantiser = target.int8 is not None and target.int8.quantiser is not None
    return bool(target.stage) and not (has_quantiser and precision_of(precision).is_quantised)


def _write_typed(
    request: Request, form: RealModel, model: ir.Model, folder: Path, progress: Progress, float32: Path | None
) -> ExportFacts:
    """The float32 ONNX file in the precision asked for."""
    precision = precision_of(request.precision)
    if precision.is_quantised:
        return _write_int8(request, form, model, folder, progress, float32)

    def ranges() -> Ranges:
        return RANGES.watch(model, float32_values(model), with_states(model, _range_feeds(request, form), form.states))

    islands: Mapping[str, str] = {}
    for stage in precision.stages:
        with progress(stage):
            islands = precision.apply(model, ranges)
            onnx_file.save(model, folder / ONNX_FILE)
    return ExportFacts(islands)


def _write_int8(
    request: Request, form: RealModel, model: ir.Model, folder: Path, progress: Progress, float32: Path | None
) -> ExportFacts:
    with progress("calibrate"):
        ready = calibrate(
            model, manifest_of(request, form), request.calibration, request.calibration_method, request.passes,
            form.states,
        )  # fmt: skip
    files = Int8Files(request, form, ready, progress)
    if not request.only_where_it_pays:
        return files.write(folder)
    assert float32 is not None  # whatever can be timed has one: see checks.py
    return files.write_fastest(folder, float32)


def _range_feeds(request: Request, form: RealModel) -> Iterable[Arrays]:
    """What the ranges of float16 are measured on: calibration inputs if given, or else the data of the parity check."""
    manifest = manifest_of(request, form)
    if request.calibration is not None:
        return feeds_of_inputs(calibration_set(request.calibration, manifest, RANGE_IMAGES).inputs, manifest)
    return feeds_of(parity_data(request, form), manifest, limit=RANGE_IMAGES)


def tuned_form(request: Request, form: RealModel) -> RealModel:
    """The form with the plans that are fastest here, and with what was measured for what it lists."""
    precision = precision_of(request.precision).of_transforms

    def build(model: nn.Module, inputs: tuple[torch.Tensor, ...], plans: Plans, folder: Path) -> None:
        trial = Request(model, inputs, to=request.to, precision=precision, batch=len(inputs[0]))
        real = real_model_of_request(trial, plans)
        written = write_files(trial, real, folder, no_progress)
        Stage(folder, folder).write_manifest(written.added_to(manifest_of(trial, real)))

    timer = engine_timer(build, form.batch or 1, request.device)
    chosen = choose_plans(form.transforms, form.scans, form.linears, target_of(request.to).rates, timer)
    if any(choice.plan != choice.default for choice in chosen.values()):
        form = real_model_of_request(request, {key: choice.plan for key, choice in chosen.items()})
    return replace(
        form,
        transforms=with_measurements(form.transforms, chosen),
        scans=with_measurements(form.scans, chosen),
        linears=with_measurements(form.linears, chosen),
    )
