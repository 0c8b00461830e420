"""Sizes of the rows of values, from calibration images."""

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
