"""Any number of images, as the batches that one inference of a bundle takes.

An output with `batch_axis` a has, along its dimension a, r rows for each of n images, one image after the other:

    size of dimension a = r n,    rows of image i: r i ... r (i + 1) - 1

so that what belongs to some of the images can be cut out of it, and joined again. r follows from what the engine
returns: it may depend on other axes, and be another in the next inference. An output without `batch_axis` is of all
images of an inference together: then all have to fit into one, and none may be added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hamsa_runtime.errors import BuildError, InputError
from hamsa_runtime.manifest import BATCH, Axis, InputSpec, Manifest, OutputSpec

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Chunk:
    """The inputs of one inference.

    Attributes:
        inputs: by name.
        images: how many there are in it.
        keep: how many of them, from the first on, were asked for; the others fill it up.
    """

    inputs: Arrays
    images: int
    keep: int

    def kept(self, outputs: Arrays, manifest: Manifest) -> Arrays:
        """What belongs to the images that were asked for."""
        return outputs if self.keep == self.images else part(outputs, manifest, 0, self.keep, self.images)


def chunks(inputs: Arrays, manifest: Manifest, limits: tuple[int, int] | None) -> Iterator[Chunk]:
    """Cuts images into what one inference takes.

    That is the static batch of the bundle, or at most, and at least, the backend's limits for a dynamic one. A chunk
    that is too small is filled up with copies of its last image: zeros could be slower (denormals) or overflow.

    Raises:
        InputError: an output cannot be put together again.
    """
    axes, smallest, largest = cut(manifest, limits)
    total = images_of(inputs, manifest)
    if not axes:
        yield Chunk(inputs, total, total)
        return
    if not smallest <= total <= largest:
        _check_separable(manifest, total, smallest, largest)
    for start in range(0, total, largest):
        size = min(largest, total - start)
        missing = max(smallest - size, 0)
        cuts = {
            name: _filled(_rows(inputs[name], axis, start, start + size), axis, missing) for name, axis in axes.items()
        }
        yield Chunk({**inputs, **cuts}, size + missing, size)


def cut(manifest: Manifest, limits: tuple[int, int] | None) -> tuple[dict[str, int], int, int]:
    """Inputs that can be cut, with the dimension of the batch, and the smallest and the largest piece."""
    dynamic = batch_axes(manifest.inputs)
    if dynamic:
        return (dynamic, *limits) if limits is not None else ({}, 0, 0)
    spec = manifest.inputs[0]
    if manifest.preprocessing is None or not isinstance(size := spec.shape[0], int):
        return {}, 0, 0
    return {spec.name: 0}, size, size


def batch_axes(specs: Sequence[InputSpec]) -> dict[str, int]:
    """The dimension of the batch of each input that has one of any size."""
    return {spec.name: spec.shape.index(BATCH) for spec in specs if BATCH in spec.shape}


def images_of(inputs: Arrays, manifest: Manifest) -> int:
    """How many images prepared inputs are; 1 for a model of arrays without a batch of any size."""
    for name, axis in batch_axes(manifest.inputs).items():
        return int(inputs[name].shape[axis])
    return len(inputs[manifest.inputs[0].name]) if manifest.preprocessing is not None else 1


def part(outputs: Arrays, manifest: Manifest, start: int, stop: int, images: int) -> Arrays:
    """What belongs to the images from `start` to `stop` in the outputs of an inference of `images`."""
    return {spec.name: _part(outputs[spec.name], spec, start, stop, images) for spec in manifest.outputs}


def joined(parts: Sequence[Arrays], manifest: Manifest) -> Arrays:
    """The outputs for all images, from those for some, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {
        spec.name: np.concatenate([each[spec.name] for each in parts], axis=spec.batch_axis or 0)
        for spec in manifest.outputs
    }


def is_separable(spec: OutputSpec) -> bool:
    """Whether an output tells what belongs to which image."""
    return spec.batch_axis is not None and spec.batch_axis < len(spec.shape)


def example_sizes(axes: Iterable[Axis], batch: int) -> dict[str, int]:
    """A size for every axis."""
    return {BATCH: batch, **{axis.name: axis.example for axis in axes}}


def sized(shape: Sequence[int | str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an input for these sizes of its axes."""
    return tuple(sizes[size] if isinstance(size, str) else size for size in shape)


def zeros(manifest: Manifest, batch: int) -> Arrays:
    """Inputs of zeros; `batch` images where the batch is dynamic, and other axes as the manifest has them."""
    return _zeros(manifest.inputs, manifest, batch)


def graph_zeros(manifest: Manifest, batch: int) -> Arrays:
    """The same for all that the graph takes, states among it."""
    return _zeros(manifest.graph_inputs, manifest, batch)


def _zeros(specs: Iterable[InputSpec], manifest: Manifest, batch: int) -> Arrays:
    sizes = example_sizes(manifest.axes, batch)
    return {spec.name: np.zeros(sized(spec.shape, sizes), np.dtype(spec.dtype)) for spec in specs}


def together(manifest: Manifest, limits: tuple[int, int] | None) -> int:
    """How many single images a stream puts into one inference: all that it takes, where that is limited.

    Where it is not, one: then a result does not depend, by its last bits, on which images came at the same time.
    """
    if manifest.preprocessing is None or manifest.states or not all(map(is_separable, manifest.outputs)):
        return 1
    axes, _, largest = cut(manifest, limits)
    return largest if axes else 1


def _rows(array: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _filled(images: np.ndarray, axis: int, missing: int) -> np.ndarray:
    size = images.shape[axis]
    copies = [np.repeat(_rows(images, axis, size - 1, size), missing, axis=axis)] if missing else []
    return np.ascontiguousarray(np.concatenate([images, *copies], axis=axis) if copies else images)


def _part(array: np.ndarray, spec: OutputSpec, start: int, stop: int, images: int) -> np.ndarray:
    axis = spec.batch_axis or 0
    rows, rest = divmod(array.shape[axis], images)
    if rest:
        raise BuildError(
            f"the engine returned {array.shape} for the output {spec.name!r} of {images} images",
            expected=f"a multiple of {images} along dimension {axis}, as the manifest says",
        )
    return _rows(array, axis, rows * start, rows * stop)


def _check_separable(manifest: Manifest, total: int, smallest: int, largest: int) -> None:
    whole = [spec.name for spec in manifest.outputs if not is_separable(spec)]
    if manifest.states:
        cause = f"the model keeps {manifest.states[0].name!r} between calls: each inference is a call of its own"
        fix = "call the engine for each; or export with the batch that you need"
    elif whole:
        cause = f"the output {whole[0]!r} is of all images of an inference together: it cannot be put together from "
        cause += "several, and none may be added"
        fix = "leave that output out of the model; or export with the batch that you need"
    else:
        return
    raise InputError(
        f"{total} images at once",
        expected=f"{smallest} to {largest}" if smallest < largest else f"{largest}, which the model always takes",
        cause=cause,
        fix=fix,
    )
