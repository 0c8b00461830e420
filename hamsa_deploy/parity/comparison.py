"""Runs a bundle and the model that it was made from on the same images and compares all outputs.

The bundle runs through hamsa_runtime.Engine, just as on the device; a PyTorch model gets the same resized pixels, but
is normalised here, independently of the exported graph. An ONNX file is run by `ReferenceSession`, in float64.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from hamsa_deploy.form.outputs import names_of
from hamsa_deploy.inputs.feeds import calls_of, is_calls, streams_of
from hamsa_deploy.inputs.files import check_several
from hamsa_deploy.onnx_import import OnnxFile, ReferenceSession
from hamsa_deploy.parity.agreement import Agreement, agreement_of
from hamsa_deploy.parity.colours import colour_doubt
from hamsa_deploy.parity.conditioning import own_errors, sentence_of, unit_of, with_moved_weights
from hamsa_deploy.parity.differences import check_comparable
from hamsa_deploy.parity.limits import failures_of
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_deploy.parity.native_limits import wider_thresholds
from hamsa_deploy.parity.pair import has_classes
from hamsa_deploy.parity.separation import separated
from hamsa_deploy.parity.variations import by_image, size_failures, stream_failures
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.precision.records import all_precisions, precision_of
from hamsa_deploy.scan.cuda import DEVICES
from hamsa_deploy.spectral.compiler.state import copy_of
from hamsa_deploy.spectral.provenance import line_of_error
from hamsa_deploy.spectral.values import viewed_as_real
from hamsa_deploy.targets import target_of
from hamsa_runtime import Engine
from hamsa_runtime.batches import Arrays, is_separable, joined
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.errors import HamsaError, InputError, ParityError
from hamsa_runtime.manifest import Manifest, OutputSpec
from hamsa_runtime.outputs import LOGITS
from hamsa_runtime.preprocess import inputs_from_images

# Images at a time, and their pixels, which bound memory: two at least, so that they are a batch. Eight images through
# HAMSA-S at 1248 pixels would take 12 GiB on ONNX Runtime. With two, this is where its export takes most: 4.9 GiB, of
# which 1.4 were there before, and 4.5 on OpenVINO.
CHUNK, LEAST_CHUNK = 8, 2
CHUNK_PIXELS = CHUNK * 448 * 448

logger = logging.getLogger("hamsa_deploy")


def check_parity(
    bundle: Bundle | str | Path,
    model: nn.Module | OnnxFile,
    data: Any,
    *,
    thresholds: Thresholds | None = None,
    threads: int | None = None,
    classes: Sequence[int] | None = None,
    device: str | None = None,
) -> ParityReport:
    """Compare a bundle with the model that it was exported from.

    Args:
        bundle: or its folder.
        model: the PyTorch model, in eval mode; its parameters' dtype is the reference's precision. Or the ONNX file.
        data: images as `Engine` takes them (a list of them, or an array with a leading batch axis); for a model without
            preprocessing, a dict of arrays by input name, or one array; or a list of what it is called with, one call
            after the other, such as clips of several lengths.
        thresholds: by default those of the bundle's precision, or, where native transforms fail these, the
            `wider_thresholds` that ONNX Runtime's DFT makes necessary.
        threads: for the engine.
        classes: the true class of each of `data`: then the accuracy of both is compared, too.
        device: that the bundle runs on, see `Engine`. By default its engine's CPU, or, for TensorRT, the GPU.

    Raises:
        ParityError: an output is NaN, empty or of another shape. (A mere difference is in the report.)
        InputError: the data do not fit the model.
        MissingError: the device is not here, or would not run all of the bundle.
    """
    bundle = opened(bundle)
    manifest = bundle.manifest
    data, classes = _in_one_inference(data, manifest, classes)
    narrowest = narrowest_precision(model, manifest)
    limits, note = thresholds or THRESHOLDS[narrowest], ""
    if thresholds is None and narrowest != manifest.precision:
        note = f"the limits are those of {narrowest}: the model itself computes in {precision_of(narrowest).words}"
    with _own_words(model):
        name, expected_calls = _run_model(model, data, manifest, _as_it_is)
    give_memory_back()
    with engine_for(bundle, threads, device) as engine:
        found_calls, ran_on = _run_engine(engine, data), engine.describe()
        _check_sizes(found_calls, expected_calls, name)
        expected, found = (_joined(each, data, manifest) for each in (expected_calls, found_calls))
        report = _compared(found, expected, limits, name, classes, data, manifest)
        doubt_colours(model, data, classes, manifest)
        if report.passed:
            failures = stream_failures(engine, data, found, limits)
            failures += size_failures(
                lambda arrays: run_model(model, arrays, manifest)[1],
                lambda arrays: _run(engine, arrays),
                manifest,
                lambda a, b, arrays: _compared(a, b, limits, name, None, arrays, manifest).failures,
                calls=is_calls(data, manifest),
            )
            if failures:
                report = dataclasses.replace(report, failures=failures, note=note)
                return _described(report, bundle, data, ran_on, device)
    report = dataclasses.replace(report, note=note)
    on_onnxruntime = ran_on["backend"] == "onnxruntime"
    wider = wider_thresholds(manifest) if on_onnxruntime and thresholds is None and not report.passed else None
    if wider is not None:
        limits, note = wider
        report = dataclasses.replace(_compared(found, expected, limits, name, classes, data, manifest), note=note)
    return _described(_with_cause(report, model, data, manifest, expected), bundle, data, ran_on, device)


def doubt_colours(model: nn.Module | OnnxFile, data: Any, classes: Sequence[int] | None, manifest: Manifest) -> None:
    """Say so in the log if the true classes of the images show that red and blue are in the wrong order."""
    if all(map(is_separable, manifest.outputs)):
        doubt = colour_doubt(data, classes, manifest, lambda images: run_model(model, images, manifest)[1].get(LOGITS))
        if doubt:
            logger.warning("%s", doubt)


def _with_cause(
    report: ParityReport, model: nn.Module | OnnxFile, data: Any, manifest: Manifest, expected: Arrays
) -> ParityReport:
    """Of a failure: whether the model moves as much by itself."""
    unit = unit_of(manifest.precision)
    if report.passed or unit is None:
        return report
    generator = torch.Generator().manual_seed(0)

    def run(move: Move) -> Arrays:
        moved = with_moved_weights(model, generator)
        return by_image(run_model(moved, data, manifest, move)[1], data, manifest)

    def sentence(own: Arrays) -> str:
        return sentence_of(report, own, manifest.precision)

    own = own_errors(run, by_image(expected, data, manifest), unit, settled=lambda own: bool(sentence(own)))
    return dataclasses.replace(report, ill_conditioned=sentence(own))


def check_against(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
    data: Any,
    *,
    thresholds: Thresholds | None = None,
    threads: int | None = None,
    classes: Sequence[int] | None = None,
    device: str | None = None,
) -> ParityReport:
    """Compare a bundle with another one, whose outputs are the reference; each prepares the images its own way.

    Args:
        bundle, data, threads, classes, device: as for `check_parity`.
        other: the folder of the reference, which runs on its default device.
        thresholds: by default those of the lower precision of both.

    Raises:
        ParityError, InputError: as `check_parity`.
    """
    bundle, other = opened(bundle), opened(other)
    manifest, before = bundle.manifest, other.manifest
    name = f"{before.name} for {before.target}, {before.precision}"
    data, classes = _in_one_inference(data, manifest, classes)
    with engine_for(bundle, threads, device) as engine, engine_for(other, threads) as reference:
        calls, ran_on, others = _run_engine(engine, data), engine.describe(), _run_engine(reference, data)
    _check_sizes(calls, others, name)
    found, expected = (_joined(each, data, manifest) for each in (calls, others))
    limits = thresholds or usual_thresholds(manifest, before)
    report = _compared(found, expected, limits, name, classes, data, manifest)
    described = _described(report, bundle, data, ran_on, device)
    return described if thresholds else dataclasses.replace(described, precision=_lowest(manifest, before))


def opened(bundle: Bundle | str | Path) -> Bundle:
    """A bundle, or that in a folder."""
    return bundle if isinstance(bundle, Bundle) else open_bundle(bundle)


def usual_thresholds(manifest: Manifest, *others: Manifest) -> Thresholds:
    """Those of a bundle's precision; for several, those of the lowest."""
    return THRESHOLDS[_lowest(manifest, *others)]


