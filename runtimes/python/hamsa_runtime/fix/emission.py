"""Nodes that stand in for one node of an ONNX graph: made in order, their constants stored once for the whole model."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

Attribute = int | Sequence[int]


class Constants:
    """New initializers of a model; equal ones are stored once.

    Args:
        taken: names that the model has already.
    """

    def __init__(self, taken: Collection[str]) -> None:
        self._taken = set(taken)
        self._stored: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    @property
    def values(self) -> list[ir.Value]:
        """All that were asked for, in that order."""
        return list(self._stored.values())

    def add(self, array: np.ndarray, name: str) -> ir.Value:
        """The initializer that holds an array; `name` is made unique."""
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._stored:
            tensor = ir.tensor(np.asarray(array, order="C"), name=self.unused(name))
            kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
            self._stored[key] = ir.Value(name=tensor.name, type=kind, shape=shape, const_value=tensor)
        return self._stored[key]

    def unused(self, name: str) -> str:
        """A name like this one that nothing in the model has."""
        candidate, number = name, 1
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        return candidate


class Nodes:
    """The nodes for one place.

    Args:
        constants: where theirs go.
        prefix: of the names of nodes and of what they compute.
        dtype: of the numbers that they compute with.
    """

    def __init__(self, constants: Constants, prefix: str, dtype: ir.DataType) -> None:
        self._constants, self._prefix, self.dtype = constants, prefix, dtype
        self.made: list[ir.Node] = []

    def add(self, kind: str, *inputs: ir.Value | None, **attributes: Attribute) -> ir.Value:
        """The output of a new node."""
        node = ir.node(kind, inputs, attributes, name=self._constants.unused(f"{self._prefix}/{kind}"))
        node.outputs[0].name = node.name
        self.made.append(node)
        return node.outputs[0]

    def matrix(self, array: np.ndarray) -> ir.Value:
        """A constant to compute with, rounded from float64 once."""
        return self._constants.add(array.astype(self.dtype.numpy()), "fourier_matrix")

    def integers(self, *numbers: int) -> ir.Value:
        """A constant vector, for shapes and positions."""
        return self._constants.add(np.array(numbers, dtype=np.int64), "fourier_sizes")

    def integer(self, number: int) -> ir.Value:
        """A constant number: Gather by it drops the axis."""
        return self._constants.add(np.array(number, dtype=np.int64), "fourier_part")

    def positions(self, array: np.ndarray) -> ir.Value:
        """A constant vector of many positions."""
        return self._constants.add(array.astype(np.int64), "fourier_order")

    def cast(self, x: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Of another type."""
        return self.add("Cast", x, to=int(dtype))

    def reshape(self, x: ir.Value, sizes: Sequence[int]) -> ir.Value:
        """0 stands for the size that is there, -1 for what is left."""
        return self.add("Reshape", x, self.integers(*sizes))

    def transpose(self, x: ir.Value, order: Sequence[int]) -> ir.Value:
        """The axes in another order; nothing where that is the same."""
        return x if list(order) == list(range(len(order))) else self.add("Transpose", x, perm=list(order))

    def padded(self, x: ir.Value, rank: int, axis: int, more: int) -> ir.Value:
        """Zeros behind the end of an axis."""
        ends = [0] * rank
        ends[axis] = more
        return self.add("Pad", x, self.integers(*[0] * rank, *ends))

    def cut(self, x: ir.Value, axis: int, start: int, end: int | ir.Value) -> ir.Value:
        """Entries start .. end of an axis."""
        last = end if isinstance(end, ir.Value) else self.integers(end)
        return self.add("Slice", x, self.integers(start), last, self.integers(axis))
