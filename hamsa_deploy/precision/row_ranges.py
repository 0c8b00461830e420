"""Sizes of the rows and channels of values, from calibration images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.observation import Arrays, observed


def row_ranges(model: ir.Model, feeds: Iterable[Arrays], values: Sequence[str]) -> dict[str, np.ndarray]:
    """max |x| of every row, over images and channels.

    Args:
        model: float32.
        feeds: graph inputs by name, one dict for each run.
        values: names of values x (batch, .., d); a row is one index along the axes between.

    Returns:
        By name, float32, (1, .., 1): it broadcasts against the value.
    """
    ranges: dict[str, np.ndarray] = {}
    for arrays in observed(model, values, feeds):
        for name, array in arrays.items():
            size = np.abs(array).max(axis=(0, -1), keepdims=True)
            ranges[name] = np.maximum(ranges[name], size) if name in ranges else size
    return ranges


def channel_extremes(
    model: ir.Model, feeds: Iterable[Arrays], values: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Smallest and largest of every channel, over images and all other axes.

    Args:
        model: float32.
        feeds: graph inputs by name, one dict for each run.
        values: names of values x (.., d).

    Returns:
        By name, two float32 arrays (d,).
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for arrays in observed(model, values, feeds):
        for name, array in arrays.items():
            rows = array.reshape(-1, array.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            if name in found:
                low, high = np.minimum(low, found[name][0]), np.maximum(high, found[name][1])
            found[name] = low, high
    return found
