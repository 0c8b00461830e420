"""Smoothed graphs compute what they did, bit for bit, and int8 makes less noise in their linears."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.precision.passes.equalise import ROW_SIZES, equalisable, equalise
from hamsa_deploy.precision.passes.smooth import CHANNEL_SIZES, ChannelRanges, smooth, smoothable
from tests.shared import Once

from ..drawing import Drawing
from ..graphs import TINY, copy_of, graph_of, outputs_of, smooth_feeds
from ..random_graphs import ROWS, SIZE, WEIGHT, WIDTH, RandomGraph, spectrum_of


@pytest.fixture(scope="module", params=["nano", TINY])
def graph(request: pytest.FixtureRequest, once: Once) -> ir.Model:
    return graph_of(request.param, once)


def measured(model: ir.Model, runs: int = 2) -> dict[str, ChannelRanges]:
    return CHANNEL_SIZES.watch(model, smoothable(model), smooth_feeds(model, runs))


@pytest.mark.parametrize("equalised", [False, True])
def test_every_output_stays_the_same_bit_for_bit_without_a_new_node(graph: ir.Model, equalised: bool) -> None:
    copy = copy_of(graph)
    if equalised:
        equalise(copy, ROW_SIZES.watch(copy, equalisable(copy), smooth_feeds(copy, 2)))
    nodes = len(copy.graph)
    assert len(smooth(copy, measured(copy))) >= 4
    assert len(copy.graph) == nodes
    feeds = smooth_feeds(graph, 2, seed=7)
    for optimised in (False, True):
        expected, found = (outputs_of(m, feeds, optimised=optimised) for m in (graph, copy))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_enters_the_linears_is_divided(graph: ir.Model) -> None:
    copy = copy_of(graph)
    before = measured(graph)
    for name, scale in smooth(copy, before).items():
        after = CHANNEL_SIZES.watch(copy, [name], smooth_feeds(copy, 2))[name]
        np.testing.assert_array_equal(after.largest * scale, before[name].largest)
        np.testing.assert_allclose(after.mean_square * scale**2, before[name].mean_square, rtol=1e-12)


def test_channels_are_measured_over_runs_images_and_rows() -> None:
    drawing = Drawing(ROWS, WIDTH)
    model = drawing.model(drawing.add("Relu", drawing.x, **SIZE))
    runs = np.random.default_rng(0).normal(size=(3, 2, ROWS, WIDTH)).astype(np.float32)
    found = CHANNEL_SIZES.watch(model, ["x"], [{"x": run} for run in runs])["x"]
    np.testing.assert_array_equal(found.largest, np.abs(runs).max(axis=(0, 1, 2)))
    np.testing.assert_allclose(found.mean_square, np.square(runs, dtype=np.float64).mean(axis=(0, 1, 2)), rtol=1e-12)


def filtered(gain: np.ndarray) -> tuple[ir.Model, ir.Value]:
    """(K * C x) W, with the channels of K as uneven as the gain."""
    drawing = Drawing(ROWS, WIDTH)
    kernel = np.random.default_rng(2).uniform(0.5, 1, (ROWS, WIDTH)) * gain
    y = drawing.add("Mul", kernel, spectrum_of(drawing), **SIZE)
    return drawing.model(drawing.add("MatMul", y, WEIGHT, **SIZE)), y


def int8_noise(model: ir.Model, name: str) -> float:
    """dB below the signal, of a linear whose input and weights are rounded to int8."""
    linear = next(node for node in model.graph if node.inputs[0] is not None and node.inputs[0].name == name)
    weight = linear.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    copy = copy_of(model)
    copy.graph.outputs.append(next(node.outputs[0] for node in copy.graph if node.outputs[0].name == name))
    result, x = outputs_of(copy, smooth_feeds(model, 1))
    matrix = weight.const_value.numpy()
    rounded = _rounded(x, np.abs(x).max()) @ _rounded(matrix, np.abs(matrix).max(axis=0))
    return float(10 * np.log10(np.square(result).sum() / np.square(rounded - result).sum()))


def _rounded(x: np.ndarray, largest: np.ndarray) -> np.ndarray:
    step = largest / 127
    return np.round(x / step) * step


UNEVEN = ChannelRanges(np.array([1, 1e-2, 1e-3]), np.array([1, 1e-4, 1e-6]))


def check(model: ir.Model, *linear_inputs: ir.Value) -> list[str]:
    """Smooth for uneven channels, compare outputs bit for bit; names of what was divided."""
    copy = copy_of(model)
    smoothed = smooth(copy, {str(value.name): UNEVEN for value in linear_inputs})
    feeds = smooth_feeds(model, 1)
    for found, expected in zip(outputs_of(copy, feeds), outputs_of(model, feeds), strict=True):
        np.testing.assert_array_equal(found, expected)
    return list(smoothed)


def test_small_channels_with_large_weights_are_heard() -> None:
    """Channels of size 1, 1/8 and 1/64. The weights of all are of one size, so smoothing shares the unevenness."""
    model, y = filtered(np.array([1, 1 / 8, 1 / 64]))
    copy = copy_of(model)
    smooth(copy, measured(model))
    assert int8_noise(copy, str(y.name)) > int8_noise(model, str(y.name)) + 1


def test_even_channels_stay_as_they_are() -> None:
    model, _ = filtered(np.ones(WIDTH))
    copy = copy_of(model)
    even = ChannelRanges(np.ones(WIDTH), np.full(WIDTH, 0.1))
    assert smooth(copy, {"v1": even}) == {}
    assert ir.to_proto(copy) == ir.to_proto(model)


def test_a_scale_that_would_cost_a_product_is_not_worth_it() -> None:
    drawing = Drawing(ROWS, WIDTH)
    normed = drawing.add("LayerNormalization", drawing.x, np.ones(WIDTH), **SIZE)
    bent = drawing.add("Tanh", normed, **SIZE)
    model = drawing.model(drawing.add("MatMul", normed, WEIGHT, **SIZE), bent)
    assert check(model, normed) == []


def test_rows_that_a_linear_reads_are_scaled_alike_wherever_they_come_from() -> None:
    drawing = Drawing(ROWS, WIDTH)
    size = {"rows": 2 * ROWS, "width": WIDTH}
    kernels = np.random.default_rng(0).uniform(1, 2, (2, ROWS, WIDTH))
    filtered = [drawing.add("Mul", kernel, drawing.x, **SIZE) for kernel in kernels]
    joined = drawing.add("Concat", *filtered, axis=1, **size)
    mixed = drawing.add("MatMul", joined, WEIGHT, **size)
    alone = drawing.add("MatMul", filtered[0], WEIGHT[::-1].copy(), **SIZE)
    assert check(drawing.model(mixed, alone), joined, filtered[0]) == ["v0", "v2"]


def test_two_scales_that_meet_in_a_product_are_both_left_out() -> None:
    drawing = Drawing(ROWS, WIDTH)
    normed = [drawing.add("LayerNormalization", drawing.x, np.ones(WIDTH), **SIZE) for _ in range(2)]
    mixed = [drawing.add("MatMul", value, WEIGHT, **SIZE) for value in normed]
    bent = [drawing.add("Relu", value, **SIZE) for value in normed]
    model = drawing.model(drawing.add("Mul", *bent, **SIZE), *mixed)
    assert check(model, *normed) == []


def test_a_gate_that_cannot_be_scaled_does_not_stop_what_it_is_applied_to() -> None:
    """a SiLU(b), both linears: a scale of b would stop at the sigmoid, and that of a at the product with it."""
    drawing = Drawing(ROWS, WIDTH)
    a, b = (drawing.add("MatMul", drawing.x, WEIGHT, **SIZE) for _ in range(2))
    silu = drawing.add("Mul", b, drawing.add("Sigmoid", b, **SIZE), **SIZE)
    gated = drawing.add("Mul", a, silu, **SIZE)
    assert check(drawing.model(drawing.add("MatMul", gated, WEIGHT, **SIZE)), gated) == [gated.name]


def test_layer_normalization_takes_the_scale() -> None:
    drawing = Drawing(ROWS, WIDTH)
    normed = drawing.add("LayerNormalization", drawing.x, np.array([1, 1e-2, 1e-3]), np.ones(WIDTH), **SIZE)
    assert check(drawing.model(drawing.add("MatMul", normed, WEIGHT, **SIZE)), normed) == [normed.name]


def test_a_linear_over_rows_reads_channels_of_one_scale() -> None:
    """As in a mixer: behind a transposition a linear sums over what were rows."""
    drawing = Drawing(ROWS, WIDTH)
    gain, bias = np.linspace(1e-3, 1, WIDTH), np.zeros(WIDTH)
    y = drawing.add("LayerNormalization", drawing.x, gain, bias, **SIZE)
    turned = drawing.add("Transpose", y, perm=[0, 2, 1], rows=WIDTH, width=ROWS)
    over_rows = np.random.default_rng(3).normal(size=(ROWS, ROWS))
    z = drawing.add("MatMul", turned, over_rows, rows=WIDTH, width=ROWS)
    back = drawing.add("Transpose", z, perm=[0, 2, 1], **SIZE)
    model = drawing.model(drawing.add("MatMul", drawing.add("Add", y, back, **SIZE), WEIGHT, **SIZE))
    copy = copy_of(model)
    smooth(copy, measured(model))
    for found, expected in zip(*(outputs_of(each, smooth_feeds(model, 1)) for each in (copy, model)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_random_graphs_compute_the_same_bit_for_bit() -> None:
    smoothed = 0
    for seed in range(250):
        drawn = RandomGraph(seed)
        model = drawn.model(length=2 + seed % 12)
        ranges = {}
        for value in drawn.linear_inputs:  # any ranges must do, so make them uneven
            sizes = np.exp2(drawn.random.integers(-6, 7, WIDTH).astype(float))
            ranges[str(value.name)] = ChannelRanges(sizes, sizes**2 / 9)
        copy = copy_of(model)
        smoothed += len(smooth(copy, ranges)) > 0
        feeds = smooth_feeds(model, 1, seed)
        for found, expected in zip(outputs_of(copy, feeds), outputs_of(model, feeds), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}")
    assert smoothed > 40
