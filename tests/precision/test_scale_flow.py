"""How a scale flows: the cases that HAMSA does not have, and random graphs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.precision.equalisation import Equalisation, equalise
from hamsa_deploy.precision.row_ranges import row_ranges
from hamsa_deploy.precision.scale_flow import ScaleFlow

from .drawing import Drawing, cosine_matrix
from .graphs import copy_of, outputs_of, smooth_feeds

ROWS, WIDTH = 12, 3
SIZE = {"rows": ROWS, "width": WIDTH}
WEIGHT = np.random.default_rng(5).normal(size=(WIDTH, WIDTH))


def spectrum_of(drawing: Drawing) -> ir.Value:
    return drawing.add("MatMul", cosine_matrix(ROWS), drawing.x, **SIZE)


def check(model: ir.Model, *linear_inputs: ir.Value) -> tuple[ir.Model, Equalisation]:
    """Equalise with ranges that fall by 2^10 over the rows, and compare outputs bit for bit."""
    ranges = {str(v.name): np.exp2(-np.linspace(0, 10, v.shape[1]))[None, :, None] for v in linear_inputs}
    copy = copy_of(model)
    done = equalise(copy, ranges)
    feeds = smooth_feeds(model, 1)
    for found, expected in zip(outputs_of(copy, feeds), outputs_of(model, feeds), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [v.name for v in copy.graph.outputs] == [v.name for v in model.graph.outputs]
    return copy, done


def test_a_scaled_value_that_is_an_output_comes_out_unscaled_under_its_name():
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    copy, done = check(drawing.model(mixed), spectrum)
    assert done.undone == ["v1_unscaled"]
    assert [node.op_type for node in copy.graph] == ["MatMul", "MatMul", "Mul"]


def test_more_products_than_linears_are_not_worth_it():
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    bent = drawing.add("Tanh", spectrum, **SIZE)
    _, done = check(drawing.model(mixed, bent), spectrum)
    assert done == Equalisation()


def test_one_product_behind_a_linear_serves_all_slices_of_it():
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    halves = [
        drawing.add("Slice", mixed, *(np.array([i]) for i in (start, start + 6, 1, 1)), rows=6, width=WIDTH)
        for start in (0, 6)
    ]
    _, done = check(drawing.model(*(drawing.add("Sigmoid", half, rows=6, width=WIDTH) for half in halves)), spectrum)
    assert done.undone == ["v1_unscaled"]


def test_power_spectra_carry_the_square_of_the_scale():
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    power = drawing.add("Mul", spectrum, spectrum, **SIZE)
    mixed = drawing.add("MatMul", power, WEIGHT, **SIZE)
    model = drawing.model(drawing.add("Sigmoid", mixed, **SIZE))
    _, done = check(model, power)
    assert done.scales["v1"].min() == 2.0**-8  # (2^-4)^2: 2^-10 with headroom is 2^-8 in the square


def test_a_sum_with_something_unscaled_stops_the_scale():
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    _, done = check(drawing.model(drawing.add("Add", mixed, drawing.x, **SIZE)), spectrum)
    assert done.undone == ["v1_unscaled"]


def test_a_factor_without_rows_lets_the_scale_pass_and_one_with_rows_undoes_it():
    drawing = Drawing(ROWS, WIDTH)
    spectrum = spectrum_of(drawing)
    mixed = drawing.add("MatMul", spectrum, WEIGHT, **SIZE)
    louder = drawing.add("Mul", mixed, np.array([1.0, 2.0, 3.0]), **SIZE)
    filtered = drawing.add("Mul", np.linspace(1, 2, ROWS)[:, None], louder, **SIZE)
    _, done = check(drawing.model(drawing.add("Tanh", filtered, **SIZE)), spectrum)
    assert done.undone == []
    assert done.scales["v0"].min() < 1


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Softmax", "Exp"])
def test_no_scale_starts_behind_what_is_not_linear(kind):
    drawing = Drawing(ROWS, WIDTH)
    bent = drawing.add(kind, drawing.x, **SIZE)
    model = drawing.model(drawing.add("MatMul", bent, WEIGHT, **SIZE))
    copy = copy_of(model)
    assert equalise(copy, {"v0": np.exp2(np.arange(ROWS))[None, :, None]}) == Equalisation()
    assert ir.to_proto(copy) == ir.to_proto(model)


def test_integers_are_never_scaled():
    drawing = Drawing(ROWS, WIDTH)
    drawing.add("Mul", drawing.x, np.arange(ROWS)[:, None], **SIZE)
    drawing.nodes[0].outputs[0].dtype = ir.DataType.INT64
    assert not ScaleFlow(drawing.model(drawing.nodes[0].outputs[0]).graph).sites


class RandomGraph:
    """Operators drawn at random on values of ROWS rows; some rows are moved about, too."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.drawing = Drawing(ROWS, WIDTH)
        self.values = [self.drawing.x, spectrum_of(self.drawing)]
        self.linear_inputs: list[ir.Value] = []

    def model(self, length: int) -> ir.Model:
        for _ in range(length):
            self.values.append(self.step())
        return self.drawing.model(*self.values[-2:])

    def any_value(self) -> ir.Value:
        """Late ones more often: long chains."""
        return self.values[-1 - min(int(self.random.exponential(1.5)), len(self.values) - 1)]

    def step(self) -> ir.Value:
        kinds = [self.transform, self.filter, self.linear, self.linear, self.binary, self.unary, self.rolled, self.root]
        return kinds[self.random.integers(len(kinds))]()

    def transform(self) -> ir.Value:
        return self.drawing.add("MatMul", cosine_matrix(ROWS), self.any_value(), **SIZE)

    def filter(self) -> ir.Value:
        shape = [(ROWS, WIDTH), (ROWS, 1), (1, ROWS, 1), (WIDTH,), ()][self.random.integers(5)]
        return self.drawing.add("Mul", self.random.normal(size=shape), self.any_value(), **SIZE)

    def linear(self) -> ir.Value:
        self.linear_inputs.append(self.any_value())
        return self.drawing.add("MatMul", self.linear_inputs[-1], WEIGHT, **SIZE)

    def binary(self) -> ir.Value:
        kind = ["Add", "Sub", "Mul"][self.random.integers(3)]
        return self.drawing.add(kind, self.any_value(), self.any_value(), **SIZE)

    def unary(self) -> ir.Value:
        return self.drawing.add(
            ["Relu", "Abs", "Neg", "Tanh", "Sigmoid"][self.random.integers(5)], self.any_value(), **SIZE
        )

    def rolled(self) -> ir.Value:
        """Rows cut in two and joined the other way round, sometimes with those of another value."""
        cut = int(self.random.integers(1, ROWS))
        one = self.any_value()
        other = one if self.random.random() < 0.5 else self.any_value()
        tail = self.drawing.add("Slice", one, *map(_index, (cut, ROWS, 1)), rows=ROWS - cut, width=WIDTH)
        head = self.drawing.add("Slice", other, *map(_index, (0, cut, 1)), rows=cut, width=WIDTH)
        return self.drawing.add("Concat", tail, head, axis=1, **SIZE)

    def root(self) -> ir.Value:
        """sqrt(x x + y y)."""
        squares = []
        for value in (self.any_value(), self.any_value()):
            squares.append(self.drawing.add("Mul", value, value, **SIZE))
        return self.drawing.add("Sqrt", self.drawing.add("Add", *squares, **SIZE), **SIZE)


def _index(number: int) -> np.ndarray:
    return np.array([number])


def test_random_graphs_compute_the_same_bit_for_bit():
    scaled = 0
    for seed in range(150):
        drawn = RandomGraph(seed)
        model = drawn.model(length=2 + seed % 12)
        feeds = smooth_feeds(model, 1, seed)
        names = sorted({str(value.name) for value in drawn.linear_inputs if value is not drawn.drawing.x})
        ranges = row_ranges(model, feeds, names)
        for rows in ranges.values():  # any ranges must do, so make them uneven
            rows *= np.exp2(drawn.random.integers(-6, 7, rows.shape))
        copy = copy_of(model)
        done = equalise(copy, ranges, into_transforms=bool(seed % 2))
        scaled += any((scale < 1).any() for scale in done.scales.values())
        for found, expected in zip(outputs_of(copy, feeds), outputs_of(model, feeds), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}")
    assert scaled > 40
