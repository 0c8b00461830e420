"""One output of the exported model against that of the reference: image by image, and in numbers for the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hamsa_deploy.parity.decisions import Leading, leading
from hamsa_deploy.parity.metrics import Thresholds, metrics_of
from hamsa_deploy.parity.pair import Pair

LEADING = 3  # classes that are kept of each image, for people to look at


@dataclass(frozen=True)
class Agreement:
    """How far one output is off, for each of N images; float64 unless said.

    Attributes:
        absolute_error: (N,), the largest of each image.
        relative_error: (N,), the largest of each image; of whole numbers, the share that is not equal.
        cosine: (N,); of whole numbers, the share that is equal.
        metrics: name -> value, over all images; see `METRICS`.
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
    pair = Pair(name, found, expected, thresholds.tie, classes, thresholds.unit)
    relative = 1 - pair.equal_shares if pair.is_exact else pair.relative_errors.max(axis=1)
    cosine = pair.equal_shares if pair.is_exact else pair.cosines
    values = (pair.largest_errors, relative, cosine, metrics_of(pair))
    if not pair.has_classes:
        return Agreement(*values)
    best = leading(found, LEADING), leading(expected, LEADING)
    return Agreement(*values, *pair.predictions, pair.classes, *best)