def _lowest(*manifests: Manifest) -> str:
    return max((each.precision for each in manifests), key=list(THRESHOLDS).index)


def _described(
    report: ParityReport, bundle: Bundle, data: Any, ran_on: Mapping[str, str], device: str | None
) -> ParityReport:
    notes = [report.note, _compared_elsewhere(bundle.manifest, ran_on["device"])]
    return dataclasses.replace(
        report,
        note="; ".join(filter(None, notes)),
        engine=stand_in(bundle.manifest, device),
        precision=bundle.manifest.precision,
        target=bundle.manifest.target,
        image_names=_image_names(data),
        ran_on=ran_on,
        bundle=bundle.folder,
    )


def _compared_elsewhere(manifest: Manifest, device: str) -> str:
    """That the verdict in the manifest is one of another device."""
    before = device if manifest.parity is None else manifest.parity.device or device
    return "" if before == device else f"the export compared it on {before}, which says nothing of {device}"


def _image_names(data: Any) -> list[str]:
    """Of images from files; with the folder, which may be the class."""
    if not isinstance(data, Sequence) or not all(isinstance(each, str | Path) for each in data):
        return []
    return ["/".join(Path(each).parts[-2:]) for each in data]


Move: TypeAlias = Callable[[np.ndarray], np.ndarray]


