"""One output of both models, with what its metrics are computed of: whatever several of them need is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hamsa_deploy.parity import decisions, differences
from hamsa_deploy.parity.retrieval import recalls
from hamsa_deploy.parity.significance import PairedAccuracy, paired_accuracy
from hamsa_runtime.outputs import EMBEDDING, LOGITS, classes_in


@dataclass(frozen=True, eq=False)
class Pair:
    """What the exported model and the reference compute for N images; comparable, see `check_comparable`.

    Attributes:
        name: of the output: "logits" have classes, an "embedding" is searched in.
        found, expected: (N, ...) each, a and b.
        tie: the margin below which a top-1 that differs is a tie, relative to the scale of the logits.
        unit: one unit in the last place of 1, in the numbers that the exported model computes with.
        known_classes: the true class of each image, if they are known.
    """

    name: str
    found: np.ndarray
    expected: np.ndarray
    tie: float = 0.0
    known_classes: Sequence[int] | None = None
    unit: float = differences.FLOAT32_ULP

    @property
    def is_exact(self) -> bool:
        """Whether the output is of whole numbers or truth values."""
        return differences.is_exact(self.expected)

    @cached_property
    def equal_shares(self) -> np.ndarray:
        """(N,), of values that are equal."""
        return differences.equal_shares(self.found, self.expected)

    @cached_property
    def largest_errors(self) -> np.ndarray:
        """(N,), absolute."""
        return self._value_errors[0]

    @cached_property
    def mean_errors(self) -> np.ndarray:
        """(N,), absolute."""
        return self._value_errors[1]

    @cached_property
    def relative_errors(self) -> np.ndarray:
        """(N, n)."""
        return differences.relative_errors(self.found, self.expected)

    @cached_property
    def correlation(self) -> float:
        """Of what the input decides."""
        return differences.correlation(self.found, self.expected, self.unit)

    @cached_property
    def cosines(self) -> np.ndarray:
        """(N,)."""
        return differences.cosines(self.found, self.expected)

    @cached_property
    def recalls(self) -> dict[int, float]:
        """k -> recall@k; empty for what is no embedding."""
        is_searched = self.name == EMBEDDING and self.expected.ndim == 2
        return recalls(self.found, self.expected) if is_searched else {}

    @property
    def has_classes(self) -> bool:
        """See `has_classes`. What follows is for such outputs only."""
        return has_classes(self.name, self.expected) and not self.is_exact

    @cached_property
    def predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) of int each: the best class of the exported model and of the reference."""
        return self.found.argmax(axis=1), self.expected.argmax(axis=1)

    @cached_property
    def same_top1(self) -> np.ndarray:
        """(N,) of bool."""
        return decisions.same_top1(self.found, self.expected)

    @cached_property
    def ties(self) -> np.ndarray:
        """(N,) of bool: the class has changed, and the reference itself could hardly tell."""
        return ~self.same_top1 & (decisions.top1_margins(self.expected) < self.tie * differences.scales(self.expected))

    @cached_property
    def divergences(self) -> np.ndarray:
        """(N,), in nats."""
        return decisions.kl_divergences(self.found, self.expected)

    @cached_property
    def margin_changes(self) -> np.ndarray:
        """(N,), in units of a logit."""
        return decisions.margin_changes(self.found, self.expected)

    @cached_property
    def classes(self) -> np.ndarray | None:
        """(N,) of int, the true ones, where they are known and the output has any."""
        return None if self.known_classes is None or not self.has_classes else np.asarray(self.known_classes)

    @cached_property
    def accuracy(self) -> PairedAccuracy | None:
        """Of both models, where the true classes are known."""
        if self.classes is None:
            return None
        found, expected = self.predictions
        return paired_accuracy(found == self.classes, expected == self.classes)

    @cached_property
    def _value_errors(self) -> tuple[np.ndarray, np.ndarray]:
        return differences.value_errors(self.found, self.expected)


def has_classes(name: str, output: np.ndarray) -> bool:
    """Whether an output is one number for each of at least two classes; by name, for it decides on the verdict."""
    return name == LOGITS and classes_in(output.shape) is not None
