"""How far two outputs are apart, for outputs of any shape.

For one output with N images of n values each, a (N, n) what the exported model computes and b (N, n) what the reference
computes, i an image and j a value:

    absolute error   e_ij = |a_ij - b_ij|
    deviation        d_ij = |b_ij - median_j b_ij|                    (n = 1: from the median over the images)
    scale            s_i  = max { d_ij : d_ij <= HUGE t_i },  t_i the median of the d_ij > 0; and no less than the
                            (lower) median of all s_i
    relative error   r_ij = e_ij / max(s_i, d_ij, FINEST u_ij),  u_ij = |b_ij|, or 1 where all b are within 0 and 1
    cosine           c_i  = a_i . b_i / (|a_i| |b_i|)                 (1 where both are zero, 0 where one is; where all
                            b are within 0 and 1, of one more value in both, FINEST sqrt(n))
    correlation      sum x_ij y_ij / sqrt(sum x_ij^2 sum y_ij^2),     x, y = a and b without what all images share
    equal            share of i, j with a_ij = b_ij,                  of whole numbers and truth values
    signal to noise  10 log10( sum_ij b_ij^2 / sum_ij e_ij^2 )  dB    (within +-MAX_DECIBELS)

Errors are relative to how much the values of an image differ from one another, not to each value: one near zero has
no meaningful relative error. Nor to the largest value: a class that is masked with -1e9, an offset of 1000 on all of
them, or one huge value would hide that all others are wrong. Such a value is judged by its own size. No scale is
finer than FINEST of the value itself, because float32 is not. Fewer than FEW values have one scale for all images,
fewer than FEWEST one cosine, and values within 0 and 1 (probabilities, masks, pictures) no huge ones; they are as fine
as 1 is, because engines compute a sigmoid from tanh (ONNX Runtime's is 1e-7 beside 3e-4, and beside 4e-8).

An output of two axes may have rows or columns that are within 0 and 1 and others that are not: a detector's scores
beside its boxes, hundreds of pixels wide. Both parts are judged, each as an output of its own, and the worse counts:
one may be so much larger, or so many more values, that the other would not be seen. (Logits beside boxes look like
the quiet bands of a spectrum, which are rounding of the loud ones: they are not told apart. Give them as two outputs.)

The correlation sees what depends on the input, which the other figures may not: two networks that share a mask, a
bias or a mean have a cosine of almost 1. x_ij = (a_ij - mu_j) / w_j with mu_j the mean over the images, and w_j the
larger of the standard deviation over the images and its median over j, so that no value outweighs all others; values
that hardly vary, by RESOLVED units in their last place, are left out. Where none varies, or there is one image, mu_i
is the median of an image's values.

A value of the summary is a maximum or mean over i and j, or for the cosine the minimum, the mean and p1, the first
percentile over i (numpy's linear interpolation).

What only logits and embeddings have is in `decisions` and `retrieval`; `metrics` lists all of it.
"""

from __future__ import annotations

import numpy as np

from hamsa_runtime.errors import ParityError

# Noise of less than one rounding of float64 is none: 20 log10(2^52). A limit, because JSON has no infinity.
MAX_DECIBELS = 313.0
HUGE = 1000.0
NO_INFINITY = "; or a large number in the place of infinity, x.masked_fill(mask, -1e9)"
FINEST = 1 / 200  # two roundings of float32 at b_ij are then 5e-5, which no engine can be below
FEW, FEWEST = 16, 4
FLOAT32_ULP = 2.0**-23
RESOLVED = 2
RESOLVED_OF_1 = 64  # within 0 and 1: an error of one unit of 1 is then a correlation of 0.9999, which fp32 needs
CLIP = 8.0  # of x and y: a value that is off by more is no worse


def parts(expected: np.ndarray) -> list[np.ndarray | slice]:
    """Which of the n values are judged together: all, or those within 0 and 1 and the rest, (n,) of truth values each.

    Args:
        expected: b, (N, ...); of more than two axes that are longer than 1 (features of images), all are one part.
    """
    axes = [axis for axis in range(1, expected.ndim) if expected.shape[axis] > 1]
    everything: list[np.ndarray | slice] = [slice(None)]  # a view, where truth values would copy the output
    if len(axes) != 2:
        return everything
    is_bounded = _is_bounded(expected)
    for axis in axes:
        bounded = np.asarray(is_bounded.all(axis=tuple(other for other in range(expected.ndim) if other != axis)))
        if bounded.any() and not bounded.all() and expected.size >= FEW * len(bounded):
            shape = [-1 if other == axis else 1 for other in range(1, expected.ndim)]
            of_all = np.broadcast_to(bounded.reshape(shape), expected.shape[1:]).ravel()
            return [of_all, ~of_all]
    return everything


def _is_bounded(b: np.ndarray) -> np.ndarray:
    return np.asarray((b >= 0) & (b <= 1))


def relative_errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N, n): r_ij."""
    return np.asarray(np.abs(flat(found) - flat(expected)) / denominators(expected))


def denominators(expected: np.ndarray) -> np.ndarray:
    """(N, n): what e_ij is divided by for r_ij."""
    b = flat(expected)
    found = np.empty_like(b)
    for part in parts(expected):
        found[:, part] = _denominators(b[:, part])
    return found


def _denominators(b: np.ndarray) -> np.ndarray:
    finest = np.maximum(deviations(b), FINEST * _units(b))
    return np.asarray(np.maximum(scales(b)[:, None], finest))


def _units(b: np.ndarray) -> np.ndarray:
    """u_ij: what a rounding is relative to."""
    return np.ones_like(b) if _is_bounded(b).all() else np.abs(b)


def deviations(b: np.ndarray) -> np.ndarray:
    """(N, n): d_ij, of values (N, n)."""
    return np.asarray(np.abs(b - np.median(b, axis=1 if b.shape[1] > 1 else 0, keepdims=True)))


def value_errors(found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) each: the largest absolute error of an image, and its mean over the image's values."""
    errors = np.abs(flat(found) - flat(expected))
    return errors.max(axis=1, initial=0.0), errors.mean(axis=1)


