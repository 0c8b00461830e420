"""Images, or arrays, -> inputs of the graph, one batch after the other: what ranges and scales are measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hamsa_runtime.batches import Arrays
from hamsa_runtime.clips import calls_of_clips
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import inputs_from_images


def feeds_of(data: Any, manifest: Manifest, batch: int = 1, limit: int | None = None) -> Iterator[Arrays]:
    """The graph's inputs for some data, a few images at a time, so that many of them need no more memory than one.

    Args:
        data: as `check_parity` takes them: for a model of images a list of them, or an array with a leading batch
            axis; for any other model a dict of arrays by input name, or one array; or several calls, see `is_calls`.
        manifest: what the graph takes.
        batch: images in a feed, where the batch of the graph is dynamic. Where it is fixed, a feed has as many, and
            the last one is filled up with copies of its last image, as `Engine` does.
        limit: at most this many images, from the first on.

    Yields:
        Arrays by input name, in the dtypes and shapes of the manifest.

    Raises:
        InputError: the data do not fit the model.
    """
    if is_calls(data, manifest):
        yield from (inputs_from_images(each, manifest) for each in calls_of(data, manifest)[:limit])
        return
    if manifest.preprocessing is None:
        yield from _feeds_of_arrays(inputs_from_images(data, manifest), manifest, batch, limit)
        return
    fixed = _fixed_batch(manifest)
    chosen = data if limit is None else data[:limit]
    for start in range(0, len(chosen), fixed or batch):
        inputs = inputs_from_images(chosen[start : start + (fixed or batch)], manifest)
        yield inputs if fixed is None else {name: _filled(array, fixed) for name, array in inputs.items()}


def is_calls(data: Any, manifest: Manifest) -> bool:
    """Whether data are for several calls, one after the other: all that a model takes which keeps something between
    calls; and for a model of arrays or clips a list."""
    return bool(manifest.states) or (manifest.preprocessing is None and isinstance(data, list | tuple))


def calls_of(data: Any, manifest: Manifest) -> list[Any]:
    """Such data as the engine is called with them, one after the other.

    Args:
        data: a list, of images or of what the engine takes; or the arrays of one call. Files of clips are cut into
            blocks where the model keeps something between calls, as `Engine.stream` does.
        manifest: of the bundle.
    """
    return [call for calls in streams_of(data, manifest) for call in calls]


def streams_of(data: Any, manifest: Manifest) -> list[list[Any]]:
    """The same calls, those of each stream together: what a model keeps between calls starts anew with each.

    A clip's file is a stream of its own, as for `Engine.stream`; anything else belongs to what is before it.
    """
    if manifest.preprocessing is not None:
        batch = _fixed_batch(manifest) or 1
        return [[data[start : start + batch] for start in range(0, len(data) - len(data) % batch, batch)]]
    streams: list[list[Any]] = [[]]
    for call, is_start in calls_of_clips([data] if isinstance(data, Mapping | np.ndarray) else data, manifest):
        if is_start and streams[-1]:
            streams.append([])
        streams[-1].append(call)
    return streams


def _fixed_batch(manifest: Manifest) -> int | None:
    """The number of images that a graph of images always takes, or None."""
    size = manifest.inputs[0].shape[0]
    return size if isinstance(size, int) else None


def _filled(images: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])


def _feeds_of_arrays(arrays: Arrays, manifest: Manifest, batch: int, limit: int | None) -> Iterator[Arrays]:
    """Slices of the arrays; the arrays themselves where the batch is fixed, or is not the first axis of all."""
    if any(spec.shape[:1] != ("batch",) for spec in manifest.inputs):
        yield dict(arrays)
        return
    images = min(len(array) for array in arrays.values())
    end = images if limit is None else min(limit, images)
    for start in range(0, end, batch):
        yield {name: array[start : min(start + batch, end)] for name, array in arrays.items()}
