"""How a scale flows: the cases that HAMSA does not have, and random graphs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.precision.passes.equalise import ROW_SIZES, Equalisation, equalise
from hamsa_deploy.precision.passes.scale_flow import ScaleFlow

from ..drawing import Drawing
from ..graphs import copy_of, outputs_of, smooth_feeds
from ..random_graphs import ROWS, SIZE, WEIGHT, WIDTH, RandomGraph, spectrum_of


def check(model: ir.Model, *linear_inputs: ir.Value) -> tuple[ir.Model, Equalisation]:
    """Equalise with ranges that fall by 2^10 over the rows, and compare outputs bit for bit."""
    falling = np.exp2(-np.linspace(0, 10, ROWS))[None, :, None]
    ranges = {str(value.name): falling for value in linear_inputs}
    copy = copy_of(model)
    done = equalise(copy, ranges)
    feeds = smooth_feeds(model, 1)
    for found, expected in zip(outputs_of(copy, feeds), outputs_of(model, feeds), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [v.name for v in copy.graph.outputs] == [v.name for v in model.graph.outputs]
    return copy, done


def test_a_scaled_value_that_is_an_output_comes_out_unscaled_under_its_name() -> None:
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    copy, done = check(drawing.model(mixed), spectrum)
    assert done.undone == ["v1_unscaled"]
    assert [node.op_type for node in copy.graph] == ["MatMul", "MatMul", "Mul"]


def test_more_products_than_linears_are_not_worth_it() -> None:
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    bent = drawing.add("Tanh", spectrum, **SIZE)
    _, done = check(drawing.model(mixed, bent), spectrum)
    assert done == Equalisation()


def test_one_product_behind_a_linear_serves_all_slices_of_it() -> None:
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    halves = [
        drawing.add("Slice", mixed, *(np.array([i]) for i in (start, start + 6, 1, 1)), rows=6, width=WIDTH)
        for start in (0, 6)
    ]
    _, done = check(drawing.model(*(drawing.add("Sigmoid", half, rows=6, width=WIDTH) for half in halves)), spectrum)
    assert done.undone == ["v1_unscaled"]


def test_power_spectra_carry_the_square_of_the_scale() -> None:
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    power = drawing.add("Mul", spectrum, spectrum, **SIZE)
    mixed = drawing.add("MatMul", power, WEIGHT, **SIZE)
    model = drawing.model(drawing.add("Sigmoid", mixed, **SIZE))
    _, done = check(model, power)
    assert done.scales["v1"].min() == 2.0**-8  # (2^-4)^2: 2^-10 with headroom is 2^-8 in the square


def test_a_sum_with_something_unscaled_stops_the_scale() -> None:
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    _, done = check(drawing.model(drawing.add("Add", mixed, drawing.x, **SIZE)), spectrum)
    assert done.undone == ["v1_unscaled"]


def test_a_sum_of_different_powers_of_the_scale_stops_it() -> None:
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    power = drawing.add("Mul", spectrum, spectrum, **SIZE)
    total = drawing.add("Add", power, spectrum, **SIZE)
    mixed = [drawing.add("MatMul", spectrum, WEIGHT, **SIZE) for _ in range(2)]
    _, done = check(drawing.model(drawing.add("Add", *mixed, **SIZE), total), spectrum)
    assert done == Equalisation()  # three products, for the two summands of the total and for the first output


def test_a_factor_without_rows_lets_the_scale_pass_and_one_with_rows_undoes_it() -> None:
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    louder = drawing.add("Mul", mixed, np.array([1.0, 2.0, 3.0]), **SIZE)
    filtered = drawing.add("Mul", np.linspace(1, 2, ROWS)[:, None], louder, **SIZE)
    _, done = check(drawing.model(drawing.add("Tanh", filtered, **SIZE)), spectrum)
    assert done.undone == []
    assert done.scales["v0"].min() < 1


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Softmax", "Exp"])
def test_no_scale_starts_behind_what_is_not_linear(kind: str) -> None:
    drawing = Drawing(ROWS, WIDTH)
    bent = drawing.add(kind, drawing.x, **SIZE)
    model = drawing.model(drawing.add("MatMul", bent, WEIGHT, **SIZE))
    copy = copy_of(model)
    assert equalise(copy, {"v0": np.exp2(np.arange(ROWS))[None, :, None]}) == Equalisation()
    assert ir.to_proto(copy) == ir.to_proto(model)


def test_integers_are_never_scaled() -> None:
    drawing = Drawing(ROWS, WIDTH)
    drawing.add("Mul", drawing.x, np.arange(ROWS)[:, None], **SIZE)
    drawing.nodes[0].outputs[0].dtype = ir.DataType.INT64
    assert not ScaleFlow(drawing.model(drawing.nodes[0].outputs[0]).graph).sites


def test_random_graphs_compute_the_same_bit_for_bit() -> None:
    scaled = 0
    for seed in range(250):
        drawn = RandomGraph(seed)
        model = drawn.model(length=2 + seed % 12)
        feeds = smooth_feeds(model, 1, seed)
        names = sorted({str(value.name) for value in drawn.linear_inputs if value is not drawn.drawing.x})
        ranges = ROW_SIZES.watch(model, names, feeds)
        for rows in ranges.values():  # any ranges must do, so make them uneven
            rows *= np.exp2(drawn.random.integers(-6, 7, rows.shape))
        copy = copy_of(model)
        done = equalise(copy, ranges, into_transforms=bool(seed % 2))
        scaled += any((scale < 1).any() for scale in done.scales.values())
        for found, expected in zip(outputs_of(copy, feeds), outputs_of(model, feeds), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}")
    assert scaled > 40