def scales(expected: np.ndarray) -> np.ndarray:
    """(N,): s_i, what errors are relative to."""
    b = flat(expected)
    d = deviations(b)
    if b.shape[1] < FEW:
        d = d.reshape(1, -1)
    is_bounded = bool(_is_bounded(b).all())
    found = np.array([_scale(row, is_bounded) for row in d])
    found = np.broadcast_to(np.maximum(found, np.quantile(found, 0.5, method="lower")), len(b))
    largest = np.abs(b).max(initial=0.0)
    return np.where(found > 0, found, largest if largest > 0 else 1.0)


def _scale(d: np.ndarray, is_bounded: bool) -> float:
    typical = np.median(d[d > 0]) if d.any() else 0.0
    return float(d.max(initial=0.0) if is_bounded else d[d <= HUGE * typical].max(initial=0.0))


def correlation(found: np.ndarray, expected: np.ndarray, unit: float) -> float:
    """Of what the input decides.

    Args:
        found, expected: a and b, (N, ...).
        unit: one unit in the last place of 1, in the numbers that the exported model computes with.
    """
    a, b = flat(found), flat(expected)
    return min(_correlation(a[:, part], b[:, part], unit) for part in parts(expected))


def _correlation(a: np.ndarray, b: np.ndarray, unit: float) -> float:
    spread = b.std(axis=0)
    of_1 = RESOLVED_OF_1 * FLOAT32_ULP if _is_bounded(b).all() else 0.0
    varies = spread > np.maximum(RESOLVED * unit * np.abs(b).max(axis=0), of_1)
    if varies.any():
        mean, width = b.mean(axis=0)[varies], spread[varies]
        x, y = ((each[:, varies] - mean) / np.maximum(width, np.median(width)) for each in (a, b))
    elif b.std(axis=1).max() <= of_1:
        return 1.0
    else:
        scale, centre = scales(b)[:, None], np.median(b, axis=1, keepdims=True)
        kept = deviations(b) <= HUGE * scale
        x, y = (((each - centre) / scale)[kept] for each in (a, b))
    x, y = x.clip(-CLIP, CLIP), y.clip(-CLIP, CLIP)
    if not y.any():
        return 1.0  # nothing varies at all: a single value, or a constant
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x * y).sum() / norm) if norm > 0 else 0.0


def signal_to_noise(found: np.ndarray, expected: np.ndarray) -> float:
    """In dB, over all images and values; MAX_DECIBELS where there is no difference at all."""
    signal = float(np.square(flat(expected)).sum())
    noise = float(np.square(flat(found) - flat(expected)).sum())
    if noise == 0:
        return MAX_DECIBELS
    ratio = signal / noise
    return float(np.clip(10 * np.log10(ratio), -MAX_DECIBELS, MAX_DECIBELS)) if ratio > 0 else -MAX_DECIBELS


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): cosine of the angle between both outputs of each image, of the worse part; 1 where both are zero."""
    a, b = flat(found), flat(expected)
    return np.asarray(np.min([_cosines(a[:, part], b[:, part]) for part in parts(expected)], axis=0))


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if _is_bounded(b).all():
        a, b = (np.pad(each, [(0, 0), (0, 1)], constant_values=FINEST * b.shape[1] ** 0.5) for each in (a, b))
    if b.shape[1] < FEWEST:
        a, b = (np.broadcast_to(each.reshape(1, -1), (len(b), each.size)) for each in (a, b))
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
    if bad := int((~np.isfinite(expected)).sum()):
        raise _no_values(name, expected, bad, reference)
    if bad := int((~np.isfinite(found)).sum()):
        raise ParityError(
            f"output '{name}': {bad} of {found.size} values that the exported model computes are NaN or infinite",
            expected="finite values",
            cause="an overflow in the lower precision",
            fix="export with --fp32",
        )


def _no_values(name: str, expected: np.ndarray, bad: int, reference: str) -> ParityError:
    """Of what the reference itself computes: nothing to do with the export."""
    cause, more = "a mask of infinities in forward, a division by 0, or log(0)", NO_INFINITY
    if np.isnan(expected).any():
        cause, more = "a logarithm of negative numbers or 0 / 0, of these inputs; or broken weights", ""
    return ParityError(
        f"output '{name}': {bad} of {expected.size} values that {reference} computes are NaN or infinite",
        expected="finite values, which can be compared",
        cause=cause,
        fix=f"inputs as the model is used on: data= in Python, --data on the command line{more}",
    )


def is_exact(array: np.ndarray) -> bool:
    """Whether values are whole numbers or truth values, which are the same or are not."""
    return not np.issubdtype(array.dtype, np.inexact)


def equal_shares(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): the share of each image's values that are equal."""
    return np.asarray((found == expected).reshape(len(expected), -1).mean(axis=1))


def flat(array: np.ndarray) -> np.ndarray:
    """(N, n) in float64."""
    return array.reshape(len(array), -1).astype(np.float64)
