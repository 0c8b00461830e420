"""What is refused before anything is built."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.inputs.files import check_several, read_data
from hamsa_deploy.models.preprocessing import check_preprocessing
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.pipeline.manifest import manifest_of
from hamsa_deploy.precision.records import all_precisions, precision_of
from hamsa_deploy.spectral.compiler.rewriting import as_inputs
from hamsa_deploy.targets import all_targets, check_precision, target_of
from hamsa_deploy.targets.record import Target
from hamsa_runtime.backends import backend_for, check_device
from hamsa_runtime.errors import InputError, MissingError, printable, unknown_name
from hamsa_runtime.manifest import BATCH
from hamsa_runtime.outputs import LOGITS, named_or_only
from hamsa_runtime.tensorrt.gpu import has_gpu
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.vocabulary import AUTO, DYNAMIC, FFTS, METHODS, MOST_SECONDS, PASSES


def check_request(request: Request) -> None:
    """Refuse what cannot be exported before anything is built."""
    target = target_of(request.to)
    check_precision(target, request.precision)
    if request.input_dtype not in ("uint8", "float32"):
        raise unknown_name("input type", request.input_dtype, ("uint8", "float32"))
    _check_texts(request)
    if request.sample_rate is not None and request.preprocessing is not None:
        raise InputError("a sample rate for a model of images", expected="one of sample_rate and preprocessing")
    if request.preprocessing is not None:
        check_preprocessing(request.preprocessing)
        check_several(request.data)
    _check_calibration(request)
    _check_run_time_ranges(request, target)
    _check_fft(request, target)
    _check_program(request, target)
    _check_axes(request, target)
    if request.batch not in (None, DYNAMIC) and (type(request.batch) is not int or request.batch < 1):
        raise InputError(f"a batch of {request.batch}", expected=f'a whole number of at least 1, or "{DYNAMIC}"')
    if not isinstance(request.timeout, int | float) or not 0 <= request.timeout <= MOST_SECONDS:
        raise InputError(f"a timeout of {request.timeout}", expected=f"seconds from 0 to {MOST_SECONDS}")
    if isinstance(request.model, nn.Module):
        _check_module(request, request.model)
    elif request.preprocessing is not None:
        raise InputError(
            f"preprocessing for {request.model.path}", expected="arrays, which an ONNX file takes as it is"
        )
    _check_builder(request, target)
    if request.tune and target.needs_gpu and not has_gpu():
        raise MissingError(
            f"no GPU to measure plans on for {request.to}", fix="leave --tune away: the cost model then chooses"
        )
    if request.tune and target.no_engine_here():
        raise MissingError(
            f"no engine to measure plans with for {request.to}",
            cause=target.no_engine_here(),
            fix="leave --tune away: the cost model then chooses",
        )
    target.check_here(request.precision, request.device)
    # Parity runs the bundle: without its engine, fail now. What another one stands in for is left to the device.
    if request.device is None:
        backend_for(request.to, target.stand_in)
    check_device(request.to, request.device)


def _check_program(request: Request, target: Target) -> None:
    if target.takes_program and isinstance(request.model, OnnxFile):
        able = [each.name for each in all_targets() if not each.takes_program]
        raise InputError(
            f"an ONNX file for {request.to}",
            expected="a PyTorch model",
            cause=f"{target.title} is given programs of torch.export, and reads no ONNX",
            fix=f"--model with what the file was made of; or --to {' or --to '.join(able[:2])}",
        )


def _check_axes(request: Request, target: Target) -> None:
    """What free axes and examples cannot be."""
    is_file = isinstance(request.model, OnnxFile)
    for name in ("dynamic_shapes", "input_names", "output_names"):
        if getattr(request, name) is not None and (is_file or (name == "dynamic_shapes" and request.preprocessing)):
            what = "an ONNX file, which says it itself" if is_file else "a model of images, whose size is fixed"
            raise InputError(f"{name} for {what}", expected="a PyTorch model of arrays", fix="leave it away")
    leaves = [x for x in pytree.tree_leaves(request.example_inputs) if isinstance(x, torch.Tensor)]
    if any(x.dtype == torch.bfloat16 for x in leaves):
        raise InputError(
            "example inputs in bfloat16",
            expected="a type that NumPy and the engines have at their borders",
            fix="model.float() and float32 inputs; --to openvino --bf16 computes in bfloat16 inside",
        )
    others = [name for name in _free_names(request.dynamic_shapes) if name != BATCH]
    if target.fixed_sizes and others:
        raise InputError(
            f"the free axis {others[0]!r} for {request.to}",
            expected="sizes that are fixed beside the batch",
            cause=target.fixed_sizes,
            fix="--to onnx or --to openvino; or a bundle for each size",
        )


def _check_texts(request: Request) -> None:
    """Names go into lists of one a line, and to terminals; the manifest would refuse them after all the work."""
    texts = {"name": [request.name], "labels": request.labels, "input_names": request.input_names}
    for what, given in (texts | {"output_names": request.output_names}).items():
        if isinstance(given, str | os.PathLike):
            raise InputError(
                f"{what} given as {str(given)[:80]!r}",
                expected="a list of texts: the letters of one would be taken for them",
                fix=f"{what}=Path({str(given)!r}).read_text().splitlines()" if what == "labels" else f"[{given!r}]",
            )
        for text in given or ():
            if isinstance(text, str) and printable(text) != text:
                raise InputError(
                    f"{what}: {text[:80]!r} holds control characters",
                    expected="texts of one line",
                    fix="leave them away",
                )


def _free_names(shapes: Any) -> list[str]:
    dims = pytree.tree_leaves(shapes, is_leaf=lambda x: x is None)
    return [getattr(dim, "__name__", "") for dim in dims if dim is not None and not isinstance(dim, int)]


def _check_builder(request: Request, target: Target) -> None:
    if target.has_builder:
        options = request.builder or BuildOptions()
        options.check()
        batch = request.fixed_batch
        if batch is not None and options.profile not in (BuildOptions().profile, (batch,) * 3):
            raise InputError(
                f"a batch of {batch} with the batch profile {', '.join(map(str, options.profile))}",
                expected="a fixed batch, or a profile for a dynamic one",
                fix="leave one of --batch and --batch-profile away",
            )
        return
    if request.builder is not None or request.require_plan:
        raise InputError(
            f"options of TensorRT's builder for the target {request.to}",
            expected=f"them only for {' and '.join(each.name for each in all_targets() if each.has_builder)}",
            fix="leave them away, or choose another target",
        )


def _check_calibration(request: Request) -> None:
    if request.calibration_method not in (*METHODS, AUTO):
        raise unknown_name("calibration method", request.calibration_method, (*METHODS, AUTO))
    precision = precision_of(request.precision)
    if request.calibration is not None and not precision.is_measured:
        measured = [each.name for each in all_precisions() if each.is_measured]
        raise InputError(
            f"calibration inputs for precision {request.precision}",
            expected=f"calibration only for {' and '.join(measured)}, which depend on measured ranges",
            fix="leave --calibration away, or choose another precision",
        )
    if request.calibration_method != AUTO and not precision.is_quantised:
        raise InputError(
            f"calibration method {request.calibration_method} for precision {request.precision}",
            expected="a method only for int8, whose scales it chooses",
            fix="leave --calibration-method away, or choose another precision",
        )
    if request.max_drop is not None and not precision.is_quantised:
        raise InputError(
            f"a largest loss of {request.max_drop:g} points for precision {request.precision}",
            expected="--max-drop only for int8, some of whose layers can stay in floating point",
            fix="leave --max-drop away: parity has limits for every precision",
        )
    if request.only_where_it_pays:
        _check_choice(request)
    for name in request.passes:
        if name not in PASSES:
            raise unknown_name("pass", name, PASSES)


def _check_run_time_ranges(request: Request, target: Target) -> None:
    """What steers our own int8 says nothing to an engine's that takes ranges when it runs."""
    if not (target.takes_program and precision_of(request.precision).is_quantised):
        return
    said = {
        "calibration inputs": request.calibration is not None,
        "a calibration method": request.calibration_method != AUTO,
        "a largest loss of accuracy": request.max_drop is not None,
        "--only-where-it-pays": request.only_where_it_pays,
    }
    for what in (what for what, is_said in said.items() if is_said):
        raise InputError(
            f"{what} for int8 on {request.to}",
            expected="nothing but the precision",
            cause=f"{target.title} takes the ranges of activations when it runs",
            fix="leave it away; parity says whether the bundle is good enough",
        )


