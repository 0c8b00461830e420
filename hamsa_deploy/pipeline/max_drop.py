"""How much accuracy an int8 bundle loses against the float32 model, and which layers it takes to lose less."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_deploy.graph.sessions import decibels
from hamsa_deploy.parity.comparison import run_bundle
from hamsa_deploy.pipeline.int8 import Calibrated
from hamsa_deploy.precision.int8.quantisation import Quantisation, rank_layers
from hamsa_runtime.batches import Arrays
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.outputs import LOGITS, classes_in, named_or_only
from hamsa_runtime.whole_files import scratch_folder

logger = logging.getLogger("hamsa_deploy")

SHOWN = 10  # layers of a ranking in an error

Build = Callable[[Path, Sequence[str]], Bundle]


class Accuracy:
    """The loss of top-1 if the true classes are known; else the share of inputs on which the two disagree.

    Args:
        data: images, or arrays, as `check_parity` takes them.
        expected: what the float32 model computes for them, by output name.
        classes: the true class of each input, or None.
        device: that bundles run on; None for their engine's default.
    """

    def __init__(
        self, data: Any, expected: Arrays, classes: Sequence[int] | None = None, device: str | None = None
    ) -> None:
        name = named_or_only(LOGITS, expected) or next(iter(expected))  # of several, people mean the first
        if classes_in(expected[name].shape) is None:
            raise InputError(
                f"the output '{name}' has shape {expected[name].shape}",
                expected="logits (inputs, classes), to measure accuracy by",
                fix="leave --max-drop away: parity compares outputs of any shape",
            )
        self._data, self._output, self._device = data, name, device
        self._predicted = expected[name].argmax(axis=1)
        self._classes = None if classes is None else np.asarray(classes)
        if self._classes is not None and len(self._classes) != len(self._predicted):
            raise InputError(
                f"{len(self._classes)} true classes for {len(self._predicted)} inputs", expected="one for each input"
            )

    @property
    def sha256(self) -> str:
        """Of the model's predictions, the true classes and the device: what a drop depends on, beside the bundle."""
        digest = hashlib.sha256(self._predicted.tobytes())
        digest.update((self._device or "").encode())
        digest.update(b"" if self._classes is None else self._classes.tobytes())
        return digest.hexdigest()

    def drop(self, bundle: Bundle) -> float:
        """The loss of a bundle, in points; negative if it is better than float32."""
        found = run_bundle(bundle, self._data, self._device)[self._output].argmax(axis=1)
        if self._classes is None:
            return 100 * float((found != self._predicted).mean())
        right, right_before = found == self._classes, self._predicted == self._classes
        return 100 * (float(right_before.mean()) - float(right.mean()))


def choose_layers_to_keep(
    ready: Calibrated,
    manifest: Manifest,
    build: Build,
    accuracy: Accuracy,
    max_drop: float,
) -> list[str]:
    """The nodes that stay in floating point, so that the accuracy holds: the costliest, as few as possible.

    Args:
        ready: the calibrated model.
        manifest: of the bundle.
        build: writes a bundle to a folder, with some nodes kept.
        accuracy: measures it.
        max_drop: the largest loss allowed, in percentage points.

    Raises:
        ParityError: the loss is too large even with a single layer in int8; lists the layers that cost most.
    """
    costs = rank_layers(ready.quantisation, ready.measurements)
    nodes = list(costs)
    known = ready.measurements.numbers(
        ready.quantisation.model,
        "drops",
        sites=nodes,
        around=ready.around,
        target=manifest.target,
        thresholds=dict(ready.quantisation.thresholds),
        accuracy=accuracy.sha256,
    )

    def drop_with(number: int) -> float:
        name = str(number)
        if name not in known:
            with scratch_folder() as folder:
                known[name] = accuracy.drop(build(folder, nodes[:number]))
            known.save()
        logger.info("%d of %d layers in floating point: %.2f points lost", number, len(nodes), known[name])
        return known[name]

    number = fewest_kept(len(nodes), drop_with, max_drop)
    if number is None:
        raise ParityError(
            f"int8 loses more than {max_drop:g} points of accuracy, even with one layer of {len(nodes)} in int8",
            expected=f"at most {max_drop:g} points",
            cause="layers that int8 cannot hold: " + described(ready.quantisation, costs),
            fix="a larger --max-drop, more calibration images, or --fp16",
        )
    return nodes[:number]


def fewest_kept(layers: int, drop_with: Callable[[int], float], max_drop: float) -> int | None:
    """How many of the costliest layers must stay in floating point.

    The number is doubled until the drop is small enough, then halved down to the smallest: a handful of measurements
    of the real bundle, for what would otherwise be one for each layer.

    Args:
        layers: how many there are; one at least must become int8.
        drop_with: measures the loss of accuracy, in percentage points, with that many layers kept.
        max_drop: the largest loss allowed, likewise.

    Returns:
        The number, or None if the loss is too large even with one layer left in int8.
    """
    too_few, enough = -1, 0
    while drop_with(enough) > max_drop:
        if enough == layers - 1:
            return None
        too_few, enough = enough, min(max(1, 2 * enough), layers - 1)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if drop_with(middle) > max_drop:
            too_few = middle
        else:
            enough = middle
    return enough


def described(found: Quantisation, costs: Mapping[str, float]) -> str:
    """The layers that cost most, with the signal-to-noise ratio that each alone leaves."""
    layers = {site.node: site.layer for site in found.sites}
    worst = list(costs.items())[:SHOWN]
    return ", ".join(f"{layers[node]} {decibels(cost):.1f} dB" for node, cost in worst)
