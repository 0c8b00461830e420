"""Random ONNX graphs of the operators through which scales flow, and of some that stop them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .drawing import Drawing, cosine_matrix

ROWS, WIDTH = 12, 3
SIZE = {"rows": ROWS, "width": WIDTH}
WEIGHT = np.random.default_rng(5).normal(size=(WIDTH, WIDTH))


def spectrum_of(drawing: Drawing) -> ir.Value:
    return drawing.add("MatMul", cosine_matrix(ROWS), drawing.x, **SIZE)


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
        kinds += [self.bias, self.layer_normalization]
        return kinds[self.random.integers(len(kinds))]()

    def transform(self) -> ir.Value:
        return self.drawing.add("MatMul", cosine_matrix(ROWS), self.any_value(), **SIZE)

    def filter(self) -> ir.Value:
        shape = [(ROWS, WIDTH), (ROWS, 1), (1, ROWS, 1), (WIDTH,), ()][self.random.integers(5)]
        return self.drawing.add("Mul", self.random.normal(size=shape), self.any_value(), **SIZE)

    def linear(self) -> ir.Value:
        self.linear_inputs.append(self.any_value())
        return self.drawing.add("MatMul", self.linear_inputs[-1], WEIGHT, **SIZE)

    def bias(self) -> ir.Value:
        shape = [(WIDTH,), (ROWS, WIDTH), ()][self.random.integers(3)]
        sides: list[ir.Value | np.ndarray] = [self.any_value(), self.random.normal(size=shape)]
        if self.random.random() < 0.5:
            sides.reverse()
        return self.drawing.add(["Add", "Sub"][self.random.integers(2)], *sides, **SIZE)

    def layer_normalization(self) -> ir.Value:
        affine = [self.random.normal(size=WIDTH) for _ in range(self.random.integers(1, 3))]
        return self.drawing.add("LayerNormalization", self.any_value(), *affine, **SIZE)

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
