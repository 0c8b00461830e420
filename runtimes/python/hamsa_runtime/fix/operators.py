"""ONNX's DFT and STFT nodes: what each computes, as far as the graph says.

DFT, opset 17 (`axis` an attribute, 1 by default) and opset 20 (an input, -2 by default), along one axis of length n,
cropped or zero-padded to dft_length = N:

    forward              X[k] = sum_t x[t] exp(-2 pi i t k / N)
    forward, onesided    the same for k = 0..N/2, x real
    inverse              x[t] = 1/N sum_k X[k] exp(+2 pi i t k / N)
    inverse, onesided    the real x whose half spectrum is X, N = 2 (n - 1) by default

STFT: frames of `frame_length` samples, `frame_step` apart, times a window, then a DFT of each frame.
The last dimension of a signal is 1 (real) or 2 (real and imaginary part).
Source: onnx.ai/onnx/operators, DFT and STFT; the inverse onesided transform is as onnx 1.20 and later word it.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from hamsa_runtime.errors import UnsupportedTransformError
from hamsa_runtime.fix.constants import folded

OPERATORS = ("DFT", "STFT")
STANDARD = ("", "ai.onnx")
AXIS_IS_AN_INPUT = 20  # from this opset on
DTYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
Shape = tuple[int | None, ...]

FIX_SIZES = (
    "give the graph's inputs fixed sizes: hamsa-export takes them with --input 1x3x224x224, and python -m "
    "onnxruntime.tools.make_dynamic_shape_fixed writes them into a file"
)


@dataclass(frozen=True)
class Dft:
    """What one DFT node computes; `axis` counts from 0, None in `shape` is a dynamic dimension.

    Along the axis that is dynamic only where dft_length is given: what is there is cropped or padded to it.
    """

    shape: Shape
    dtype: ir.DataType
    axis: int
    length: int
    inverse: bool
    onesided: bool


@dataclass(frozen=True)
class Stft:
    """What one STFT node computes; with `windowed`, it has a window for a third input."""

    shape: Shape
    dtype: ir.DataType
    step: int
    length: int
    windowed: bool
    onesided: bool


def spectral_nodes(model: ir.Model) -> list[ir.Node]:
    """In the order in which they run, those of subgraphs included, those of functions not."""
    return [node for node in model.graph.all_nodes() if is_spectral(node)]


def is_spectral(node: ir.Node) -> bool:
    """Whether a node is a DFT or STFT of the standard."""
    return node.op_type in OPERATORS and node.domain in STANDARD


def operator_of(node: ir.Node, opset: int) -> Dft | Stft:
    """What a node of type DFT or STFT computes.

    Args:
        node: its input shapes and constants are known as far as shape inference gets.
        opset: of the graph.

    Raises:
        UnsupportedTransformError: names the node, and what is unknown about it or not allowed by the standard.
    """
    return _dft_of(node, opset) if node.op_type == "DFT" else _stft_of(node)


def _dft_of(node: ir.Node, opset: int) -> Dft:
    shape, dtype = _signal_of(node)
    inverse, onesided = (bool(_attribute(node, name, 0)) for name in ("inverse", "onesided"))
    if onesided and inverse != (shape[-1] == 2):
        kind = "an inverse onesided DFT of a real" if inverse else "a onesided DFT of a complex"
        raise _unsupported(node, f"{kind} signal", "a real signal forwards, a complex one backwards")
    axis = _integer(node, 2, "axis", -2) if opset >= AXIS_IS_AN_INPUT else _attribute(node, "axis", 1)
    rank = len(shape)
    if not (-rank <= axis <= -2 or 0 <= axis <= rank - 2):
        raise _unsupported(node, f"axis {axis} of {rank} dimensions", f"{-rank} to -2, or 0 to {rank - 2}")
    points = shape[axis]
    if points is None and _input(node, 1) is None:
        raise _dynamic(node, axis)
    default = points if points is None or not (inverse and onesided) else 2 * (points - 1)
    length = _integer(node, 1, "dft_length", default)
    if length < 1 or points == 0:
        raise _unsupported(node, f"a transform of {points} points to length {length}", "at least 1")
    return Dft(shape, dtype, axis % rank, length, inverse, onesided)


def _stft_of(node: ir.Node) -> Stft:
    shape, dtype = _signal_of(node)
    if len(shape) != 3:
        raise _unsupported(node, f"a signal of {len(shape)} dimensions", "3: batch, samples, and 1 or 2")
    points = shape[1]
    windowed = _input(node, 2) is not None
    window = _shape_of(node, 2) if windowed else None
    default = points if window is None else window[0]
    length = _integer(node, 3, "frame_length", default)
    step = _integer(node, 1, "frame_step", None)
    fits = points is None or length <= points
    if length < 1 or step < 1 or not fits or (window is not None and window != (length,)):
        found = f"frames of {length}, {step} apart, of {points} samples" + (f", window {window}" if window else "")
        raise _unsupported(node, found, "frames within the signal, a step of at least 1, a window as long as a frame")
    onesided = bool(_attribute(node, "onesided", 1))
    if onesided and shape[-1] == 2:
        raise _unsupported(node, "a onesided STFT of a complex signal", "a real signal, or onesided=0")
    return Stft(shape, dtype, step, length, windowed, onesided)


def _signal_of(node: ir.Node) -> tuple[Shape, ir.DataType]:
    shape = _shape_of(node, 0)
    if len(shape) < 2 or shape[-1] not in (1, 2):
        raise _unsupported(node, f"a signal of shape {list(shape)}", "a last dimension of 1 (real) or 2 (complex)")
    value = _input(node, 0)
    assert value is not None
    if value.dtype not in DTYPES:
        raise _unsupported(node, f"a signal of type {value.dtype}", ", ".join(each.name.lower() for each in DTYPES))
    return shape, value.dtype


def _shape_of(node: ir.Node, index: int) -> Shape:
    value = _input(node, index)
    if value is None or value.shape is None:
        raise _unsupported(node, f"input {index} of unknown shape", "a shape that ONNX's shape inference finds")
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _integer(node: ir.Node, index: int, name: str, default: int | None) -> int:
    """A constant scalar input."""
    value = _input(node, index)
    if value is None:
        if default is None:
            raise _unsupported(node, f"no {name}", "a constant")
        return default
    if value.is_graph_input():
        is_default = value.const_value is not None
        raise _unsupported(
            node,
            f"the input {name} is an input of the graph" + (", which has a default only" if is_default else ""),
            "a number that stands in the file",
            "if no caller gives it: onnx_ir.passes.common.RemoveInitializersFromInputsPass()" if is_default else "",
        )
    number = folded(value)
    if number is None or number.size != 1:
        found = f"the input {name} is computed in the graph" if number is None else f"{number.size} numbers for {name}"
        raise _unsupported(node, found, "one number, which follows from constants and fixed sizes", FIX_SIZES)
    return int(number.item())


def _attribute(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    if attribute is not None and attribute.is_ref():
        raise _unsupported(node, f"the attribute {name} is given by a function's caller", "a number")
    return default if attribute is None else attribute.as_int()


def _dynamic(node: ir.Node, axis: int) -> UnsupportedTransformError:
    return _unsupported(
        node,
        f"a transform along axis {axis}, whose length is dynamic",
        "a fixed length: its matrices are constants",
        FIX_SIZES,
    )


def _unsupported(node: ir.Node, found: str, expected: str, fix: str = "") -> UnsupportedTransformError:
    return UnsupportedTransformError(f"{node.op_type} node '{name_of(node)}': {found}", expected=expected, fix=fix)


def name_of(node: ir.Node) -> str:
    """The node's name, or that of its output for a node without one."""
    return node.name or str(node.outputs[0].name)
