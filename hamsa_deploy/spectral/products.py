"""The one place where the shape of a product with a constant is chosen.

A product contracts one axis of x with the columns of a matrix. Equal matrices are stored once for the whole model; one
that is used the other way round is transposed in the graph, which engines do once, when they load it.

Tried on HAMSA-S (two cores with AMX, the whole model) against constant @ x: pointwise and grouped convolutions are 8 to
16 % slower on OpenVINO in float32 and 4 to 10 % in bfloat16, because of the layout that they want, and the same on ONNX
Runtime. OpenVINO computes constant @ x in float32 when it is asked for bfloat16; targets/openvino.py asks by types.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from hamsa_deploy.spectral.dispatch import emit
from hamsa_deploy.spectral.values import Real, constant_from


def multiply(matrix: np.ndarray, x: Real, axis: int, *, transposed: bool = False) -> Real:
    """matrix @ x along one axis.

    Args:
        matrix: (rows, n), or (n, rows) if `transposed`.
        x: an ordinary real tensor, (..., n, ...).
        axis: the axis of length n, counted from the end.

    Returns:
        (..., rows, ...).
    """
    if axis == -1:  # the product that every engine likes best: activations @ weights
        return torch.matmul(x, _stored(matrix, x.dtype, flip=not transposed))
    columns, restore = as_columns(x, axis)
    return restore(torch.matmul(_stored(matrix, x.dtype, flip=transposed), columns))


def multiply_each(matrices: np.ndarray, x: Real, *, transposed: bool = False) -> Real:
    """matrices[p] @ x[..., p, :, :] for every p.

    Args:
        matrices: (P, rows, n), or (P, n, rows) if `transposed`.
        x: an ordinary real tensor, (..., P, n, columns).

    Returns:
        (..., P, rows, columns).
    """
    return torch.matmul(_stored(matrices, x.dtype, flip=transposed), x)


def as_columns(x: Real, axis: int) -> tuple[Real, Callable[[Real], Real]]:
    """x as (batch..., n, columns), and the way back; the length may change on the way."""
    if axis == -1:
        if x.ndim == 1:
            return torch.unsqueeze(x, -1), lambda y: torch.squeeze(y, -1)
        return torch.transpose(x, -1, -2), lambda y: torch.transpose(y, -1, -2)
    if axis == -2:
        return x, lambda y: y
    before, after = list(x.shape[:axis]), list(x.shape[axis:])[1:]
    flat = torch.reshape(x, (*before, x.shape[axis], math.prod(after)))
    return flat, lambda y: torch.reshape(y, (*before, y.shape[-2], *after))


def _stored(matrix: np.ndarray, dtype: torch.dtype, *, flip: bool) -> Real:
    constant = emit(constant_from(matrix, dtype))
    return torch.transpose(constant, -1, -2) if flip else constant