def _check_choice(request: Request) -> None:
    """--only-where-it-pays times whole models, many of them, with this machine's engine."""
    if not precision_of(request.precision).is_quantised:
        raise InputError(
            f"--only-where-it-pays for precision {request.precision}",
            expected="it only for int8, some of whose layers can stay in floating point",
            fix="leave it away, or --int8 --only-where-it-pays",
        )
    target = target_of(request.to)
    if not target.timed_beside_float32:
        able = [each.name for each in all_targets() if each.int8 is not None and each.timed_beside_float32]
        raise InputError(
            f"--only-where-it-pays for {request.to}",
            expected=f"it only for {' and '.join(able)}, whose bundles are timed on this machine's processor",
            cause=f"{target.title} would build a plan for each choice, minutes each, on the GPU that it is for",
            fix="--int8 alone, and hamsa-bench on the device, with a bundle in fp16 beside it",
        )


def _check_fft(request: Request, target: Target) -> None:
    if request.fft not in FFTS:
        raise unknown_name("form of transforms", request.fft, FFTS)
    if request.fft == "real":
        return
    if target.no_native_fft:
        able = [each.name for each in all_targets() if not each.no_native_fft]
        raise InputError(
            f"native transforms for {request.to}",
            expected=f"them only for {', '.join(able[:-1])} and {able[-1]}, whose engines have an FFT that works",
            cause=target.no_native_fft,
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
            fix="on the command line --input 1x3x224x224 or --input ids:1x16:int64 for each input of forward; or "
            "example_inputs beside the factory; or --data arrays.npz; or --preprocessing FILE for images",
        )
    if model.training:
        raise InputError(
            f"{type(model).__name__} is in training mode",
            expected="a module in eval mode, as it is used on the device",
            cause="dropout and batch normalisation compute something else while they train",
            fix="model.eval()",
        )
    if request.example_inputs is not None:
        as_inputs(request.example_inputs)
    bad = _not_finite(model)
    if bad:
        raise InputError(
            f"the model holds NaN or Inf in {', '.join(bad)}", expected="finite weights", fix="another checkpoint"
        )


