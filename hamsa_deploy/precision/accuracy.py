"""How much accuracy a bundle loses against the float32 model, in percentage points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_deploy.parity.comparison import outputs_of_bundle
from hamsa_runtime.errors import InputError

LOGITS = "logits"


class Accuracy:
    """The loss of top-1 if the true classes are known; else the share of inputs on which the two disagree.

    Args:
        data: images, or arrays, as `check_parity` takes them.
        expected: what the float32 model computes for them, by output name.
        classes: the true class of each input, or None.
    """

    def __init__(self, data: Any, expected: dict[str, np.ndarray], classes: Sequence[int] | None = None) -> None:
        name = LOGITS if LOGITS in expected else next(iter(expected))
        if expected[name].ndim != 2 or expected[name].shape[1] < 2:
            raise InputError(
                f"the output '{name}' has shape {expected[name].shape}",
                expected="logits (inputs, classes), to measure accuracy by",
                fix="leave --max-drop away: parity compares outputs of any shape",
            )
        self._data, self._output = data, name
        self._predicted = expected[name].argmax(axis=1)
        self._classes = None if classes is None else np.asarray(classes)
        if self._classes is not None and len(self._classes) != len(self._predicted):
            raise InputError(
                f"{len(self._classes)} true classes for {len(self._predicted)} inputs", expected="one for each input"
            )

    def drop(self, folder: Path) -> float:
        """The loss of the bundle in a folder, in points; negative if it is better than float32."""
        found = outputs_of_bundle(folder, self._data)[self._output].argmax(axis=1)
        if self._classes is None:
            return 100 * float((found != self._predicted).mean())
        right, right_before = found == self._classes, self._predicted == self._classes
        return 100 * (float(right_before.mean()) - float(right.mean()))