def _as_it_is(x: np.ndarray) -> np.ndarray:
    return x


def run_model(model: nn.Module | OnnxFile, data: Any, manifest: Manifest, move: Move = _as_it_is) -> tuple[str, Arrays]:
    """What the original is called, and what it computes for all of the data, by output name.

    Args:
        model, data: as for `check_parity`.
        manifest: of the bundle.
        move: what each input goes through first.
    """
    name, parts = _run_model(model, data, manifest, move)
    return name, _joined(parts, data, manifest)


def _run_model(model: nn.Module | OnnxFile, data: Any, manifest: Manifest, move: Move) -> tuple[str, list[Arrays]]:
    name, started = _reference(model, move, manifest)
    outputs = []
    for chunks in _streams(data, manifest):
        reference = started()
        outputs += [reference(chunk, manifest) for chunk in chunks]
    return name, outputs


def separated_outputs(model: nn.Module | OnnxFile, data: Any, manifest: Manifest) -> tuple[OutputSpec, ...]:
    """The manifest's outputs, with a batch axis where the model shows that they can be cut; see `separation`."""
    if manifest.states:
        return manifest.outputs
    _, started = _reference(model, _as_it_is, manifest)
    with _own_words(model):
        return separated(started(), calls_of(data, manifest)[0] if is_calls(data, manifest) else data, manifest)


@contextlib.contextmanager
def _own_words(model: nn.Module | OnnxFile) -> Iterator[None]:
    """Whatever a model says of data that it does not take, as an InputError."""
    try:
        yield
    except HamsaError:
        raise
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{type(model).__name__} fails on the inputs of the comparison by itself: {said}{line_of_error(error)}",
            expected="inputs that the model takes",
            cause="values that are none for it, such as ids beyond a table, or sizes that do not fit together",
            fix="other inputs: data= in Python, --data on the command line",
        ) from error


def narrowest_precision(model: nn.Module | OnnxFile, manifest: Manifest) -> str:
    """The precision of a bundle, or that which the model itself computes in, where that is lower."""
    types = {spec.dtype for spec in manifest.inputs} | {spec.dtype for spec in manifest.outputs}
    if isinstance(model, nn.Module):
        tensors = itertools.chain(model.parameters(), model.buffers())
        types |= {str(each.dtype).removeprefix("torch.") for each in tensors}
    own = [each.name for each in all_precisions() if each.significand and each.words in types]
    return max((manifest.precision, *own), key=list(THRESHOLDS).index)


def run_bundle(bundle: Bundle, data: Any, device: str | None = None) -> Arrays:
    """What a bundle computes for all of the data, by output name; on its engine's default device, or another one."""
    with engine_for(bundle, None, device) as engine:
        return _run(engine, data)


