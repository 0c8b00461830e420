"""What calibration measures on its inputs, each measured once: in later runs it comes from the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.cache import cache_key, load, store
from hamsa_deploy.precision.observers import Observer, Seen
from hamsa_runtime.batches import Arrays

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

    def observe(
        self, model: ir.Model, observer: Observer[Seen], names: Sequence[str], first: int | None = None
    ) -> dict[str, Seen]:
        """What an observer sees in values between the nodes of a float32 model, by name.

        Args:
            model: it is left as it is.
            observer: looks.
            names: of the values.
            first: how many of the feeds to run, by default all.

        Raises:
            InputError: what the observer refuses.
        """
        key = self._key(model, observer.kind, names=list(names), first=first)
        arrays = load(key)
        if arrays is None:
            seen = observer.watch(model, names, self.feeds[:first])
            arrays = {name: observer.pack(each) for name, each in seen.items()}
            store(key, arrays)
        return {name: observer.unpack(array) for name, array in arrays.items()}

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
