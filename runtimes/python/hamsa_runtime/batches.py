"""Any number of images, as the batches that one inference of a bundle takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hamsa_runtime.errors import InputError
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


def first(outputs: Arrays, manifest: Manifest, keep: int) -> Arrays:
    """The results of the first `keep` images of an inference.

    Raises:
        InputError: an output has no batch, and so depends on the images that filled the inference up.
    """
    _check_batched(manifest, f"{keep} inputs, fewer than the batch")
    rows = {spec.name: spec.rows for spec in manifest.outputs}
    return {name: array[: keep * rows[name]] for name, array in outputs.items()}


def joined(parts: Sequence[Arrays], manifest: Manifest) -> Arrays:
    """The results of several inferences, one after the other.

    Raises:
        InputError: an output has no batch, so that several of it are not one.
    """
    if len(parts) == 1:
        return parts[0]
    _check_batched(manifest, f"inputs for {len(parts)} inferences")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _check_batched(manifest: Manifest, found: str) -> None:
    for spec in manifest.outputs:
        if spec.rows == 0:
            raise InputError(
                f"{found}, and the output {spec.name!r} has no batch",
                expected="the inputs of one inference: its result is of all of them together",
                fix="pass as many as the batch of the bundle",
            )


def batch_of(inputs: Arrays, manifest: Manifest) -> int | None:
    """How many inputs an inference has; None where the manifest leaves no batch open."""
    for spec in manifest.inputs:
        if "batch" in spec.shape:
            return int(inputs[spec.name].shape[spec.shape.index("batch")])
    return None


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
    if manifest.preprocessing is None or any(spec.rows == 0 for spec in manifest.outputs):
        return 1
    names, _, largest = cut(manifest, limits)
    return largest if names else 1
