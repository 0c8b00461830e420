"""Small ONNX graphs drawn by hand: values of shape (batch, rows, channels), operators one after the other."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

FLOAT = ir.DataType.FLOAT


class Drawing:
    """Adds nodes; `graph` closes it."""

    def __init__(self, *shape: int) -> None:
        self.x = ir.val("x", FLOAT, ["batch", *shape])
        self.nodes: list[ir.Node] = []
        self.constants: list[ir.Value] = []

    def constant(self, array: np.ndarray) -> ir.Value:
        """A float32 or int64 initialiser."""
        array = array if array.dtype == np.int64 else array.astype(np.float32)
        tensor = ir.tensor(array, name=f"c{len(self.constants)}")
        value = ir.Value(
            name=tensor.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
        )
        self.constants.append(value)
        return value

    def add(
        self, kind: str, *inputs: ir.Value | np.ndarray, rows: int, width: int, **attributes: int | list[int]
    ) -> ir.Value:
        """An operator with one output of (batch, rows, width)."""
        values = [self.constant(value) if isinstance(value, np.ndarray) else value for value in inputs]
        node = ir.node(kind, values, attributes or None, name=f"node_{len(self.nodes)}")
        value = node.outputs[0]
        value.name, value.type = f"v{len(self.nodes)}", ir.TensorType(FLOAT)
        value.shape = ir.Shape(["batch", rows, width])
        self.nodes.append(node)
        return value

    def model(self, *outputs: ir.Value) -> ir.Model:
        graph = ir.Graph(
            [self.x],
            list(outputs),
            nodes=self.nodes,
            initializers=self.constants,
            opset_imports={"": 20},
            name="drawn",
        )
        return ir.Model(graph, ir_version=10)


def cosine_matrix(n: int) -> np.ndarray:
    """The orthonormal cosine transform (DCT-II)."""
    k, t = np.arange(n)[:, None], np.arange(n)[None, :]
    return np.cos(np.pi * k * (t + 0.5) / n) * np.where(k == 0, 1, np.sqrt(2)) / np.sqrt(n)


def linear_between_transforms(n: int = 32, width: int = 4) -> ir.Model:
    """C^T ((C x) W), with C the cosine transform: v0 = C x, v1 = v0 W, v2 = C^T v1."""
    drawing = Drawing(n, width)
    size = {"rows": n, "width": width}
    weight = np.random.default_rng(0).normal(size=(width, width))
    spectrum = drawing.add("MatMul", cosine_matrix(n), drawing.x, **size)
    mixed = drawing.add("MatMul", spectrum, weight, **size)
    return drawing.model(drawing.add("MatMul", cosine_matrix(n).T, mixed, **size))
