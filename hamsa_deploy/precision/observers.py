"""What is looked at between the nodes of an ONNX graph on real inputs: largest magnitudes, rows, histograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.observing import Arrays, observed, values_by_name
from hamsa_deploy.precision.histogram import Histogram

# Value name -> max |v| over all inputs that were tried; NaN if float32 has already left its range.
Ranges = Mapping[str, float]


def ranges_of(model: ir.Model, feeds: Iterable[Arrays]) -> dict[str, float]:
    """Measure every float32 value that the nodes of a graph take or compute.

    Args:
        model: float32; it is left as it is.
        feeds: graph inputs by name, one dict for each run.
    """
    names = [name for name, value in values_by_name(model.graph).items() if value.dtype == ir.DataType.FLOAT]
    ranges = dict.fromkeys(names, 0.0)
    for arrays in observed(model, names, feeds):
        for name, array in arrays.items():
            ranges[name] = float(np.maximum(ranges[name], np.abs(array).max(initial=0.0)))
    return ranges


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


def histograms_of(model: ir.Model, names: Sequence[str], feeds: Iterable[Arrays]) -> dict[str, Histogram]:
    """Run the graph on every feed, and count the magnitudes of some of its values.

    Args:
        model: float32; it is left as it is.
        names: graph inputs or outputs of nodes, of a floating-point type.
        feeds: graph inputs by name, one dict for each run.

    Returns:
        One histogram for each name.

    Raises:
        InputError: a value is NaN or Inf somewhere.
    """
    histograms = {name: Histogram() for name in names}
    for values in observed(model, names, feeds):
        for name, value in values.items():
            histograms[name].add(value, f"the value {name!r}")
    return histograms
