"""One output of the exported model against that of the reference: image by image, and in numbers for the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hamsa_deploy.parity.decisions import (
    Leading,
    in_top,
    kl_divergences,
    leading,
    margin_changes,
    rank_correlations,
)
from hamsa_deploy.parity.metrics import (
    Thresholds,
    cosines,
    same_top1,
    scales,
    signal_to_noise,
    top1_margins,
    value_errors,
)
from hamsa_deploy.parity.retrieval import recalls
from hamsa_deploy.parity.significance import paired_accuracy
from hamsa_runtime.outputs import EMBEDDING, LOGITS, classes_in

TOP = 5
LEADING = 3  # classes that are kept of each image, for people to look at


@dataclass(frozen=True)
class Agreement:
    """How far one output is off, for each of N images; float64 unless said.

    Attributes:
        absolute_error: (N,), the largest of each image.
        relative_error: (N,), the largest of each image, relative to the reference's largest value.
        cosine: (N,).
        metrics: name -> value, over all images; the modules `metrics`, `decisions`, `retrieval` and `statistics` define
            them.
        prediction, reference_prediction: (N,) of int, the classes that both choose; None for an output without classes.
        classes: (N,) of int, the true ones, where they are known.
        leading, reference_leading: the most probable classes of both, as far as there are classes.
    """

    absolute_error: np.ndarray
    relative_error: np.ndarray
    cosine: np.ndarray
    metrics: dict[str, float]
    prediction: np.ndarray | None = None
    reference_prediction: np.ndarray | None = None
    classes: np.ndarray | None = None
    leading: Leading | None = None
    reference_leading: Leading | None = None

    @property
    def same_top1(self) -> np.ndarray | None:
        """(N,) of bool; None for an output without classes."""
        return None if self.prediction is None else np.asarray(self.prediction == self.reference_prediction)

    def worst(self, number: int) -> list[int]:
        """The images with the largest errors, worst first; those whose class changed go before all others."""
        changed = np.zeros(len(self.cosine), bool) if self.same_top1 is None else ~self.same_top1
        return [int(i) for i in np.lexsort((-self.relative_error, ~changed))[:number]]


def agreement_of(
    name: str, found: np.ndarray, expected: np.ndarray, thresholds: Thresholds, classes: Sequence[int] | None = None
) -> Agreement:
    """Compare one output.

    Args:
        name: of the output: "logits" have classes, an "embedding" is searched in.
        found, expected: (N, ...) of the exported model and the reference; comparable, see `check_comparable`.
        thresholds: what counts as a tie.
        classes: the true class of each image.
    """
    largest, mean = value_errors(found, expected)
    scale, cosine = scales(expected), cosines(found, expected)
    metrics = {
        "max_absolute_error": float(largest.max()),
        "mean_absolute_error": float(mean.mean()),
        "max_relative_error": float((largest / scale).max()),
        "mean_relative_error": float((mean / scale).mean()),
        "cosine": float(cosine.min()),
        "cosine_mean": float(cosine.mean()),
        "cosine_p1": float(np.percentile(cosine, 1)),
        "signal_to_noise_db": signal_to_noise(found, expected),
    }
    values = (largest, largest / scale, cosine)
    if not has_classes(name, expected):
        return Agreement(*values, metrics | _search_metrics(name, found, expected))
    predictions = found.argmax(axis=1), expected.argmax(axis=1)
    metrics |= _decision_metrics(found, expected, thresholds)
    best = leading(found, LEADING), leading(expected, LEADING)
    true = None if classes is None else np.asarray(classes)
    if true is not None:
        metrics |= _accuracy_metrics(*predictions, true)
    return Agreement(*values, metrics, *predictions, true, *best)


def has_classes(name: str, output: np.ndarray) -> bool:
    """Whether an output is one number for each of at least two classes; by name, for it decides on the verdict."""
    return name == LOGITS and classes_in(output.shape) is not None


def _search_metrics(name: str, found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    if name != EMBEDDING or expected.ndim != 2:
        return {}
    return {f"recall_at_{k}": value for k, value in recalls(found, expected).items()}


def _decision_metrics(a: np.ndarray, b: np.ndarray, thresholds: Thresholds) -> dict[str, float]:
    same, divergence, changes = same_top1(a, b), kl_divergences(a, b), margin_changes(a, b)
    ties = ~same & (top1_margins(b) < thresholds.tie)
    top5 = {"top5": float(in_top(a, b, TOP).mean())} if b.shape[1] > TOP else {}
    return {
        "top1": float(same.mean()),
        "top1_ties": int(ties.sum()),
        "top1_decided": float((same | ties).mean()),
        **top5,
        "kl_divergence": float(divergence.mean()),
        "kl_divergence_max": float(divergence.max()),
        "rank_correlation": float(rank_correlations(a, b).mean()),
        "margin_change": float(changes.mean()),
        "margin_change_min": float(changes.min()),
    }


def _accuracy_metrics(prediction: np.ndarray, reference: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Accuracies are shares, changes percentage points."""
    found = paired_accuracy(prediction == classes, reference == classes)
    low, high = found.interval()
    return {
        "accuracy": found.accuracy,
        "accuracy_reference": found.reference_accuracy,
        "accuracy_change": 100 * found.change,
        "accuracy_change_low": 100 * low,
        "accuracy_change_high": 100 * high,
        "accuracy_lost": found.lost,
        "accuracy_gained": found.gained,
        "mcnemar_p": found.p_value(),
    }
