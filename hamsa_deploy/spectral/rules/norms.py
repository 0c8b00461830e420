"""Norms over many numbers, whose means engines add up one number after the other.

ONNX Runtime's InstanceNormalization (1.32) is off by 8e-5 of the largest value over 200,704 numbers, OpenVINO's
(2026.4) by 4e-5, and both merge two means in a row into one. Here the M = r c numbers of a group are r rows, whose
means are a product with 1 / c, and the mean of those: 7e-7, at two to three times the time of the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.fx.traceback as fx_traceback

from hamsa_deploy.spectral.dispatch import emit, lowering
from hamsa_deploy.spectral.provenance import FLOAT32
from hamsa_deploy.spectral.values import constant_from, functions

aten = torch.ops.aten
MANY = 2**14  # numbers: of fewer the operators are off by less than 1e-5
WIDEST = 1024


@lowering("group_norm")
def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    """(N, C, ...), in groups of channels."""

    def whole() -> Any:
        return aten.group_norm.default(*emit((x, num_groups, weight, bias, eps, cudnn_enabled)))

    return _normalised(x, num_groups, weight, bias, eps, whole)


@lowering("instance_norm")
def instance_norm(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    """(N, C, ...), each channel by itself."""

    def whole() -> Any:
        given = (x, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled)
        return aten.instance_norm.default(*emit(given))

    return _normalised(x, x.shape[1], weight, bias, eps, whole) if use_input_stats else whole()


def _normalised(x: Any, groups: int, weight: Any, bias: Any, eps: float, whole: Callable[[], Any]) -> Any:
    sizes = [x.shape[1] // groups, *x.shape[2:]]
    width = _width(math.prod(sizes)) if all(isinstance(size, int) for size in sizes) else 1
    if width == 1:
        return whole()
    shape, channels = list(x.shape), [x.shape[1], *[1] * (x.ndim - 2)]
    with fx_traceback.annotate({FLOAT32: "norm: its means are over thousands of numbers"}):
        rows = functions.reshape(x, [shape[0], groups, math.prod(sizes) // width, width])
        centred = rows - _mean(rows)
        y = centred * functions.rsqrt(_mean(centred * centred) + eps)
        y = functions.reshape(y, shape)
        y = y if weight is None else y * functions.reshape(weight, channels)
        return y if bias is None else y + functions.reshape(bias, channels)


def _mean(rows: Any) -> Any:
    """Of (N, G, r, c): (N, G, 1, 1)."""
    width = rows.shape[3]
    each = functions.matmul(rows, constant_from(np.full((width, 1), 1 / width), rows.dtype))
    return functions.mean(each, [2], True)


def _width(count: int) -> int:
    """c, the largest divisor that is not beyond the root of many numbers; 1 for few."""
    most = min(WIDEST, math.isqrt(count))
    return next(c for c in range(most, 0, -1) if count % c == 0) if count >= MANY else 1
