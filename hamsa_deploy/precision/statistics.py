"""Histograms of the values between the nodes of an ONNX graph, over the calibration inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from hamsa_deploy.precision.histogram import Histogram
from hamsa_deploy.precision.observation import Arrays, observed


def collect(model: ir.Model, names: Sequence[str], feeds: Iterable[Arrays]) -> dict[str, Histogram]:
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
