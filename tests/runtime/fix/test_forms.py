"""DFT and STFT as products, judged by numpy.fft in float64: every layout, plan, length and type."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from hamsa_runtime.dft.factorisations import Plan
from hamsa_runtime.fix import RealTransformsPass
from hamsa_runtime.fix.replacement import replace_transforms

from .files import DOUBLE, FLOAT, dft_model, graph_model, numpy_dft, scalar

# Sums of some hundred products in float64: 2e-15 was measured. In float32, 1e-6; float16 rounds its results to 5e-4.
TOLERANCE: dict[int, float] = {DOUBLE: 1e-13, FLOAT: 3e-6, onnx.TensorProto.FLOAT16: 2e-3}
SOME = 3


def run(model: ir.Model, **inputs: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def noise(shape: list[Any], dtype: int = DOUBLE) -> np.ndarray:
    sizes = [SOME if isinstance(size, str) else size for size in shape]
    return np.random.default_rng(0).standard_normal(sizes).astype(helper.tensor_dtype_to_np_dtype(dtype))


def error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max())


# The axis last, in the middle with few and with many columns behind it, in front; sizes that may be any.
LAYOUTS: list[tuple[list[Any], int]] = [
    (["N", 0, 1], 1),
    (["N", 3, 0, 2], -2),
    (["N", 0, "C", 2], 1),
    (["N", "M", 0, 1], -2),
    ([0, "N", 2], 0),
    ([0, 1], 0),
    (["N", "C", 0, 5, 2], 2),
    (["N", 0, 40, 1], 1),
    (["N", "K", 0, "C", "D", 2], 2),
    (["N", 0, 1, 1], -3),
]
LENGTHS = [1, 7, 96, 200]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize(("layout", "axis"), LAYOUTS, ids=str)
def test_a_dft_in_every_layout_cropped_and_padded(layout: list[Any], axis: int, n: int) -> None:
    shape = [n if size == 0 else size for size in layout]
    is_complex = shape[-1] == 2
    for length, inverse, onesided in itertools.product((None, n // 2 + 1, n + 3), (0, 1), (0, 1)):
        if onesided and (inverse != is_complex or (inverse and length is None and n == 1)):
            continue
        model = ir.from_proto(dft_model(shape, axis=axis, length=length, inverse=inverse, onesided=onesided))
        assert RealTransformsPass()(model).modified
        x = noise(shape)
        expected = numpy_dft(x, axis, length, inverse, onesided)
        assert error(run(model, x=x), expected) < TOLERANCE[DOUBLE], (length, inverse, onesided)


@pytest.mark.parametrize("factors", [(24,), (2, 12), (12, 2), (3, 8), (2, 3, 4), (2, 2, 3, 2), ()], ids=str)
@pytest.mark.parametrize(("parts", "inverse", "onesided"), [(1, 0, 1), (1, 1, 0), (2, 0, 0), (2, 1, 0), (2, 1, 1)])
def test_every_plan_is_exact(factors: tuple[int, ...], parts: int, inverse: int, onesided: int) -> None:
    n = math.prod(factors) if factors else 13  # without factors: Rader's form of a prime
    for points, columns in ((n, 4), (n - 7, 40), (5, 1)):
        shape: list[int | str] = ["N", points, columns, parts]
        model = ir.from_proto(dft_model(shape, axis=1, length=n, inverse=inverse, onesided=onesided))
        (replaced,) = replace_transforms(model, plans={n: Plan(n, factors)}).replaced
        assert replaced.plan.factors == factors
        x = noise(shape)
        assert error(run(model, x=x), numpy_dft(x, 1, n, inverse, onesided)) < TOLERANCE[DOUBLE]


@pytest.mark.parametrize("points", [5, 40])
@pytest.mark.parametrize(("parts", "inverse", "onesided"), [(1, 0, 1), (2, 0, 0), (2, 1, 1)])
def test_any_number_of_samples_becomes_dft_length(points: int, parts: int, inverse: int, onesided: int) -> None:
    model = ir.from_proto(dft_model(["N", "L", 2, parts], axis=1, length=24, inverse=inverse, onesided=onesided))
    RealTransformsPass()(model)
    x = noise(["N", points, 2, parts])
    assert error(run(model, x=x), numpy_dft(x, 1, 24, inverse, onesided)) < TOLERANCE[DOUBLE]


@pytest.mark.parametrize("dtype", [FLOAT, onnx.TensorProto.FLOAT16])
@pytest.mark.parametrize(("n", "opset"), [(24, 17), (784, 20)])
def test_results_have_the_type_of_the_signal(dtype: int, n: int, opset: int) -> None:
    model = ir.from_proto(dft_model(["N", n, 1], axis=1, onesided=1, dtype=dtype, opset=opset))
    RealTransformsPass()(model)
    x = noise(["N", n, 1], dtype)
    y = run(model, x=x)
    assert y.dtype == x.dtype
    assert error(y, numpy_dft(x, 1, None, 0, 1)) < TOLERANCE[dtype]


def stft_model(
    n: int, hop: int, length: int | str, *, dtype: int, window: str, parts: int = 1, onesided: int = 1
) -> tuple[onnx.ModelProto, np.ndarray]:
    """One STFT and its window, which is constant, computed in the graph, or not there."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    values = np.ones(n) if window == "none" else np.hanning(n + 2)[1:-1].astype(kind)
    constants, nodes = [scalar("step", hop)], []
    if window == "none":
        constants.append(scalar("length", n))
    else:
        constants.append(numpy_helper.from_array(values, "known" if window == "computed" else "window"))
    if window == "computed":
        nodes.append(helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0))
        nodes.append(helper.make_node("Div", ["largest", "largest"], ["one"]))
        nodes.append(helper.make_node("Mul", ["known", "one"], ["window"]))
    inputs = ["x", "step", "", "length"] if window == "none" else ["x", "step", "window"]
    nodes.append(helper.make_node("STFT", inputs, ["y"], name="frames", onesided=onesided))
    proto = graph_model(nodes, ["N", length, parts], 4, constants=constants, opset=17, dtype=dtype)
    return proto, values.astype(np.float64)


