"""From an image file's pixels to a model's input, as data: what a bundle's manifest carries to the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Preprocessing:
    """How a decoded 8-bit image becomes one model input.

    The image is scaled, aspect kept, until it covers size / crop_fraction (if square: its shorter side
    is that long), the centre is cropped to `size`, pixels are scaled to 0..1, and each channel becomes
    (pixel - mean) / std.

    Attributes:
        size: (H, W) of the model's input, in pixels.
        channels: 1 (grey) or 3 (RGB).
        resize: interpolation, as Pillow names it.
        crop_fraction: side of the crop over side of the resized image, in (0, 1].
        mean, std: one value per channel, of pixels scaled to 0..1.
    """

    size: tuple[int, int]
    channels: int
    resize: Literal["bicubic", "bilinear"]
    crop_fraction: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_manifest(self) -> dict[str, Any]:
        """The same as plain JSON values, in the keys of a bundle's manifest."""
        return {
            "size": list(self.size),
            "channels": self.channels,
            "resize": self.resize,
            "crop_fraction": self.crop_fraction,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def resized_to(self, size: tuple[int, int]) -> Preprocessing:
        """The same for another input size (H, W)."""
        return replace(self, size=size)

    def with_channels(self, channels: int) -> Preprocessing:
        """The same for grey (1) or RGB (3) input; grey takes the averages of mean and std."""
        if channels == self.channels:
            return self
        mean, std = sum(self.mean) / self.channels, sum(self.std) / self.channels
        return replace(self, channels=channels, mean=(mean,) * channels, std=(std,) * channels)


IMAGENET = Preprocessing(
    size=(224, 224),
    channels=3,
    resize="bicubic",
    crop_fraction=0.875,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""The usual statistics and crop of ImageNet-1K classifiers."""

DIGITS = Preprocessing(
    size=(32, 32),
    channels=3,
    resize="bilinear",
    crop_fraction=1.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
"""What examples/train_digits.py trains hamsa_nano with."""
