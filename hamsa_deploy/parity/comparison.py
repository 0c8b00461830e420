"""Runs a bundle and the model that it was made from on the same images and compares all outputs.

The bundle runs through hamsa_runtime.Engine, just as on the device; a PyTorch model gets the same resized pixels, but
is normalised here, independently of the exported graph. An ONNX file is run by `ReferenceSession`, in float64.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from hamsa_deploy.form.outputs import tensors_of
from hamsa_deploy.onnx_import import OnnxFile, ReferenceSession
from hamsa_deploy.parity.agreement import Agreement, agreement_of
from hamsa_deploy.parity.conditioning import own_errors, sentence_of, unit_of
from hamsa_deploy.parity.differences import check_comparable
from hamsa_deploy.parity.limits import failures_of
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_deploy.parity.native_limits import wider_thresholds
from hamsa_deploy.parity.pair import has_classes
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.targets import target_of
from hamsa_runtime import Engine
from hamsa_runtime.batches import Arrays
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import inputs_from_images

# Images at a time, and their pixels, which bound memory: two at least, so that they are a batch. Eight images through
# HAMSA-S at 1248 pixels would take 12 GiB on ONNX Runtime.
CHUNK, LEAST_CHUNK = 8, 2
CHUNK_PIXELS = CHUNK * 448 * 448


def check_parity(
    bundle: Bundle | str | Path,
    model: nn.Module | OnnxFile,
    data: Any,
    *,
    thresholds: Thresholds | None = None,
    threads: int | None = None,
    classes: Sequence[int] | None = None,
) -> ParityReport:
    """Compare a bundle with the model that it was exported from.

    Args:
        bundle: or its folder.
        model: the PyTorch model, in eval mode; its parameters' dtype is the reference's precision. Or the ONNX file.
        data: images as `Engine` takes them (a list of them, or an array with a leading batch axis); for a model without
            preprocessing, a dict of arrays by input name, or one array.
        thresholds: by default those of the bundle's precision, or, where native transforms fail these, the
            `wider_thresholds` that ONNX Runtime's DFT makes necessary.
        threads: for the engine.
        classes: the true class of each of `data`: then the accuracy of both is compared, too.

    Raises:
        ParityError: an output is NaN, empty or of another shape. (A mere difference is in the report.)
        InputError: the data do not fit the model.
    """
    bundle = opened(bundle)
    manifest = bundle.manifest
    if classes is None:
        data = _with_a_part_of_a_batch(data, manifest)
    name, expected = run_model(model, data, manifest)
    found, ran_on = _run(bundle, data, threads)
    report = compare(found, expected, thresholds or usual_thresholds(manifest), name, classes)
    on_onnxruntime = ran_on["backend"] == "onnxruntime"
    wider = wider_thresholds(manifest) if on_onnxruntime and thresholds is None and not report.passed else None
    if wider is not None:
        limits, note = wider
        report = dataclasses.replace(compare(found, expected, limits, name, classes), note=note)
    return _described(_with_cause(report, model, data, manifest, expected), bundle, data, ran_on)


def _with_cause(
    report: ParityReport, model: nn.Module | OnnxFile, data: Any, manifest: Manifest, expected: Arrays
) -> ParityReport:
    """Of a failure: whether the model moves as much by itself."""
    unit = unit_of(manifest.precision)
    if report.passed or unit is None:
        return report
    own = own_errors(lambda move: run_model(model, data, manifest, move)[1], expected, unit)
    return dataclasses.replace(report, ill_conditioned=sentence_of(report, own, manifest.precision))


def check_against(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
    data: Any,
    *,
    thresholds: Thresholds | None = None,
    threads: int | None = None,
    classes: Sequence[int] | None = None,
) -> ParityReport:
    """Compare a bundle with another one, whose outputs are the reference; each prepares the images its own way.

    Args:
        bundle, data, threads, classes: as for `check_parity`.
        other: the folder of the reference.
        thresholds: by default those of the lower precision of both.

    Raises:
        ParityError, InputError: as `check_parity`.
    """
    bundle, other = opened(bundle), opened(other)
    manifest, before = bundle.manifest, other.manifest
    name = f"{before.name} for {before.target}, {before.precision}"
    found, ran_on = _run(bundle, data, threads)
    expected, _ = _run(other, data, threads)
    report = compare(found, expected, thresholds or usual_thresholds(manifest, before), name, classes)
    return _described(report, bundle, data, ran_on)


def opened(bundle: Bundle | str | Path) -> Bundle:
    """A bundle, or that in a folder."""
    return bundle if isinstance(bundle, Bundle) else open_bundle(bundle)


def usual_thresholds(manifest: Manifest, *others: Manifest) -> Thresholds:
    """Those of a bundle's precision; for several, those of the lowest."""
    return THRESHOLDS[max((each.precision for each in (manifest, *others)), key=list(THRESHOLDS).index)]


