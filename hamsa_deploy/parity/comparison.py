"""Runs a bundle and the model that it was made from on the same images and compares all outputs.

The bundle runs through hamsa_runtime.Engine, just as on the device; a PyTorch model gets the same resized pixels, but
is normalised here, independently of the exported graph. An ONNX file is run by `OnnxReferee`, in float64.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from hamsa_deploy.onnx_entrance import OnnxFile, OnnxReferee
from hamsa_deploy.outputs import names_of
from hamsa_deploy.parity.metrics import (
    THRESHOLDS,
    Thresholds,
    check_comparable,
    cosines,
    relative_errors,
    same_top1,
    top1_margins,
)
from hamsa_deploy.parity.native import wider_thresholds
from hamsa_runtime import Engine
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import inputs_from_images
from hamsa_runtime.tensorrt.gpu import has_gpu
from hamsa_runtime.tensorrt.modules import MODULES

CHUNK = 8  # images at a time: bounds memory at 1248 pixels, and is still a batch for small models

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ParityReport:
    """The result of a comparison.

    Attributes:
        reference: what was compared with.
        images: number of images.
        metrics: output name -> metric name -> value.
        thresholds: what the verdict was taken by.
        failures: one sentence for each metric outside its threshold.
        engine: what ran the bundle, if that was not its own engine.
        note: why the thresholds are not those of the precision; empty if they are.
    """

    reference: str
    images: int
    metrics: dict[str, dict[str, float]]
    thresholds: Thresholds
    failures: list[str]
    engine: str | None = None
    note: str = ""

    @property
    def passed(self) -> bool:
        return not self.failures

    def as_manifest(self) -> dict[str, Any]:
        """The report as the bundle's manifest stores it."""
        return {
            "reference": self.reference,
            "images": self.images,
            "metrics": self.metrics,
            "thresholds": self.thresholds.as_dict(),
            "passed": self.passed,
            "engine": self.engine,
            "note": self.note,
        }

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps({**self.as_manifest(), "failures": self.failures}, indent=2)

    def require(self) -> None:
        """Raise ParityError if the verdict is negative."""
        if not self.passed:
            raise ParityError(
                "parity failed: " + "; ".join(self.failures),
                expected=", ".join(f"{k} {v:g}" for k, v in self.thresholds.as_dict().items()),
                cause="the exported model does not compute what the original computes in this precision"
                + (f". {self.note}" if self.note else ""),
                fix="export with --fp32 to see whether the precision is the cause",
            )


def check_parity(
    bundle: str | Path,
    model: nn.Module | OnnxFile,
    data: Any,
    *,
    thresholds: Thresholds | None = None,
    threads: int | None = None,
) -> ParityReport:
    """Compare a bundle with the model that it was exported from.

    Args:
        bundle: the folder.
        model: the PyTorch model, in eval mode; its parameters' dtype is the reference's precision. Or the ONNX file.
        data: images as `Engine` takes them (a list of them, or an array with a leading batch axis); for a model without
            preprocessing, a dict of arrays by input name, or one array.
        thresholds: by default those of the bundle's precision, or, where native transforms fail these, the
            `wider_thresholds` that ONNX Runtime's DFT makes necessary.
        threads: for the engine.

    Raises:
        ParityError: an output is NaN, empty or of another shape. (A mere difference is in the report.)
        InputError: the data do not fit the model.
    """
    manifest = open_bundle(bundle).manifest
    name, expected = outputs_of_model(model, data, manifest)
    found = outputs_of_bundle(bundle, data, threads)
    report = compare(found, expected, thresholds or THRESHOLDS[manifest.precision], name)
    engine = stand_in(manifest)
    on_onnxruntime = manifest.target == "onnx" or engine == "onnxruntime"
    wider = wider_thresholds(manifest) if on_onnxruntime and thresholds is None and not report.passed else None
    if wider is not None:
        limits, note = wider
        report = dataclasses.replace(compare(found, expected, limits, name), note=note)
    return dataclasses.replace(report, engine=engine)


