"""What the built-in models expect of an image. The graph normalises, unless an export asks otherwise."""

from __future__ import annotations

from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Preprocessing, preprocessing_from
from hamsa_runtime.records import document_from

# Of pixels between 0 and 1 the mean is one of them, and the deviation at most 0.5; 1 and 2 leave them, or halve them.
MOST_MEAN, MOST_STD = 1.0, 2.0

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


def check_preprocessing(how: Preprocessing) -> None:
    """Refuse what no bundle can say, and statistics of pixels between 0 and 255: both sides of a comparison would be
    given the same wrong inputs, and agree.

    Raises:
        InputError: what does not fit, and what it would be.
    """
    preprocessing_from(document_from(how), "preprocessing")
    for name, values, most in (("mean", how.mean, MOST_MEAN), ("std", how.std, MOST_STD)):
        if max(values) > most:
            scaled = ", ".join(f"{value / 255:.4g}" for value in values)
            raise InputError(
                f"{name} {', '.join(f'{value:g}' for value in values)}",
                expected="the statistics of pixels between 0 and 1: (p / 255 - mean) / std",
                cause="those of pixels between 0 and 255",
                fix=f"divide mean and std by 255: {name} {scaled}",
            )