def _described(report: ParityReport, bundle: Bundle, data: Any, ran_on: Mapping[str, str]) -> ParityReport:
    return dataclasses.replace(
        report,
        engine=stand_in(bundle.manifest),
        precision=bundle.manifest.precision,
        image_names=_image_names(data),
        ran_on=ran_on,
        bundle=bundle.folder,
    )


def _image_names(data: Any) -> list[str]:
    """Of images from files; with the folder, which may be the class."""
    if not isinstance(data, Sequence) or not all(isinstance(each, str | Path) for each in data):
        return []
    return ["/".join(Path(each).parts[-2:]) for each in data]


Move: TypeAlias = Callable[[np.ndarray], np.ndarray]


def run_model(
    model: nn.Module | OnnxFile, data: Any, manifest: Manifest, move: Move = lambda x: x
) -> tuple[str, Arrays]:
    """What the original is called, and what it computes for all of the data, by output name.

    Args:
        model, data: as for `check_parity`.
        manifest: of the bundle.
        move: what each input goes through first.
    """
    name, reference = _reference(model, move)
    return name, _joined([reference(chunk, manifest) for chunk in _chunks(data, manifest)])


def run_bundle(bundle: Bundle, data: Any) -> Arrays:
    """What a bundle computes for all of the data, by output name."""
    return _run(bundle, data, None)[0]


def _run(bundle: Bundle, data: Any, threads: int | None) -> tuple[Arrays, dict[str, str]]:
    """What a bundle computes, and what the engine says about itself."""
    with Engine(bundle.folder, threads=threads, backend=stand_in(bundle.manifest)) as engine:
        return _joined([engine(chunk) for chunk in _chunks(data, engine.manifest)]), engine.describe()


def stand_in(manifest: Manifest) -> str | None:
    """The engine that runs a bundle whose own engine cannot run here; None for its own."""
    return target_of(manifest.target).backend_here()


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


def _chunks(data: Any, manifest: Manifest) -> Iterator[Any]:
    if manifest.preprocessing is None:
        yield data
        return
    height, width = manifest.preprocessing.size
    size = min(CHUNK, max(LEAST_CHUNK, CHUNK_PIXELS // (height * width)))
    batch = manifest.inputs[0].shape[0]
    if isinstance(batch, int) and any(spec.rows == 0 for spec in manifest.outputs):
        size = batch  # whose results are of all images of an inference
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _with_a_part_of_a_batch(data: Any, manifest: Manifest) -> Any:
    """Where an output has several rows for each image, one image less than whole batches: are the right ones kept?"""
    batch = manifest.inputs[0].shape[0] if manifest.inputs[0].shape else None
    several = all(spec.rows > 0 for spec in manifest.outputs) and any(spec.rows > 1 for spec in manifest.outputs)
    if manifest.preprocessing is None or not several or not isinstance(batch, int):
        return data
    return data[:-1] if 1 < batch < len(data) and len(data) % batch == 0 else data


def _reference(model: nn.Module | OnnxFile, move: Move) -> tuple[str, Callable[[Any, Manifest], Arrays]]:
    """What the original is called, and how it is run."""
    if isinstance(model, OnnxFile):
        referee = ReferenceSession(model)
        return referee.name, lambda arrays, manifest: referee(
            {name: move(array) for name, array in inputs_from_images(arrays, manifest).items()}
        )
    return type(model).__name__, functools.partial(_reference_outputs, model, move)


@torch.inference_mode()
def _reference_outputs(model: nn.Module, move: Move, images: Any, manifest: Manifest) -> Arrays:
    inputs = [torch.from_numpy(move(x.numpy())) for x in reference_inputs(images, manifest)]
    found = tensors_of(model(*inputs), taken=[spec.name for spec in manifest.inputs])
    return {
        name: torch.view_as_real(value.resolve_conj()).numpy() if value.is_complex() else value.float().numpy()
        for name, value in found.items()
    }


def reference_inputs(images: Any, manifest: Manifest) -> list[torch.Tensor]:
    """The PyTorch model's inputs: pixels resized as on the device, normalised here."""
    how = manifest.preprocessing
    if how is None:
        arrays = inputs_from_images(images, manifest)
        return [torch.from_numpy(arrays[spec.name]) for spec in manifest.inputs]
    as_pixels = dataclasses.replace(manifest, preprocessing=dataclasses.replace(how, normalise="graph"))
    pixels = inputs_from_images(images, as_pixels)[manifest.inputs[0].name]
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (how.mean, how.std))
    return [(x - mean) / std]


def _joined(parts: Sequence[Arrays]) -> Arrays:
    if not parts:
        raise ParityError("no images to compare", expected="at least one image")
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}
