"""Normalisation in the graph, against its definition in float64."""

from __future__ import annotations

import torch

from hamsa_deploy.models.normalisation import normalised, scale_and_offset
from hamsa_deploy.models.preprocessing import IMAGENET


def test_it_is_the_definition_within_the_rounding_of_float32() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 256, 1).permute(0, 2, 3, 1)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    expected = (pixels.permute(0, 3, 1, 2).double() / 255 - mean) / std
    found = normalised(pixels, *scale_and_offset(IMAGENET.mean, IMAGENET.std))
    assert (found.dtype, found.shape) == (torch.float32, (1, 3, 256, 1))
    # Three roundings, of values up to 4.8: scale, product, sum.
    assert (found.double() - expected).abs().max() < 3 * 4.8 * 2**-24
