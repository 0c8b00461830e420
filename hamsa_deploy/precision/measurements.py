"""What calibration measures on its inputs, each measured once: in later runs it comes from the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.evaluation import Arrays
from hamsa_deploy.precision.cache import cache_key, load, store
from hamsa_deploy.precision.histogram import Histogram, arrays_from_histograms, histograms_from_arrays
from hamsa_deploy.precision.observers import histograms_of, ranges_of, row_ranges
from hamsa_deploy.precision.passes.mean_split import gains_of_splitting
from hamsa_deploy.precision.passes.smoothing import ChannelRanges, channel_ranges

# Measurements of a search are stored at most this often, and once more at its end.
SECONDS_BETWEEN_STORES = 5.0


@dataclass(frozen=True)
class Measurements:
    """The calibration inputs, and how to measure on them.

    Attributes:
        feeds: graph inputs by name, one dict for each run.
        sha256: of what the feeds were made from; entries of the cache depend on it.
    """

    feeds: Sequence[Arrays]
    sha256: str

    def histograms(self, model: ir.Model, names: Sequence[str]) -> dict[str, Histogram]:
        """Of the magnitudes of values between the nodes of a float32 model."""
        key = self._key(model, "histograms", names=list(names))
        arrays = load(key)
        if arrays is None:
            arrays = arrays_from_histograms(histograms_of(model, names, self.feeds))
            store(key, arrays)
        return histograms_from_arrays(arrays)

    def ranges(self, model: ir.Model, runs: int) -> dict[str, float]:
        """The largest magnitude of every float32 value on the first inputs; see `ranges_of`."""
        key = self._key(model, "ranges", first=runs)
        arrays = load(key)
        if arrays is None:
            arrays = {name: np.array(largest) for name, largest in ranges_of(model, self.feeds[:runs]).items()}
            store(key, arrays)
        return {name: float(largest) for name, largest in arrays.items()}

    def rows(self, model: ir.Model, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The largest magnitude of each row of values; see `row_ranges`."""
        key = self._key(model, "rows", names=list(names))
        arrays = load(key)
        if arrays is None:
            arrays = row_ranges(model, self.feeds, names)
            store(key, arrays)
        return arrays

    def channels(self, model: ir.Model, names: Sequence[str]) -> dict[str, ChannelRanges]:
        """Sizes of the channels of values; see `channel_ranges`."""
        key = self._key(model, "channels", names=list(names))
        arrays = load(key)
        if arrays is None:
            found = channel_ranges(model, self.feeds, names)
            arrays = {name: np.stack([each.largest, each.mean_square]) for name, each in found.items()}
            store(key, arrays)
        return {name: ChannelRanges(largest, mean_square) for name, (largest, mean_square) in arrays.items()}

    def splitting_gains(self, model: ir.Model, signals: Sequence[str]) -> dict[str, float]:
        """What signals would gain without their means; see `gains_of_splitting`."""
        known = self.numbers(model, "splitting", names=list(signals))
        if not all(name in known for name in signals):
            known.update(gains_of_splitting(model, self.feeds, signals))
            known.save()
        return dict(known)

    def numbers(self, model: ir.Model, kind: str, **options: Any) -> Numbers:
        """Named numbers that a search measures one by one."""
        return Numbers(self._key(model, kind, **options))

    def _key(self, model: ir.Model, kind: str, **options: Any) -> str:
        return cache_key(model, self.sha256, {"kind": kind, "runs": len(self.feeds), **options})


class Numbers(MutableMapping[str, float]):
    """A dict of floats that survives an interruption: it starts with what is in the cache, and stores what is added."""

    def __init__(self, key: str) -> None:
        self._key = key
        stored = load(key) or {}
        self._values: dict[str, float] = {name: float(value) for name, value in stored.items()}
        self._stored_at = time.monotonic()

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __setitem__(self, name: str, value: float) -> None:
        self._values[name] = value
        if time.monotonic() - self._stored_at > SECONDS_BETWEEN_STORES:
            self.save()

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def save(self) -> None:
        """Store what there is."""
        store(self._key, {name: np.array(value) for name, value in self._values.items()})
        self._stored_at = time.monotonic()
