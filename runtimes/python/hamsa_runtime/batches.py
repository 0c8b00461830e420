"""Any number of images, as the batches that one inference of a bundle takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hamsa_runtime.manifest import Manifest

Arrays = dict[str, np.ndarray]


def chunks(inputs: Arrays, manifest: Manifest, limits: tuple[int, int] | None) -> Iterator[tuple[Arrays, int | None]]:
    """Cuts images into what one inference takes; with each chunk, how many rows of the result to keep (None: all).

    That is the static batch of the bundle, or at most, and at least, the backend's limits for a dynamic one. A chunk
    that is too small is filled up with copies of its last image: zeros could be slower (denormals) or overflow.
    """
    names, smallest, largest = cut(manifest, limits)
    if not names:
        yield inputs, None
        return
    total = len(inputs[names[0]])
    for start in range(0, total, largest):
        size = min(largest, total - start)
        missing = max(smallest - size, 0)
        chunk = {name: _filled(inputs[name][start : start + size], missing) for name in names}
        yield {**inputs, **chunk}, size if missing else None


def cut(manifest: Manifest, limits: tuple[int, int] | None) -> tuple[list[str], int, int]:
    """Inputs that can be cut along their first dimension, with the smallest and the largest piece."""
    dynamic = [spec.name for spec in manifest.inputs if spec.shape[:1] == ("batch",)]
    if dynamic:
        return (dynamic, *limits) if limits is not None else ([], 0, 0)
    spec = manifest.inputs[0]
    if manifest.preprocessing is None or not isinstance(size := spec.shape[0], int):
        return [], 0, 0
    return [spec.name], size, size


def _filled(part: np.ndarray, missing: int) -> np.ndarray:
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part


def zeros(manifest: Manifest, batch: int) -> Arrays:
    """Inputs of zeros; `batch` images where the batch is dynamic."""
    return {
        spec.name: np.zeros([batch if size == "batch" else size for size in spec.shape], np.dtype(spec.dtype))
        for spec in manifest.inputs
    }


def together(manifest: Manifest, limits: tuple[int, int] | None) -> int:
    """How many single images a stream puts into one inference: all that it takes, where that is limited.

    Where it is not, one: then a result does not depend, by its last bits, on which images came at the same time.
    """
    if manifest.preprocessing is None:
        return 1
    names, _, largest = cut(manifest, limits)
    return largest if names else 1
