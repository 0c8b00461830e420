"""What is looked at between the nodes of an ONNX graph on real inputs, and what is kept of it over many runs.

    ranges = RANGES.watch(model, float32_values(model), feeds)

An observer says it for one value; who wants something observed declares one of its own, beside the code that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.observing import observe, values_by_name
from hamsa_runtime.batches import Arrays

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Observer(Generic[Seen]):
    """How a value is looked at, run after run.

    Attributes:
        kind: what the cache knows it by. Another one, or another `cache.FORMAT`, for each change of what is measured.
        look: from what was seen of a value so far, None before its first run, its array in one more run, and its name,
            for errors: what has been seen now.
        pack, unpack: to the array that the cache stores, and back.
    """

    kind: str
    look: Callable[[Seen | None, np.ndarray, str], Seen]
    pack: Callable[[Seen], np.ndarray]
    unpack: Callable[[np.ndarray], Seen]

    def watch(self, model: ir.Model, names: Sequence[str], feeds: Iterable[Arrays]) -> dict[str, Seen]:
        """Run a graph on every feed, and look at some of its values.

        Args:
            model: float32; it is left as it is.
            names: graph inputs or outputs of nodes.
            feeds: graph inputs by name, one dict for each run.

        Returns:
            What has been seen, by name; nothing where there are no feeds.

        Raises:
            InputError: what `look` refuses.
        """
        seen: dict[str, Seen] = {}
        for arrays in observe(model, names, feeds):
            for name, array in arrays.items():
                seen[name] = self.look(seen.get(name), array, name)
        return seen


def largest_over_runs(kind: str, sizes: Callable[[np.ndarray], np.ndarray]) -> Observer[np.ndarray]:
    """An observer that keeps the largest of each size over all runs.

    Args:
        kind: of the observer.
        sizes: from a value to an array whose shape is the same in every run.
    """

    def look(so_far: np.ndarray | None, array: np.ndarray, _name: str) -> np.ndarray:
        found = sizes(array)
        return found if so_far is None else np.maximum(so_far, found)

    return Observer(kind, look, pack=np.asarray, unpack=np.asarray)


# Value name -> max |v| over all inputs that were tried; NaN if float32 has already left its range.
Ranges = Mapping[str, float]


def _largest(so_far: float | None, array: np.ndarray, _name: str) -> float:
    return float(np.maximum(so_far or 0.0, np.abs(array).max(initial=0.0)))


# What float16 is typed by, also between int8 products: `Ranges`, of all `float32_values`.
RANGES = Observer("ranges", _largest, pack=np.array, unpack=float)


def float32_values(model: ir.Model) -> list[str]:
    """Names of every float32 value that the nodes of a graph take or compute."""
    return [name for name, value in values_by_name(model.graph).items() if value.dtype == ir.DataType.FLOAT]
