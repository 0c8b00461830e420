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

What only logits and embeddings have is in `decisions` and `retrieval`; `metrics` lists all of it.
"""

from __future__ import annotations

import numpy as np

from hamsa_runtime.errors import ParityError

# Noise of less than one rounding of float64 is none: 20 log10(2^52). A limit, because JSON has no infinity.
MAX_DECIBELS = 313.0


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
