"""Small ONNX files with Fourier transforms in them, as others write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


def scalar(name: str, value: int) -> onnx.TensorProto:
    """A constant scalar for an input such as `axis`."""
    return helper.make_tensor(name, INT64, [], [value])


def graph_model(
    nodes: list[onnx.NodeProto],
    shape: list[int | str],
    outputs: int | list[Any] = 4,
    *,
    constants: list[onnx.TensorProto] | None = None,
    opset: int = 20,
    dtype: int = DOUBLE,
) -> onnx.ModelProto:
    """A model from the input `x` to the output `y`, whose rank (or shape) is `outputs`."""
    y_shape = [None] * outputs if isinstance(outputs, int) else outputs
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, y_shape)],
        constants or [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def dft_model(
    shape: list[int | str],
    *,
    axis: int | None = None,
    length: int | None = None,
    inverse: int = 0,
    onesided: int = 0,
    opset: int = 20,
    dtype: int = DOUBLE,
) -> onnx.ModelProto:
    """One DFT node, called `spectrum`; None leaves an input or attribute to its default."""
    constants = [] if length is None else [scalar("length", length)]
    inputs = ["x", "" if length is None else "length"]
    attributes: dict[str, Any] = {"inverse": inverse, "onesided": onesided}
    if axis is not None and opset >= 20:
        inputs.append("axis")
        constants.append(scalar("axis", axis))
    elif axis is not None:
        attributes["axis"] = axis
    node = helper.make_node("DFT", inputs, ["y"], name="spectrum", **attributes)
    return graph_model([node], shape, len(shape), constants=constants, opset=opset, dtype=dtype)


def numpy_dft(x: np.ndarray, axis: int, length: int | None, inverse: int, onesided: int) -> np.ndarray:
    """What the DFT operator is defined as, by numpy.fft in float64; `axis` counts all of x's dimensions."""
    x = x.astype(np.float64)
    value = x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]
    axis = axis % x.ndim
    forward, back = (np.fft.fft, np.fft.rfft), (np.fft.ifft, np.fft.irfft)
    transform: Any = (back if inverse else forward)[onesided]
    result = transform(value, n=length, axis=axis)
    return np.stack([result.real, result.imag], axis=-1) if np.iscomplexobj(result) else result[..., None]


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The path of the model, written."""
    onnx.save(model, folder / name)
    return folder / name
