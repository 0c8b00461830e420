"""Checks at the border of the built-in models: configuration and input shapes, each with the way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from hamsa_runtime.errors import InputError

Norm = Literal["ortho", "backward", "forward"]
"""Normalisation of a Fourier transform, as torch.fft names it."""


def check_stages(**lists: Sequence[int]) -> None:
    """Each list, named by its keyword, holds one positive integer per stage."""
    for name, values in lists.items():
        if len(values) != 4 or not all(isinstance(v, int) and v > 0 for v in values):
            raise InputError(f"{name}={values!r}", expected="four positive integers, one per stage")


def check_norm(norm: str) -> None:
    """`norm` is one that torch.fft knows."""
    if norm not in ("ortho", "backward", "forward"):
        raise InputError(f"norm={norm!r}", expected="'ortho', 'backward' or 'forward', as in torch.fft")


def checked_size(image_size: int | Sequence[int], total_stride: int) -> tuple[int, int]:
    """(H, W) in pixels, both positive multiples of the model's total stride."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    for side in (height, width):
        if side <= 0 or side % total_stride:
            nearest = max(1, round(side / total_stride)) * total_stride
            raise InputError(
                f"image_size={image_size!r}: {side} pixels",
                expected=f"a positive multiple of {total_stride}, the model's total stride",
                fix=f"image_size={nearest}",
            )
    return height, width


def check_images(images: Tensor, input_shape: tuple[int, int, int]) -> None:
    """Images (B, C, H, W) have the C, H, W that the model was built for."""
    if images.dim() != 4 or tuple(images.shape[1:]) != input_shape:
        raise InputError(
            f"images of shape {tuple(images.shape)}",
            expected=f"(B, {', '.join(map(str, input_shape))}), the size that the model was built for",
            fix="resize the images, or build the model with image_size=... and in_channels=...",
        )
