"""Which outputs tell what belongs to which image of a batch, found by running the model: see `hamsa_runtime.batches`.

With n different images x_1 ... x_n, and n copies of the last,

    f(x_1, ..., x_n)  and  f(x_n, ..., x_n)

an output that can be cut along a dimension into n equal pieces has its last piece, in the first run, in every piece of
the second. A mean over the batch has not, nor has an output whose rows are in another order than the images: it is
then of all images together, and no batch is cut where it is wanted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hamsa_runtime.batches import Arrays, batch_axes
from hamsa_runtime.manifest import Manifest, OutputSpec
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
    try:
        different, copies = (run(each, manifest) for each in _batches(data, manifest, axes, number))
    except Exception:  # noqa: BLE001  # a model that takes one image only: then there is nothing to tell by
        return tuple(_of_one(spec) if not axes else spec for spec in manifest.outputs)
    return tuple(
        dataclasses.replace(spec, batch_axis=_axis_of(spec, different[spec.name], copies[spec.name], number, not axes))
        for spec in manifest.outputs
    )


def _of_one(spec: OutputSpec) -> OutputSpec:
    """Of a batch of one: its first dimension, if that is one row."""
    return dataclasses.replace(spec, batch_axis=0 if spec.shape[:1] == (1,) else None)


def _axis_of(spec: OutputSpec, different: np.ndarray, copies: np.ndarray, number: int, any_axis: bool) -> int | None:
    candidates = range(different.ndim) if any_axis else [axis for axis in [spec.batch_axis] if axis is not None]
    return next((axis for axis in candidates if _is_cut_by(axis, different, copies, number)), None)


def _is_cut_by(axis: int, different: np.ndarray, copies: np.ndarray, number: int) -> bool:
    if different.shape != copies.shape or axis >= different.ndim or different.shape[axis] % number:
        return False
    last = np.split(different, number, axis)[-1]
    return all(_are_same(last, piece) for piece in np.split(copies, number, axis))


def _are_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Numbers up to rounding; all others exactly."""
    if not np.issubdtype(a.dtype, np.floating):
        return bool(np.array_equal(a, b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        errors = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    finite = np.abs(b[np.isfinite(b)])
    return bool(errors.mean() <= SAME * finite.mean()) if finite.size else not errors.any()


def _batches(data: Any, manifest: Manifest, axes: Mapping[str, int], number: int) -> tuple[Any, Any]:
    """Some different images, and as many copies of the last."""
    if manifest.preprocessing is not None:
        images = _different(list(data[:number]), number)
        return images, [images[-1]] * number
    arrays = inputs_from_images(data, manifest)
    rows = {name: _different(list(np.moveaxis(arrays[name], axis, 0)[:number]), number) for name, axis in axes.items()}
    stacked = {name: np.stack(each, axis=axes[name]) for name, each in rows.items()}
    copies = {name: np.stack([each[-1]] * number, axis=axes[name]) for name, each in rows.items()}
    return {**arrays, **stacked}, {**arrays, **copies}


def _different(found: Sequence[Any], number: int) -> list[Any]:
    """As many; those that are missing are arrays moved by a step along their last axis, so that values stay what they
    may be."""
    each = list(found)
    while len(each) < number:
        last = each[-1]
        each.append(np.roll(last, 1, axis=-1) if isinstance(last, np.ndarray) and last.ndim else last)
    return each
