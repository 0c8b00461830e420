"""What the built-in models expect of an image. The graph normalises, unless an export asks otherwise."""

from __future__ import annotations

from hamsa_runtime.manifest import Preprocessing

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
"""What examples/train_digits.py trains its models with."""
