"""Values that an int8 file holds in other units than the model.

Some of precision.passes divide channels of what a product reads by powers of two, and multiply the
weights. Where such a value leaves a module, it is compared in the model's units: each channel is divided by the power
of two that fits it best. This is done only where

- the value goes nowhere but into products with weights, through operators that a scale commutes with: behind a linear
  and in front of a sigmoid, say, no pass can have changed it;
- and the powers differ between channels: the same factor everywhere is a fault, and shall be seen.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.passes import PASSES
from hamsa_runtime.manifest import Manifest

COMMUTES = {"Cast", "Concat", "DequantizeLinear", "Flatten", "Mul", "QuantizeLinear", "Reshape", "Slice", "Transpose"}
LARGEST_EXPONENT = 24.0


def may_be_rescaled(model: ir.Model, manifest: Manifest) -> set[str]:
    """Names of the values that a pass may have changed."""
    calibration = manifest.calibration
    if calibration is None or not any(each.rescales and name in calibration.passes for name, each in PASSES.items()):
        return set()
    outputs = {id(value) for value in model.graph.outputs}
    known: dict[int, bool] = {}
    for node in reversed(list(model.graph)):
        for value in node.outputs:
            uses = [_absorbs(user, index, known) for user, index in value.uses()]
            known[id(value)] = bool(uses) and all(uses) and id(value) not in outputs
    return {str(value.name) for node in model.graph for value in node.outputs if known[id(value)]}


def channel_scales(found: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
    """Powers of two (d,) with found ~ scale * expected (.., d); None if they are the same for all channels."""
    found, expected = (np.asarray(array, np.float64).reshape(-1, array.shape[-1]) for array in (found, expected))
    gains = (found * expected).sum(axis=0) / np.maximum((expected**2).sum(axis=0), np.finfo(np.float64).tiny)
    known = np.isfinite(gains) & (gains > 0)
    exponents = np.zeros(len(gains))
    exponents[known] = np.clip(np.round(np.log2(gains[known])), -LARGEST_EXPONENT, LARGEST_EXPONENT)
    return None if (exponents == exponents[0]).all() else np.exp2(exponents)


def _absorbs(node: ir.Node, index: int, known: dict[int, bool]) -> bool:
    if node.op_type == "MatMul":
        return index == 0
    is_data = node.op_type in ("Concat", "Mul") or index == 0
    return node.op_type in COMMUTES and is_data and all(known[id(value)] for value in node.outputs)
