"""float32 ONNX -> int8 products with float16 between them: what TensorRT wants, which takes every type from the file.

int8.py puts QuantizeLinear and DequantizeLinear in front of the products, float16.py types the rest. What float16 could
not hold is not quantised either, because a product reads its dequantised factors in float16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.float16.from_float32 import float16_from_float32
from hamsa_deploy.precision.float16.islands import HEADROOM, LARGEST
from hamsa_deploy.precision.int8.int8_sites import Site
from hamsa_deploy.precision.int8.qdq import quantise_for_float16
from hamsa_deploy.precision.int8.thresholds import LEVELS
from hamsa_deploy.precision.observers import Ranges

# Below its normal numbers, 2^-14, float16 has steps of 2^-24: from here on a scale is rounded up by 6 % at most, which
# costs as much as a threshold 6 % too large, 0.5 dB.
SMALLEST_THRESHOLD = LEVELS * 2.0**-20


def int8_float16_from_float32(
    model: ir.Model, thresholds: Mapping[str, float], sites: Sequence[Site], ranges: Ranges
) -> dict[str, str]:
    """Quantise and type a model in place.

    Args:
        model: float32, with a dtype and a shape on every value.
        thresholds: for each activation of a site, the magnitude that the largest level stands for.
        sites: the products that become int8, if float16 can hold their factors.
        ranges: of the model's values, from `ranges_of`.

    Returns:
        The islands that stay in float32, as `float16_from_float32` names them.
    """
    fitting = [site for site in sites if _fits(thresholds[site.activation]) and _fits(_largest(model, site.weight))]
    stands_for = quantise_for_float16(model, thresholds, fitting)
    return float16_from_float32(model, {**ranges, **{name: ranges[other] for name, other in stands_for.items()}})


def _fits(threshold: float) -> bool:
    return SMALLEST_THRESHOLD <= threshold <= LARGEST / HEADROOM


def _largest(model: ir.Model, weight: str) -> float:
    tensor = model.graph.initializers[weight].const_value
    assert tensor is not None
    return float(np.abs(tensor.numpy()).max(initial=0.0))
