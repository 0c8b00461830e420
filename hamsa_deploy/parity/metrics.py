"""How far two outputs are apart, for outputs of any shape.

For one output with N images of n values each, a (N, n) what the exported model computes and b (N, n) what the reference
computes, i an image and j a value:

    absolute error   e_ij = |a_ij - b_ij|
    relative error   r_ij = e_ij / s_i,   s_i = max_j |b_ij|          (s_i = 1 where b_i is all zero)
    cosine           c_i  = a_i . b_i / (|a_i| |b_i|)                 (1 where both are zero, 0 where one is)
    signal to noise  10 log10( sum_ij b_ij^2 / sum_ij e_ij^2 )  dB    (within +-MAX_DECIBELS)

Errors are relative to the largest value of the image, not to each value: a value near zero has no meaningful relative
error. A value of the summary is a maximum or mean over i and j, or for the cosine the minimum, the mean and p1, the
first percentile over i (numpy's linear interpolation).

A top-1 that differs is a *tie* where the reference itself cannot tell: where the margin between its two best classes
is smaller than the precision can resolve. Ties are counted, and do not fail the verdict.

What only logits and embeddings have is in `decisions` and `retrieval`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from hamsa_runtime.errors import ParityError

# Noise of less than one rounding of float64 is none: 20 log10(2^52). A limit, because JSON has no infinity.
MAX_DECIBELS = 313.0


@dataclass(frozen=True)
class Thresholds:
    """What an exported model may differ by.

    Attributes:
        max_relative_error: largest allowed, of any output of any image.
        cosine: smallest allowed, likewise.
        top1: smallest allowed share of images with the same top-1, ties left aside.
        tie: margin below which a top-1 that differs is a tie, relative to the largest logit.
        signal_to_noise_db: smallest allowed, of any output; None for no limit.
        max_drop: largest loss of accuracy allowed, in percentage points, where true classes are known; None for no
            limit.
    """

    max_relative_error: float
    cosine: float
    top1: float
    tie: float = 0.0
    signal_to_noise_db: float | None = None
    max_drop: float | None = None

    def as_dict(self) -> dict[str, float]:
        """The limits that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
    """(N,): the largest r_ij of each image."""
    return value_errors(found, expected)[0] / scales(expected)


def value_errors(found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) each: the largest absolute error of an image, and its mean over the image's values."""
    errors = np.abs(flat(found) - flat(expected))
    return errors.max(axis=1, initial=0.0), errors.mean(axis=1)


def scales(expected: np.ndarray) -> np.ndarray:
    """(N,): s_i, what errors are relative to."""
    largest = np.abs(flat(expected)).max(axis=1, initial=0.0)
    return np.where(largest > 0, largest, 1.0)


def signal_to_noise(found: np.ndarray, expected: np.ndarray) -> float:
    """In dB, over all images and values; MAX_DECIBELS where there is no difference at all."""
    signal = float(np.square(flat(expected)).sum())
    noise = float(np.square(flat(found) - flat(expected)).sum())
    if noise == 0:
        return MAX_DECIBELS
    ratio = signal / noise
    return float(np.clip(10 * np.log10(ratio), -MAX_DECIBELS, MAX_DECIBELS)) if ratio > 0 else -MAX_DECIBELS


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): cosine of the angle between both outputs of each image; 1 where both are zero."""
    a, b = flat(found), flat(expected)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    return np.where(both_zero, 1.0, np.einsum("ij,ij->i", a, b) / np.where(norms > 0, norms, 1.0))


def same_top1(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): whether both have the same best class."""
    return np.asarray(found.argmax(axis=1) == expected.argmax(axis=1))


def top1_margins(expected: np.ndarray) -> np.ndarray:
    """(N,): distance of the reference's two best classes, relative to its largest value."""
    two = np.sort(flat(expected), axis=1)[:, -2:]
    scale = np.abs(flat(expected)).max(axis=1)
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


def flat(array: np.ndarray) -> np.ndarray:
    """(N, n) in float64."""
    return array.reshape(len(array), -1).astype(np.float64)