@torch.no_grad()
def _not_finite(model: nn.Module) -> list[str]:
    """Names of tensors; those without values are refused when the model runs first."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return [
        name
        for name, value in tensors.items()
        if not (is_lazy(value) or value.is_meta) and not torch.isfinite(value).all()
    ]


def check_labels(request: Request, form: RealModel) -> None:
    """One label for every class, wherever the number of classes is known."""
    outputs = {spec.name: spec.shape for spec in form.outputs}
    name = named_or_only(LOGITS, outputs)
    shape = () if name is None else outputs[name]
    if request.labels is not None and len(shape) == 2 and len(request.labels) != shape[1]:
        raise InputError(
            f"{len(request.labels)} labels for a model with {shape[1]} classes",
            expected=f"{shape[1]} labels, in order of the logits",
        )


def check_clips(request: Request, form: RealModel) -> None:
    """Clips that the model does not take, read here so that they do not end the export when all else is done."""
    calibration = request.calibration
    if form.audio is not None and isinstance(calibration, str | os.PathLike):
        calibration = read_data(calibration, "clips")
    for data in (request.data, calibration) if form.audio is not None else ():
        if isinstance(data, list) and all(isinstance(each, str | os.PathLike) for each in data):
            for _ in feeds_of(data, manifest_of(request, form)):
                pass
