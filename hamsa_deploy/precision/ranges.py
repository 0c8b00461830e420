"""How large the values between the nodes of an ONNX graph become on real inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.observation import Arrays, observed, values_by_name

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