# A convolution; frames of whole blocks, of broken ones, with gaps, of many blocks; one sample.
FRAMES = [(16, 5), (8, 11), (64, 64), (256, 64), (400, 160), (400, 10), (1, 1)]


@pytest.mark.parametrize("window", ["none", "constant", "computed"])
@pytest.mark.parametrize(("n", "hop"), FRAMES)
def test_an_stft_of_any_length_is_framing_window_and_transform(n: int, hop: int, window: str) -> None:
    lengths: list[int | str] = ["L", n if n < hop else n + 3 * hop + 1]
    for dtype, length, (parts, onesided) in itertools.product((FLOAT, DOUBLE), lengths, ((1, 1), (1, 0), (2, 0))):
        proto, factor = stft_model(n, hop, length, dtype=dtype, window=window, parts=parts, onesided=onesided)
        model = ir.from_proto(proto)
        RealTransformsPass()(model)
        x = noise(["N", n + 4 * hop + hop // 2 if isinstance(length, str) else length, parts], dtype)
        starts = range(0, x.shape[1] - n + 1, hop)
        frames = np.stack([x[:, start : start + n].astype(np.float64) * factor[:, None] for start in starts], axis=1)
        expected = numpy_dft(frames, 2, None, 0, onesided)
        assert error(run(model, x=x), expected) < TOLERANCE[dtype], (dtype, length, parts, onesided)


def test_the_frames_of_a_float16_signal_are_computed_in_float32() -> None:
    proto, factor = stft_model(256, 64, "L", dtype=onnx.TensorProto.FLOAT16, window="computed")
    model = ir.from_proto(proto)
    RealTransformsPass()(model)
    x = noise(["N", 600, 1], onnx.TensorProto.FLOAT16)
    y = run(model, x=x)
    assert y.dtype == np.float16
    frames = np.stack([x[:, s : s + 256].astype(np.float64) * factor[:, None] for s in range(0, 345, 64)], axis=1)
    assert error(y, numpy_dft(frames, 2, None, 0, 1)) < TOLERANCE[onnx.TensorProto.FLOAT16]
