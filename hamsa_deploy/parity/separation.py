"""Which outputs tell what belongs to which image of a batch, found by running the model: see `hamsa_runtime.batches`.

With n different images x_1 ... x_n, and m copies of the last, m = n + 1 where the model takes as many,

    f(x_1, ..., x_n)  and  f(x_n, ..., x_n)

an output that can be cut along a dimension into n and m equal pieces has its last piece, in the first run, in every
piece of the second. A mean over the batch has not, nor has an output whose rows are in another order than the images:
it is then of all images together, and no batch is cut where it is wanted.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamsa_runtime.batches import Arrays, batch_axes
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import BATCH, Manifest, OutputSpec
from hamsa_runtime.preprocess import inputs_from_images

EXAMPLES = 2
# Of the mean size of a piece. Another order, or another image, changes pieces by as much as they are.
SAME = 1e-2

Run = Callable[[Any, Manifest], Arrays]


def separated(run: Run, data: Any, manifest: Manifest) -> tuple[OutputSpec, ...]:
    """The manifest's outputs, with a batch axis where they can be cut.

    Args:
        run: the original, on data as `Engine` takes them.
        data: some of these.
        manifest: of the bundle, whose outputs have the batch axis that their sizes tell, if these do.
    """
    axes = batch_axes(manifest.inputs)
    if not axes and manifest.preprocessing is None:
        return manifest.outputs
    fixed = manifest.inputs[0].shape[0]
    number = max(EXAMPLES, fixed) if isinstance(fixed, int) and not axes else EXAMPLES
    runs = _runs(run, data, manifest, axes, number)
    if runs is None:
        return tuple(_of_one(spec) if not axes else spec for spec in manifest.outputs)
    return tuple(_described(spec, runs, not axes) for spec in manifest.outputs)


@dataclass(frozen=True)
class Runs:
    """What the model computes for `number` different images, and for `copied` copies of the last."""

    different: Arrays
    number: int
    copies: Arrays
    copied: int


def _runs(run: Run, data: Any, manifest: Manifest, axes: Mapping[str, int], number: int) -> Runs | None:
    """None for a model that takes one image only: then there is nothing to tell by."""
    for copied in (number + 1, number):
        with contextlib.suppress(Exception):  # whatever a model says of a batch that it does not take
            different, copies = (run(each, manifest) for each in _batches(data, manifest, axes, number, copied))
            return Runs(different, number, copies, copied)
    return None


def _described(spec: OutputSpec, runs: Runs, is_fixed: bool) -> OutputSpec:
    shape = spec.shape if is_fixed else _shape_of(spec, runs)
    axis = _axis_of(spec, runs, is_fixed)
    return dataclasses.replace(spec, shape=shape, batch_axis=axis)


def _shape_of(spec: OutputSpec, runs: Runs) -> tuple[int | str, ...]:
    """The shape where a size that is called batch is that: an ONNX file says only that a size is free.

    Raises:
        InputError: a size that follows from the batch otherwise than as a multiple.
    """
    sizes: list[int | str] = []
    for size, one, other in zip(spec.shape, runs.different[spec.name].shape, runs.copies[spec.name].shape, strict=True):
        rows = one // runs.number
        if size != BATCH or runs.number == runs.copied:
            sizes.append(size)
        elif one == other:
            sizes.append(one)
        elif (one, other) == (rows * runs.number, rows * runs.copied):
            sizes.append(BATCH if rows == 1 else f"{rows}*{BATCH}")
        else:
            raise InputError(
                f"the output {spec.name!r} has {one} rows for a batch of {runs.number}, {other} for {runs.copied}",
                expected="as many rows for each input as for any other, or as many for every batch",
                fix="fix the batch: --batch N",
            )
    return tuple(sizes)


def _of_one(spec: OutputSpec) -> OutputSpec:
    """Of a batch of one: its first dimension, if that is one row."""
    return dataclasses.replace(spec, batch_axis=0 if spec.shape[:1] == (1,) else None)


def _axis_of(spec: OutputSpec, runs: Runs, any_axis: bool) -> int | None:
    rank = runs.different[spec.name].ndim
    candidates = range(rank) if any_axis else [axis for axis in [spec.batch_axis] if axis is not None]
    return next((axis for axis in candidates if axis < rank and _is_cut_by(axis, spec.name, runs)), None)


def _is_cut_by(axis: int, name: str, runs: Runs) -> bool:
    different, copies = runs.different[name], runs.copies[name]
    rows, rest = divmod(different.shape[axis], runs.number)
    if rest or copies.shape[axis] != rows * runs.copied:
        return False
    last = np.split(different, runs.number, axis)[-1]
    return all(piece.shape == last.shape and _are_same(last, piece) for piece in np.split(copies, runs.copied, axis))


def _are_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Numbers up to rounding; all others exactly."""
    if not np.issubdtype(a.dtype, np.floating):
        return bool(np.array_equal(a, b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        errors = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    finite = np.abs(b[np.isfinite(b)])
    return bool(errors.mean() <= SAME * finite.mean()) if finite.size else not errors.any()


def _batches(data: Any, manifest: Manifest, axes: Mapping[str, int], number: int, copied: int) -> tuple[Any, Any]:
    """Some different images, and copies of the last."""
    if manifest.preprocessing is not None:
        images = _different(list(data[:number]), number)
        return images, [images[-1]] * copied
    arrays = inputs_from_images(data, manifest)
    rows = {name: _different(list(np.moveaxis(arrays[name], axis, 0)[:number]), number) for name, axis in axes.items()}
    stacked = {name: np.stack(each, axis=axes[name]) for name, each in rows.items()}
    copies = {name: np.stack([each[-1]] * copied, axis=axes[name]) for name, each in rows.items()}
    return {**arrays, **stacked}, {**arrays, **copies}


def _different(found: Sequence[Any], number: int) -> list[Any]:
    """As many; those that are missing are arrays moved by a step along their last axis, so that values stay what they
    may be."""
    each = list(found)
    while len(each) < number:
        last = each[-1]
        each.append(np.roll(last, 1, axis=-1) if isinstance(last, np.ndarray) and last.ndim else last)
    return each
