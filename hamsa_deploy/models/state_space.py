"""What the layers of Vision Mamba and VMamba have in common: parameters of a selective scan, and how they begin.

Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), section 3.6:

    A  = -exp(A_log), which begins as -1, -2, .., -N in every channel
    dt = softplus(W x + b), which begins between 0.001 and 0.1, uniformly in its logarithm
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHORTEST, LONGEST = 1e-3, 0.1  # steps of a fresh layer
FEATURES_PER_RANK = 16


def rank_of(width: int) -> int:
    """R, the rank of the product that makes the steps of a layer of so many features."""
    return math.ceil(width / FEATURES_PER_RANK)


def decays(A_log: Tensor) -> Tensor:
    """A, negative, of the same shape."""
    return -torch.exp(A_log)


def initial_A_log(channels: int, states: int) -> Tensor:
    """(D, N)."""
    return torch.log(torch.arange(1.0, states + 1)).repeat(channels, 1)


def initial_bias(*shape: int) -> Tensor:
    """b, of the shape of the channels: softplus of it is a step."""
    log_steps = torch.empty(shape).uniform_(math.log(SHORTEST), math.log(LONGEST))
    return torch.log(torch.expm1(log_steps.exp()))


def initial_weight(*shape: int) -> Tensor:
    """W (.., D, R), which leaves the variance of what it is given."""
    bound = shape[-1] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound)
