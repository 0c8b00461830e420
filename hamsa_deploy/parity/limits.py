"""The verdict: which metrics are outside their limits, each in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hamsa_deploy.parity.agreement import Agreement
from hamsa_deploy.parity.metrics import METRICS, Judgement, Thresholds
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.precision.records.record import Precision
from hamsa_deploy.targets import target_of

# Classes are swapped if this share of one is taken for another, of at least so many images: no poor model does that.
SWAPPED, FEWEST = 0.8, 3
SHOWN = 5


class Limit(NamedTuple):
    """One metric that is judged, and its limit."""

    metric: str
    limit: float
    judged: Judgement

    def failure(self, output: str, metrics: Mapping[str, float]) -> str:
        """The sentence about a value outside the limit; empty if it is inside, or not there. NaN is outside."""
        value, how = metrics.get(self.metric), self.judged
        if value is None or (value <= self.limit if how.is_upper else value >= self.limit):
            return ""
        sign = ">" if how.is_upper else "<"
        return f"{output}: {how.words} {how.form.format(value)} {sign} {self.limit:g}{how.after}"

    def used(self, value: float) -> float | None:
        """The share of what is allowed that a value takes: above 1 it fails. None where there is nothing to divide by.

        Errors begin at 0; a cosine and a share of images are as good as they get at 1.
        """
        best = self.judged.best
        if best is None:
            return None
        allowed, taken = self.limit - best, value - best
        if not self.judged.is_upper:
            allowed, taken = -allowed, -taken
        return max(0.0, taken) / allowed if allowed > 0 else None


def limits_of(thresholds: Thresholds) -> list[Limit]:
    """Everything that the verdict depends on."""
    judged = [(metric.name, metric.judged) for metric in METRICS if metric.judged is not None]
    found = [(name, how.limit(thresholds), how) for name, how in judged]
    return [Limit(name, limit, how) for name, limit, how in found if limit is not None]


def failures_of(name: str, agreement: Agreement, thresholds: Thresholds) -> list[str]:
    """One sentence for each limit that an output does not keep."""
    sentences = [limit.failure(name, agreement.metrics) for limit in limits_of(thresholds)]
    return [sentence for sentence in sentences if sentence] + _swapped_failures(name, agreement)


def way_out(precision: str, target: str = "") -> str:
    """What to do about an exported model that failed.

    Args:
        precision: its own; empty for none in particular.
        target: its own; an engine that takes ranges when it runs keeps no layer in floating point.
    """
    if not precision:
        return Precision.way_out
    found = precision_of(precision)
    if found.is_quantised and target and target_of(target).takes_program:
        return "hamsa-export --fp16, or --fp32"
    return found.way_out


def swapped_classes(prediction: np.ndarray, classes: np.ndarray) -> dict[int, int]:
    """True class -> what it is taken for throughout, where such classes are a permutation of one another.

    Then names and logits are in different orders, whatever the accuracy of the model.
    """
    taken_for: dict[int, int] = {}
    for true in np.unique(classes):
        found, counts = np.unique(prediction[classes == true], return_counts=True)
        most = int(counts.argmax())
        if found[most] != true and counts.sum() >= FEWEST and counts[most] >= SWAPPED * counts.sum():
            taken_for[int(true)] = int(found[most])
    return taken_for if set(taken_for) == set(taken_for.values()) else {}


def _swapped_failures(name: str, agreement: Agreement) -> list[str]:
    if agreement.classes is None or agreement.reference_prediction is None:
        return []
    swapped = swapped_classes(agreement.reference_prediction, agreement.classes)
    if not swapped:
        return []
    pairs = ", ".join(f"{true} for {taken}" for true, taken in list(swapped.items())[:SHOWN])
    more = f" and {len(swapped) - SHOWN} more" if len(swapped) > SHOWN else ""
    return [f"{name}: class names in another order than the logits: even the reference takes class {pairs}{more}"]
