"""Equalised graphs compute what they did, bit for bit, and int8 rounds them better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.graph.observing import observe
from hamsa_deploy.precision.passes.equalise import LEAST_GAIN, MOST_LIFT, ROW_SIZES, Equalisation, equalisable, equalise
from tests.shared import Once

from ..drawing import linear_between_transforms
from ..graphs import Named, copy_of, graph_of, outputs_of, smooth_feeds


@pytest.fixture(
    scope="module",
    params=[
        ("nano", "onnx"),
        pytest.param(("nano", "openvino"), marks=pytest.mark.slow),
        pytest.param(("tiny_at_224", "onnx"), marks=pytest.mark.slow),
        ("general", "onnx"),
    ],
    ids="-".join,
)
def graph(request: pytest.FixtureRequest, once: Once) -> Named:
    name, to = request.param
    return name, graph_of(name, once, to)


def equalised(model: ir.Model, **options: bool) -> tuple[ir.Model, Equalisation]:
    """A copy, with ranges of smooth signals."""
    copy = copy_of(model)
    ranges = ROW_SIZES.watch(model, equalisable(model), smooth_feeds(model, 3))
    return copy, equalise(copy, ranges, **options)


@pytest.mark.parametrize("into_transforms", [True, False])
def test_every_output_stays_the_same_bit_for_bit(graph: Named, into_transforms: bool) -> None:
    _, model = graph
    copy, done = equalised(model, into_transforms=into_transforms)
    assert done.scales
    feeds = smooth_feeds(model, 2, seed=7)
    for optimised in (False, True):
        expected, found = (outputs_of(m, feeds, optimised=optimised) for m in (model, copy))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_hamsa_gets_two_products_for_five_linears_of_a_block(graph: Named) -> None:
    name, model = graph
    copy, done = equalised(model)
    blocks = {node.metadata_props["module"] for node in copy.graph if node.name in done.undone}
    linears, products = (5, 2) if name != "general" else (1, 1)
    assert len(done.undone) == products * len(blocks)
    assert len(done.scales) == linears * len(blocks)
    assert len(copy.graph) == len(model.graph) + len(done.undone)


def test_rows_come_closer_and_none_outgrows_the_largest(graph: Named) -> None:
    _, model = graph
    copy, done = equalised(model)
    feeds = smooth_feeds(model, 3)
    before, after = (ROW_SIZES.watch(m, list(done.scales), feeds) for m in (model, copy))
    for name, scale in done.scales.items():
        np.testing.assert_array_equal(after[name] * scale, before[name])
        np.testing.assert_array_equal(np.exp2(np.round(np.log2(scale))), scale)
        assert scale.max() == 1
        assert scale.min() >= 1 / MOST_LIFT
        assert after[name].max() <= before[name].max()


def test_what_is_almost_flat_stays_as_it_is(graph: Named) -> None:
    _, model = graph
    names = equalisable(model)
    rows = {name: np.ones_like(size) for name, size in ROW_SIZES.watch(model, names, smooth_feeds(model, 1)).items()}
    for size in rows.values():
        size.flat[0] = LEAST_GAIN  # the others lower the ratio to their geometric mean
    assert_unchanged(model, rows)


def test_without_ranges_nothing_happens(graph: Named) -> None:
    assert_unchanged(graph[1], {})


def assert_unchanged(model: ir.Model, ranges: dict[str, np.ndarray]) -> None:
    copy = copy_of(model)
    assert equalise(copy, ranges) == Equalisation()
    assert ir.to_proto(copy) == ir.to_proto(model)


def test_the_inverse_transform_stays_flat_if_asked(tmp_path: Path) -> None:
    """U W, back: the scale is undone in the columns of the inverse, or by a product."""
    model = linear_between_transforms()
    folded, _ = equalised(model)
    apart, done = equalised(model, into_transforms=False)
    assert [node.op_type for node in folded.graph] == ["MatMul", "MatMul", "MatMul"]
    assert [node.op_type for node in apart.graph] == ["MatMul", "MatMul", "Mul", "MatMul"]
    assert done.undone == ["v1_unscaled"]
    feeds = smooth_feeds(model, 2, seed=3)
    for copy in (folded, apart):
        np.testing.assert_array_equal(outputs_of(copy, feeds), outputs_of(model, feeds))


def test_rows_are_measured_over_runs_images_and_channels() -> None:
    model = linear_between_transforms(n=4, width=2)
    spectra = np.random.default_rng(0).normal(size=(3, 5, 4, 2))
    matrix = model.graph.initializers["c0"].const_value
    assert matrix is not None
    feeds = [{"x": (matrix.numpy().T @ spectrum).astype(np.float32)} for spectrum in spectra]
    rows = ROW_SIZES.watch(model, ["v0"], feeds)["v0"]
    assert rows.shape == (1, 4, 1)
    # two float32 products of four terms
    assert rows.ravel() == pytest.approx(np.abs(spectra).max(axis=(0, 1, 3)), rel=1e-6)


def signal_to_noise(x: np.ndarray, scale: np.ndarray, first_row: int = 0) -> float:
    """dB, the mean over rows, of x / scale in int8 with one step for all rows from the first on."""
    x = (x.astype(np.float64) / scale)[:, first_row:]
    step = np.abs(x).max() / 127
    noise = np.round(x / step) * step - x
    signal, error = (np.square(part).mean(axis=(0, -1)) for part in (x, noise))
    return float(10 * np.log10(signal / error).mean())


def test_int8_keeps_the_small_frequencies() -> None:
    """1/f spectra of 784 points: per tensor, per tensor but with k = 0 kept apart, per frequency."""
    model = linear_between_transforms(784, 8)
    feeds = smooth_feeds(model, 8)
    _, done = equalised(model)
    x = np.concatenate([values["v0"] for values in observe(model, ["v0"], feeds)])
    flat = signal_to_noise(x, np.ones(1))
    mean_apart = signal_to_noise(x, np.ones(1), first_row=1)
    scaled = signal_to_noise(x, done.scales["v0"])
    # 6 dB are one bit. The average row of unscaled spectra is rounded to zero, which is 0 dB.
    assert flat < mean_apart < scaled
    assert flat < 1
    assert scaled > 35
