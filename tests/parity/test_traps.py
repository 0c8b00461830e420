"""Networks whose outputs have what hides a difference: masked classes, offsets, a shared bias, one huge value.

An unrelated network, of other weights, never passes; the same network in a lower precision does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hamsa_deploy.parity.comparison import compare
from hamsa_deploy.parity.metrics import THRESHOLDS

PAIRS = 50  # of each kind in each precision
INPUTS, HIDDEN = 32, 64

Round = Callable[[np.ndarray], np.ndarray]


def bfloat16(x: np.ndarray) -> np.ndarray:
    bits = x.astype(np.float32).view(np.uint32)
    return ((((bits + 0x8000) >> 16) << 16).astype(np.uint32)).view(np.float32)


def int8(x: np.ndarray) -> np.ndarray:
    """One scale for each column."""
    step = np.abs(x).max(axis=0, keepdims=True) / 127 + 1e-12
    return (np.round(x / step) * step).astype(np.float32)


ROUND: dict[str, Round] = {
    "fp32": lambda x: x.astype(np.float32),
    "fp16": lambda x: x.astype(np.float16).astype(np.float32),
    "bf16": bfloat16,
    "int8": int8,
}


def masked(share: float, value: float) -> Callable[[np.random.Generator, np.ndarray], np.ndarray]:
    def mask(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        found = np.zeros(y.shape[1], np.float32)
        found[rng.choice(y.shape[1], max(1, int(share * y.shape[1])), replace=False)] = value
        return y + found

    return mask


def one_huge(value: float) -> Callable[[np.random.Generator, np.ndarray], np.ndarray]:
    def huge(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        place = rng.integers(y.shape[1])
        found = y.copy()
        found[:, place] = value * (1 + 1e-3 * y[:, place])
        return found

    return huge


def softmax(_: np.random.Generator, y: np.ndarray) -> np.ndarray:
    powers = np.exp(y - y.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


TRAPS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "none": lambda _, y: y,
    **{f"a class masked with {value:g}": masked(0.1, value) for value in (-1e9, -1e4)},
    **{f"half masked with {value:g}": masked(0.6, value) for value in (-1e9, -1e4, -100)},
    "an offset of 1000": lambda _, y: y + np.float32(1000),
    **{f"one value of {value:g}": one_huge(value) for value in (100, 1e3, 1e6)},
    "one bias": lambda rng, y: y + 30 * rng.standard_normal(y.shape[1:]).astype(np.float32),
    "softmax": softmax,
    "relu": lambda _, y: np.maximum(y, 0),
    "sigmoid": lambda _, y: np.asarray(1 / (1 + np.exp(-y))),
}


def outputs(seed: int, x: np.ndarray, width: int, rounded: Round) -> np.ndarray:
    """(N, width): of a network of two layers."""
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((INPUTS, HIDDEN)), rng.standard_normal((HIDDEN, width))
    hidden = np.maximum(rounded(x) @ rounded(first / INPUTS**0.5), 0)
    return (rounded(hidden) @ rounded(3 * second / HIDDEN**0.5)).astype(np.float32)


def verdicts(precision: str, *, unrelated: bool) -> list[str]:
    """Those that are wrong, each with what it was."""
    wrong = []
    for seed in range(PAIRS):
        rng = np.random.default_rng(seed)
        name, trap = list(TRAPS.items())[seed % len(TRAPS)]
        width, images = int(rng.choice([2, 3, 10, 40, 1000])), int(rng.choice([4, 16, 60]))
        output = str(rng.choice(["logits", "output"]))
        x = rng.standard_normal((images, INPUTS)).astype(np.float32)
        expected = trap(np.random.default_rng(seed), outputs(seed, x, width, ROUND["fp32"]))
        plain = outputs(seed + 1000 * unrelated, x, width, ROUND[precision])
        found = trap(np.random.default_rng(seed), plain)
        report = compare({output: found}, {output: expected}, THRESHOLDS[precision], "Net")
        if report.passed == unrelated:
            wrong.append(f"{name}, {output} of {width}, {images} images: {report.failures} {report.metrics}")
    return wrong


@pytest.mark.parametrize("precision", THRESHOLDS)
def test_an_unrelated_network_never_passes(precision: str) -> None:
    assert verdicts(precision, unrelated=True) == []


@pytest.mark.parametrize("precision", THRESHOLDS)
def test_the_same_network_in_lower_precision_passes(precision: str) -> None:
    assert verdicts(precision, unrelated=False) == []


Head = Callable[[int], np.ndarray]


def head(seed: int, classes: int, objects: int, *, boxes: int | None = None) -> np.ndarray:
    """(4, 4 + classes, 400): boxes of up to 640 pixels, and scores: almost all 1e-6 to 1e-4, of some objects 0.9."""
    boxes_rng, rng = np.random.default_rng(seed if boxes is None else boxes), np.random.default_rng(seed + 1000)
    scores = np.exp(rng.uniform(np.log(1e-6), np.log(1e-4), (4, classes, 400)))
    scores.reshape(-1)[rng.choice(scores.size, objects, replace=False)] = rng.uniform(0.5, 0.95, objects)
    return np.concatenate([boxes_rng.uniform(0, 640, (4, 4, 400)), scores], axis=1)


def by_onnxruntime(expected: np.ndarray) -> np.ndarray:
    """As its float32 computes a head: boxes to 1e-6 of themselves, a sigmoid to a unit of 1."""
    rng = np.random.default_rng(0)
    found = expected * (1 + 1e-7 * rng.standard_normal(expected.shape))
    found[:, 4:] += rng.uniform(-(2.0**-23), 2.0**-23, found[:, 4:].shape)
    return found.astype(np.float32)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("classes", "objects"), [(80, 60), (80, 0), (1, 20), (1, 0)])
def test_scores_beside_boxes_are_judged_as_scores(classes: int, objects: int, *, transposed: bool) -> None:
    expected = head(0, classes, objects)
    found = by_onnxruntime(expected)
    if transposed:
        expected, found = expected.swapaxes(1, 2), found.swapaxes(1, 2)
    assert compare({"head": found}, {"head": expected}, THRESHOLDS["fp32"], "Net").failures == []


@pytest.mark.parametrize("precision", THRESHOLDS)
@pytest.mark.parametrize("classes", [1, 80])
def test_neither_scores_nor_boxes_of_another_network_pass(precision: str, classes: int) -> None:
    expected = head(0, classes, 20 * classes)
    for found in (head(1, classes, 20 * classes, boxes=0), np.concatenate([head(1, 1, 1)[:, :4], expected[:, 4:]], 1)):
        report = compare({"head": found}, {"head": expected}, THRESHOLDS[precision], "Net")
        assert any("correlation over inputs" in failure for failure in report.failures)


def test_channels_of_feature_maps_are_one_part() -> None:
    """A dead one beside others of hundreds has their rounding."""
    rng = np.random.default_rng(0)
    expected = np.maximum(100 * rng.standard_normal((4, 16, 7, 7)), 0)
    expected[:, 3] = 1e-3
    found = expected + 1e-5 * rng.standard_normal(expected.shape)
    assert compare({"map": found}, {"map": expected}, THRESHOLDS["fp32"], "Net").passed


def test_a_sigmoid_of_nothing_passes_and_one_of_something_else_does_not() -> None:
    """ONNX Runtime gives 1e-7 where 1e-8 is right."""
    rng = np.random.default_rng(0)
    expected = rng.uniform(0, 1e-6, (4, 1, 32, 32))
    found = expected + rng.uniform(0, 2.0**-23, expected.shape)
    assert compare({"mask": found}, {"mask": expected}, THRESHOLDS["fp32"], "Net").failures == []
    assert not compare({"mask": found + 1e-5}, {"mask": expected}, THRESHOLDS["fp32"], "Net").passed


def test_an_offset_that_costs_float16_its_digits_fails() -> None:
    """Half a unit at 1000 is as much as the logits differ by."""
    x = np.random.default_rng(0).standard_normal((40, INPUTS)).astype(np.float32)
    expected = outputs(0, x, 10, ROUND["fp32"]) + np.float32(1000)
    report = compare({"logits": ROUND["fp16"](expected)}, {"logits": expected}, THRESHOLDS["fp16"], "Net")
    assert any("max relative error" in failure for failure in report.failures)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_whole_numbers_and_truth_values_are_the_same_or_are_not(dtype: type) -> None:
    rng = np.random.default_rng(0)
    expected = rng.integers(0, 2, (20, 50)).astype(dtype) if dtype is np.bool_ else rng.integers(2**40, 2**41, (20, 50))
    other = ~expected if dtype is np.bool_ else expected + 1
    assert compare({"ids": expected.copy()}, {"ids": expected}, THRESHOLDS["fp32"], "Net").passed
    report = compare({"ids": other}, {"ids": expected}, THRESHOLDS["int8"], "Net")
    assert report.failures == ["ids: share of equal values 0.0000 < 0.9"]
    some = np.where(np.arange(50) < 3, other, expected)
    assert not compare({"ids": some}, {"ids": expected}, THRESHOLDS["fp16"], "Net").passed
    assert compare({"ids": some}, {"ids": expected}, THRESHOLDS["int8"], "Net").metrics["ids"][
        "equal"
    ] == pytest.approx(0.94)


def test_more_than_a_few_ties_are_no_agreement() -> None:
    rng = np.random.default_rng(0)
    expected = rng.standard_normal((40, 10)).astype(np.float32)
    expected[:, :2] += 4  # the best two
    expected[:, 1] = expected[:, 0] - 1e-3
    found = expected.copy()
    found[:20, [0, 1]] = expected[:20, [1, 0]]
    report = compare({"logits": found}, {"logits": expected}, THRESHOLDS["fp16"], "Net")
    assert report.failures == ["logits: share of ties 0.500 > 0.2"]