def give_memory_back() -> None:
    """What PyTorch has freed: malloc keeps it, of HAMSA-S at 1248 pixels 1.2 GiB. Where the C library is not GNU's,
    nothing happens."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # TypeError: Windows has no library of no name
        ctypes.CDLL(None).malloc_trim(0)


def engine_for(bundle: Bundle, threads: int | None = None, device: str | None = None) -> Engine:
    """What runs a bundle here: its own engine, or its stand-in where nobody asks for a device."""
    return Engine(bundle.folder, threads=threads, device=device, backend=stand_in(bundle.manifest, device))


def _run(engine: Engine, data: Any) -> Arrays:
    return _joined(_run_engine(engine, data), data, engine.manifest)


def _run_engine(engine: Engine, data: Any) -> list[Arrays]:
    outputs = []
    for chunks in _streams(data, engine.manifest):
        engine.reset()
        outputs += [engine(chunk) for chunk in chunks]
    return outputs


def _check_sizes(found: Sequence[Arrays], expected: Sequence[Arrays], reference: str) -> None:
    """Call by call: of several sizes, those that are joined are filled up."""
    for outputs, others in zip(found, expected, strict=True):
        for name in outputs.keys() & others.keys():
            check_comparable(name, outputs[name], others[name], reference)


def _in_one_inference(data: Any, manifest: Manifest, classes: Sequence[int] | None) -> tuple[Any, Sequence[int] | None]:
    """As many images as go together, where an output is of all of them."""
    if manifest.preprocessing is not None:
        check_several(data)
    if manifest.preprocessing is None or manifest.states or all(map(is_separable, manifest.outputs)):
        return data, classes
    fixed = manifest.inputs[0].shape[0]
    size = fixed if isinstance(fixed, int) else CHUNK
    images = list(data[:size])
    images += images[-1:] * (size - len(images)) if isinstance(fixed, int) else []
    return images, None if classes is None or len(images) > len(data) else classes[:size]


def _compared(
    found: Arrays,
    expected: Arrays,
    thresholds: Thresholds,
    reference: str,
    classes: Sequence[int] | None,
    data: Any,
    manifest: Manifest,
) -> ParityReport:
    """Image by image, wherever the batch lies."""
    found, expected = by_image(found, data, manifest), by_image(expected, data, manifest)
    return compare(found, expected, thresholds, reference, classes)


def stand_in(manifest: Manifest, device: str | None = None) -> str | None:
    """The engine that runs a bundle whose own engine cannot run here; None for its own, which alone knows a device that
    was asked for."""
    return target_of(manifest.target).backend_here() if device is None else None


def compare(
    found: Arrays,
    expected: Arrays,
    thresholds: Thresholds,
    reference: str,
    classes: Sequence[int] | None = None,
) -> ParityReport:
    """Compare outputs by name; the first dimension counts the images, of which `classes` are the true ones."""
    if set(found) != set(expected):
        raise ParityError(f"outputs {sorted(found)}", expected=f"{sorted(expected)}, as {reference} computes")
    agreements: dict[str, Agreement] = {}
    failures: list[str] = []
    for name, b in expected.items():
        check_comparable(name, found[name], b, reference)
        true = _checked_classes(classes, name, b)
        agreements[name] = agreement_of(name, found[name], b, thresholds, true)
        failures += failures_of(name, agreements[name], thresholds)
    metrics = {name: agreement.metrics for name, agreement in agreements.items()}
    images = max(len(output) for output in expected.values())
    return ParityReport(reference, images, metrics, thresholds, failures, agreements=agreements)


def _checked_classes(classes: Sequence[int] | None, name: str, output: np.ndarray) -> Sequence[int] | None:
    """The true classes, where the output has classes."""
    if classes is None or not has_classes(name, output):
        return None
    if len(classes) != len(output):
        raise InputError(f"{len(classes)} true classes for {len(output)} inputs", expected="one for each input")
    if not 0 <= min(classes) <= max(classes) < output.shape[1]:
        raise InputError(
            f"true classes from {min(classes)} to {max(classes)} for a model with {output.shape[1]}",
            expected=f"numbers from 0 to {output.shape[1] - 1}, in order of the logits",
            cause="data of another task, or labels that count from 1",
        )
    return classes


def _streams(data: Any, manifest: Manifest) -> Iterator[Iterable[Any]]:
    """What an engine is called with; what a model keeps between calls starts anew with each stream of them."""
    if is_calls(data, manifest):
        yield from streams_of(data, manifest)
    elif manifest.preprocessing is None:
        yield [data]
    else:
        height, width = manifest.preprocessing.size
        size = min(CHUNK, max(LEAST_CHUNK, CHUNK_PIXELS // (height * width)))
        yield (data[start : start + size] for start in range(0, len(data), size))


def _reference(
    model: nn.Module | OnnxFile, move: Move, manifest: Manifest
) -> tuple[str, Callable[[], Callable[[Any, Manifest], Arrays]]]:
    """What the original is called, and what starts it: gives how it is run, call after call."""
    if isinstance(model, OnnxFile):
        referee = ReferenceSession(model)

        def run(arrays: Any, manifest: Manifest) -> Arrays:
            return referee({name: move(array) for name, array in inputs_from_images(arrays, manifest).items()})

        return referee.name, lambda: run

    def started() -> Callable[[Any, Manifest], Arrays]:
        runs = copy_of(model) if manifest.states else model  # what it keeps stays as it was
        return functools.partial(_reference_outputs, runs, move)

    return type(model).__name__, started


@torch.inference_mode()
def _reference_outputs(model: nn.Module, move: Move, images: Any, manifest: Manifest) -> Arrays:
    inputs = [_moved(x, move) for x in reference_inputs(images, manifest)]
    with DEVICES:
        outputs = model(*inputs)
    found = [value for value in pytree.tree_leaves(outputs) if isinstance(value, torch.Tensor)]
    if len(found) != len(manifest.outputs):
        raise ParityError(
            f"outputs {sorted(spec.name for spec in manifest.outputs)}",
            expected=f"{sorted(names_of(outputs))}, as {type(model).__name__} computes",
        )
    return {spec.name: _as_array(value) for spec, value in zip(manifest.outputs, found, strict=True)}


def _as_array(value: torch.Tensor) -> np.ndarray:
    """Real and imaginary part last."""
    if value.is_complex():
        return viewed_as_real(value).numpy()
    narrow = value.is_floating_point() and value.element_size() < 4  # bfloat16 has no NumPy type
    return (value.float() if narrow else value).resolve_neg().numpy()


def _moved(x: torch.Tensor, move: Move) -> torch.Tensor:
    if x.is_complex():
        return torch.view_as_complex(torch.from_numpy(move(torch.view_as_real(x).numpy())))
    return torch.from_numpy(move(x.numpy()))


def reference_inputs(images: Any, manifest: Manifest) -> list[torch.Tensor]:
    """The PyTorch model's inputs: pixels resized as on the device, normalised here."""
    how = manifest.preprocessing
    if how is None:
        arrays = {name: torch.from_numpy(array) for name, array in inputs_from_images(images, manifest).items()}
        return [
            torch.view_as_complex(arrays[spec.name]) if spec.is_complex else arrays[spec.name]
            for spec in manifest.inputs
        ]
    as_pixels = dataclasses.replace(manifest, preprocessing=dataclasses.replace(how, normalise="graph"))
    pixels = inputs_from_images(images, as_pixels)[manifest.inputs[0].name]
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (how.mean, how.std))
    return [(x - mean) / std]


