"""How far two outputs are apart, image by image.

For one output, a the exported model's values and b the reference's, over image i:

    max_relative_error   max_i  max|a_i - b_i| / max|b_i|
    cosine               min_i  a_i . b_i / (|a_i| |b_i|)
    top1                 share of images with argmax a_i = argmax b_i

A top-1 that differs is a *tie* where the reference itself cannot tell: where the margin between its two best classes
is smaller than the precision can resolve. Ties are counted, and do not fail the verdict.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from hamsa_runtime.errors import ParityError


@dataclass(frozen=True)
class Thresholds:
    """What an exported model may differ by.

    Attributes:
        max_relative_error: largest allowed, of any output of any image.
        cosine: smallest allowed, likewise.
        top1: smallest allowed share of images with the same top-1, ties left aside.
        tie: margin below which a top-1 that differs is a tie, relative to the largest logit.
    """

    max_relative_error: float
    cosine: float
    top1: float
    tie: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


# fp32: engines differ by 1e-6 (summation order); a wrong norm, kernel or layout differs by 1e-2 and more.
# fp16 and bf16 have 11 and 8 bits of significand, 5e-4 and 4e-3 for one rounding; over the depth of HAMSA-S on
# photographs 1e-3 and 1e-2 were measured. Ten times that is a fault, not rounding. A tie is twice the error allowed.
# int8 is judged by what it decides: one image in a hundred may change its class. Its error is 1 to 6 % of the largest
# value on HAMSA-S and hamsa_nano; a tie is a margin within that, not twice the error allowed, which would excuse all.
THRESHOLDS = {
    "fp32": Thresholds(max_relative_error=5e-5, cosine=0.999999, top1=1.0, tie=1e-4),
    "fp16": Thresholds(max_relative_error=1e-2, cosine=0.9999, top1=1.0, tie=2e-2),
    "bf16": Thresholds(max_relative_error=8e-2, cosine=0.999, top1=1.0, tie=0.16),
    "int8": Thresholds(max_relative_error=0.3, cosine=0.98, top1=0.99, tie=0.05),
}


def relative_errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(images,): max|a - b| / max|b| of each image; an all-zero reference counts absolutely."""
    scale = np.abs(_flat(expected)).max(axis=1, initial=0.0)
    return np.abs(_flat(found) - _flat(expected)).max(axis=1, initial=0.0) / np.where(scale > 0, scale, 1.0)


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(images,): cosine of the angle between both outputs of each image; 1 where both are zero."""
    a, b = _flat(found), _flat(expected)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    return np.where(both_zero, 1.0, np.einsum("ij,ij->i", a, b) / np.where(norms > 0, norms, 1.0))


def same_top1(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(images,): whether both have the same best class."""
    return np.asarray(found.argmax(axis=1) == expected.argmax(axis=1))


def top1_margins(expected: np.ndarray) -> np.ndarray:
    """(images,): distance of the reference's two best classes, relative to its largest value."""
    two = np.sort(_flat(expected), axis=1)[:, -2:]
    scale = np.abs(_flat(expected)).max(axis=1)
    return (two[:, -1] - two[:, 0]) / np.where(scale > 0, scale, 1.0)


def check_comparable(name: str, found: np.ndarray, expected: np.ndarray, reference: str = "PyTorch") -> None:
    """Raise ParityError for outputs that no metric may be computed of: empty, of another shape, NaN or infinite."""
    if found.shape != expected.shape:
        raise ParityError(
            f"output '{name}' has shape {found.shape}", expected=f"{expected.shape}, as {reference} computes"
        )
    if expected.size == 0:
        raise ParityError(f"output '{name}' is empty", expected="at least one image to compare")
    for array, who in ((expected, reference), (found, "the exported model")):
        bad = int((~np.isfinite(array)).sum())
        if bad:
            raise ParityError(
                f"output '{name}': {bad} of {array.size} values that {who} computes are NaN or infinite",
                expected="finite values",
                cause="broken weights" if who == reference else "an overflow in the lower precision",
                fix="check the weights" if who == reference else "export with --fp32",
            )


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).astype(np.float64)
