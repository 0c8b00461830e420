"""What hamsa-parity adds to a report, as plain values."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from hamsa_deploy.parity.layers import LayerReport
from hamsa_deploy.parity.limits import limits_of
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.report.histograms import histograms_of
from hamsa_deploy.report.wording import agreement_sentence
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import inputs_from_images

SHOWN = 6  # worst images of each output, with pictures
LARGEST = 192  # pixels along the longer side of a picture
PNG_UP_TO = 64  # smaller ones without loss, since each pixel is seen


def section_from_report(
    report: ParityReport,
    *,
    manifest: Manifest | None = None,
    data: Any = None,
    labels: Sequence[str] | None = None,
    limits_given: bool = False,
    layers: LayerReport | None = None,
) -> dict[str, Any]:
    """Everything about a comparison that was made.

    Args:
        report: the comparison.
        manifest: of the bundle; None if that is gone.
        data: the images, for pictures of the worst; None for none.
        labels: names of the classes.
        limits_given: whether the limits are others than those of the precision.
        layers: the comparison layer by layer, if it was made.
    """
    worst = {name: rows[:SHOWN] for name, rows in report.as_dict()["worst_images"].items()}
    numbers = [row["index"] for rows in worst.values() for row in rows]
    passed = report.passed and (layers is None or layers.passed)
    causes = [report.ill_conditioned] if report.ill_conditioned else []
    failures = [*report.failures, *causes, *([layers.sentence()] if layers is not None and not layers.passed else [])]
    return {
        "verdict": "passed" if passed else "failed",
        "sentences": failures or [agreement_sentence("" if limits_given else report.precision)],
        "way_out": "" if passed else report.way_out,
        "precision": report.precision,
        "reference": report.reference,
        "images": report.images,
        "note": report.note,
        "metrics": report.metrics,
        "thresholds": report.thresholds.as_dict(),
        "limits": [check for name in report.metrics for check in checks_of(report, name)],
        "other_failures": other_failures(report),
        "histograms": {name: histograms_of(each, report.thresholds) for name, each in report.agreements.items()},
        "worst": worst,
        "labels": None if labels is None else list(labels),
        "pictures": {} if data is None or manifest is None else pictures_of(data, numbers, manifest),
        "layers": None if layers is None else layers.as_document(),
    }


def section_from_error(error: ParityError, precision: str) -> dict[str, Any]:
    """A comparison that could not be finished, because outputs are NaN, empty or of another shape."""
    return {
        "verdict": "failed",
        "sentences": [error.found],
        "way_out": error.fix,
        "precision": precision,
        "expected": error.expected,
        "cause": error.cause,
        **{name: {} for name in ("metrics", "thresholds", "histograms", "worst", "pictures")},
        **{name: [] for name in ("limits", "other_failures")},
        **{name: "" for name in ("reference", "note")},
        **{name: None for name in ("images", "labels", "layers")},
    }


def checks_of(report: ParityReport, output: str) -> list[dict[str, Any]]:
    """Each limit of an output: metric, value, limit, how much of what is allowed is used, and the failure, if any."""
    metrics = report.metrics[output]
    return [
        {
            "output": output,
            "metric": limit.metric,
            "words": limit.judged.words,
            "value": metrics[limit.metric],
            "limit": limit.limit,
            "is_upper": limit.judged.is_upper,
            "used": limit.used(metrics[limit.metric]),
            "unit": limit.judged.after if limit.judged.best is None else "",
            "failure": limit.failure(output, metrics),
        }
        for limit in limits_of(report.thresholds)
        if limit.metric in metrics
    ]


def other_failures(report: ParityReport) -> list[str]:
    """What fails although no limit is exceeded: names in another order, other preprocessing than in training."""
    exceeded = {check["failure"] for name in report.metrics for check in checks_of(report, name)}
    return [sentence for sentence in report.failures if sentence not in exceeded]


def pictures_of(data: Any, images: Iterable[int], manifest: Manifest) -> dict[str, str]:
    """Number of an image -> its pixels after resizing and cropping, as a data URI; empty for a model of arrays."""
    if manifest.preprocessing is None or isinstance(data, Mapping) or not isinstance(data, (Sequence, np.ndarray)):
        return {}
    how = dataclasses.replace(manifest.preprocessing, normalise="graph")
    as_pixels = dataclasses.replace(manifest, preprocessing=how)
    name = manifest.inputs[0].name
    return {str(i): data_uri(inputs_from_images([data[i]], as_pixels)[name][0]) for i in sorted(set(images))}


def data_uri(pixels: np.ndarray) -> str:
    """uint8 (H, W, 1) or (H, W, 3) -> "data:image/png;base64,...", made smaller if need be."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((LARGEST, LARGEST))
    kind = "png" if max(image.size) <= PNG_UP_TO else "jpeg"
    stream = io.BytesIO()
    image.save(stream, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