def _joined(parts: Sequence[Arrays], data: Any, manifest: Manifest) -> Arrays:
    if not parts:
        raise ParityError("no images to compare", expected="at least one image")
    if not is_calls(data, manifest):
        return joined(parts, manifest)
    calls = {name: [part[name] for part in parts] for name in parts[0]}
    if manifest.audio is None or not manifest.states:
        return {name: _rows(each) for name, each in calls.items()}
    # The blocks of a clip are compared together: one may be silence, of which a model gives rounding.
    lengths = [len(stream) for stream in streams_of(data, manifest)]
    streams = [(end - length, end) for length, end in zip(lengths, itertools.accumulate(lengths), strict=True)]
    return {name: _rows([_rows(each[i:j]) for i, j in streams]) for name, each in calls.items()}


def _rows(calls: Sequence[np.ndarray]) -> np.ndarray:
    """One row for each call; those that are smaller than others are filled up with zeros, which change no error."""
    if len({each.shape for each in calls}) == 1:
        return np.stack(calls)
    shape = tuple(map(max, zip(*(each.shape for each in calls), strict=True)))
    rows = np.zeros((len(calls), *shape), calls[0].dtype)
    for row, each in zip(rows, calls, strict=True):
        row[tuple(map(slice, each.shape))] = each
    return rows
