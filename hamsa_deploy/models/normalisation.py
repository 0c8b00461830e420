"""Pixels to a model's input, as a graph computes it: one multiplication and one addition for each channel.

x = (p / 255 - mean) / std = p scale + offset,    scale = 1 / (255 std),    offset = -mean / std
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def scale_and_offset(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Both of (C, 1, 1), float32; computed in float64. `mean` and `std` are of pixels scaled to 0..1."""
    mu, sigma = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
    return (1 / (255 * sigma)).float(), (-mu / sigma).float()


def normalised(pixels: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """uint8 (N, H, W, C) -> float32 (N, C, H, W)."""
    channels_first = pixels.to(torch.float32).permute(0, 3, 1, 2)  # TensorRT takes uint8 into a conversion only
    return channels_first * scale + offset