def outputs_of_model(model: nn.Module | OnnxFile, data: Any, manifest: Manifest) -> tuple[str, Arrays]:
    """What the original is called, and what it computes for all of the data, by output name."""
    name, reference = _reference(model)
    return name, _joined([reference(chunk, manifest) for chunk in _chunks(data, manifest)])


def outputs_of_bundle(bundle: str | Path, data: Any, threads: int | None = None) -> Arrays:
    """What a bundle computes for all of the data, by output name."""
    with Engine(bundle, threads=threads, backend=stand_in(open_bundle(bundle).manifest)) as engine:
        return _joined([engine(chunk) for chunk in _chunks(data, engine.manifest)])


def stand_in(manifest: Manifest) -> str | None:
    """The engine that runs a bundle whose own engine cannot run here: its ONNX file is the same, and typed."""
    needs_gpu = manifest.target in MODULES
    return "onnxruntime" if needs_gpu and not has_gpu() else None


def compare(found: Arrays, expected: Arrays, thresholds: Thresholds, reference: str) -> ParityReport:
    """Compare outputs by name; the first dimension counts the images."""
    if set(found) != set(expected):
        raise ParityError(f"outputs {sorted(found)}", expected=f"{sorted(expected)}, as {reference} computes")
    metrics: dict[str, dict[str, float]] = {}
    failures: list[str] = []
    for name, b in expected.items():
        check_comparable(name, found[name], b, reference)
        metrics[name] = _metrics_of(name, found[name], b, thresholds)
        failures += _failures_of(name, metrics[name], thresholds)
    return ParityReport(reference, len(next(iter(expected.values()))), metrics, thresholds, failures)


def _metrics_of(name: str, a: np.ndarray, b: np.ndarray, thresholds: Thresholds) -> dict[str, float]:
    metrics = {
        "max_relative_error": float(relative_errors(a, b).max()),
        "cosine": float(cosines(a, b).min()),
    }
    if name == "logits" and b.ndim == 2 and b.shape[1] > 1:
        same = same_top1(a, b)
        ties = ~same & (top1_margins(b) < thresholds.tie)
        metrics |= {
            "top1": float(same.mean()),
            "top1_ties": int(ties.sum()),
            "top1_decided": float((same | ties).mean()),
        }
    return metrics


def _failures_of(name: str, metrics: Mapping[str, float], thresholds: Thresholds) -> list[str]:
    failures = []
    if not metrics["max_relative_error"] <= thresholds.max_relative_error:
        failures.append(
            f"{name}: max relative error {metrics['max_relative_error']:.2g} > {thresholds.max_relative_error:g}"
        )
    if not metrics["cosine"] >= thresholds.cosine:
        failures.append(f"{name}: cosine {metrics['cosine']:.6f} < {thresholds.cosine:g}")
    decided = metrics.get("top1_decided")
    if decided is not None and not decided >= thresholds.top1:
        failures.append(f"{name}: top-1 agreement {decided:.3f} < {thresholds.top1:g}, ties aside")
    return failures


def _chunks(data: Any, manifest: Manifest) -> Iterator[Any]:
    if manifest.preprocessing is None:
        yield data
        return
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def _reference(model: nn.Module | OnnxFile) -> tuple[str, Callable[[Any, Manifest], Arrays]]:
    """What the original is called, and how it is run."""
    if isinstance(model, OnnxFile):
        referee = OnnxReferee(model)
        return referee.name, lambda arrays, manifest: referee(inputs_from_images(arrays, manifest))
    return type(model).__name__, functools.partial(_reference_outputs, model)


@torch.inference_mode()
def _reference_outputs(model: nn.Module, images: Any, manifest: Manifest) -> Arrays:
    inputs = reference_inputs(images, manifest)
    outputs = model(*inputs)
    return {
        name: torch.view_as_real(value).numpy() if value.is_complex() else value.float().numpy()
        for name, value in zip(names_of(outputs), pytree.tree_leaves(outputs), strict=True)
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
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
