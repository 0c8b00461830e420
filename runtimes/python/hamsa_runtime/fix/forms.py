"""A DFT or STFT node as products: how the axes are laid out for them, and what they are laid out as afterwards.

DFT, along an axis with samples before and columns behind it, (..before, n, ..after, p):

rows       nothing behind: (..before, n p) @ (n p, 2 h), one dense product, whose result is in its place
columns    many behind: (2 h, n p) @ (..before, n p, after)
front      few behind: all other axes are moved behind, so that each step is one wide product

STFT: one convolution of the signal with a window times cosines and sines, with the step as its stride; or, where the
frames are long, frames cut out in blocks (of `frame_step` samples) and the steps of a plan. Both take any number of
samples. Reshape's 0 stands for a size as it is, so that any of them may be dynamic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hamsa_runtime.dft.costs import CPU, Rates, nanoseconds
from hamsa_runtime.dft.factorisations import MOST_PIECES, USUAL_COLUMNS, Plan, best, candidates, framed_work, pieces
from hamsa_runtime.fix.emission import Nodes
from hamsa_runtime.fix.operators import Dft, Shape, Stft
from hamsa_runtime.fix.products import signal, signal_matrix, spectrum, spectrum_matrix

# Columns of a product from which on a batch of products is not slower than one, with the axes moved for it.
MANY_COLUMNS = 16
# Of Slice, for all that is left.
END = 2**62


@dataclass(frozen=True)
class Window:
    """What multiplies the samples of each frame.

    Attributes:
        value: in the graph.
        array: its numbers, where they are known.
    """

    value: ir.Value
    array: np.ndarray | None


def products_of(nodes: Nodes, operator: Dft | Stft, plan: Plan, x: ir.Value, window: Window | None = None) -> ir.Value:
    """Add the nodes that compute what an operator computes; its output.

    Args:
        nodes: of `working_type(operator.dtype)`.
        plan: from `plan_of`.
        x, window: the operator's inputs.
    """
    is_narrow = nodes.dtype != operator.dtype
    if is_narrow:
        x = nodes.cast(x, nodes.dtype)
    result = _dft(nodes, operator, plan, x) if isinstance(operator, Dft) else _stft(nodes, operator, plan, x, window)
    return nodes.cast(result, operator.dtype) if is_narrow else result


def working_type(dtype: ir.DataType) -> ir.DataType:
    """What the products compute in: sums of 16-bit numbers lose too much."""
    return dtype if dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT


def plan_of(operator: Dft | Stft, rates: Rates = CPU, given: Plan | None = None) -> Plan:
    """The plan for a length; of frames, dense stands for the convolution.

    Args:
        rates: what computing costs: they choose.
        given: another choice.
    """
    n = operator.length
    if isinstance(operator, Stft) and pieces(n, operator.step) > MOST_PIECES:
        return Plan(n, (n,))
    if given is not None:
        return given
    works = {
        each: framed_work(each, operator.step) if isinstance(operator, Stft) else each.work for each in candidates(n)
    }
    columns = columns_of(operator) or USUAL_COLUMNS
    return best({each: nanoseconds(work, rates, columns) for each, work in works.items()})


def columns_of(operator: Dft | Stft) -> int | None:
    """How many real signals are transformed at once, as far as that is known: the batch counts as one. None for frames
    whose number varies."""
    if isinstance(operator, Stft):
        _, samples, parts = operator.shape
        return None if samples is None else ((samples - operator.length) // operator.step + 1) * (parts or 1)
    known = [size for axis, size in enumerate(operator.shape) if axis not in (0, operator.axis) and size is not None]
    return max(1, math.prod(known))


def _dft(nodes: Nodes, dft: Dft, plan: Plan, x: ir.Value) -> ir.Value:
    given, to_signal = x, dft.inverse and dft.onesided
    x, samples = _cropped(nodes, dft, x, dft.length // 2 + 1 if to_signal else dft.length)
    parts, after = dft.shape[-1] or 1, dft.shape[dft.axis + 1 : -1]
    if plan.is_dense and all(size == 1 for size in after):
        return _in_rows(nodes, dft, x, samples)
    columns = math.prod(MANY_COLUMNS if size is None else size for size in after)
    in_front = dft.axis > 0 and columns < MANY_COLUMNS
    lead = () if in_front else (0,) * dft.axis
    x = nodes.reshape(nodes.transpose(x, _order(dft, in_front, parts)), (*lead, samples * parts, -1))
    if to_signal:
        y, sizes = signal(nodes, x, lead, plan, samples), (dft.length, 1)
    else:
        frequencies, scale = _frequencies(dft)
        y = spectrum(nodes, x, lead, plan, frequencies, samples=samples, parts=parts, scale=scale)
        sizes = (len(frequencies), 2)
    order = _order(dft, in_front, sizes[1])
    y = _unfolded(nodes, y, given, [*dft.shape[: dft.axis], sizes[0], *after, sizes[1]], order, len(lead))
    return nodes.transpose(y, [order.index(axis) for axis in range(len(order))])


def _order(dft: Dft, in_front: bool, parts: int) -> list[int]:
    """The axis of the transform in front of all others or where it is; the two parts of its numbers right behind it."""
    last = len(dft.shape) - 1
    others = [axis for axis in range(last) if axis != dft.axis]
    before = [] if in_front else others[: dft.axis]
    inner = [last, *others[len(before) :]] if parts > 1 else [*others[len(before) :], last]
    return [*before, dft.axis, *inner]


def _unfolded(
    nodes: Nodes, y: ir.Value, given: ir.Value, shape: Shape | list[int | None], order: Sequence[int], lead: int
) -> ir.Value:
    """From (lead, rows, columns) to all axes, in an order of them; the first few are as they are."""
    sizes = [0 if place < lead else shape[axis] for place, axis in enumerate(order)]
    if sizes.count(None) <= 1:
        return nodes.reshape(y, [-1 if size is None else size for size in sizes])
    now = nodes.add("Shape", given)
    pieces_of_it = [
        nodes.add("Gather", now, nodes.integers(axis)) if size is None else nodes.integers(size)
        for size, axis in zip(sizes, order, strict=True)
    ]
    return nodes.add("Reshape", y, nodes.add("Concat", *pieces_of_it, axis=0))


def _in_rows(nodes: Nodes, dft: Dft, x: ir.Value, samples: int) -> ir.Value:
    """One product, with nothing behind the axis."""
    parts, lead = dft.shape[-1] or 1, (0,) * dft.axis
    if dft.inverse and dft.onesided:
        matrix, sizes = signal_matrix(dft.length, samples), (dft.length, 1)
    else:
        frequencies, scale = _frequencies(dft)
        matrix, sizes = scale * spectrum_matrix(dft.length, parts, frequencies, samples), (len(frequencies), 2)
    x = nodes.reshape(x, (*lead, samples * parts))
    y = nodes.add("MatMul", x, nodes.matrix(matrix.T))
    ones = (1,) * (len(dft.shape) - dft.axis - 2)
    return nodes.reshape(y, (*lead, sizes[0], *ones, sizes[1]))


def _frequencies(dft: Dft) -> tuple[np.ndarray, float]:
    """Those of the result, and what multiplies it: x[t] = X[-t] / n."""
    if dft.inverse:
        return -np.arange(dft.length) % dft.length, 1 / dft.length
    return np.arange(dft.length // 2 + 1 if dft.onesided else dft.length), 1.0


def _cropped(nodes: Nodes, dft: Dft, x: ir.Value, wanted: int) -> tuple[ir.Value, int]:
    """At most as many samples as are wanted, and how many; of a dynamic number so many, with zeros behind them."""
    points = dft.shape[dft.axis]
    if points is not None and points <= wanted:
        return x, points
    if points is None:
        x = nodes.padded(x, len(dft.shape), dft.axis, wanted)
    return nodes.cut(x, dft.axis, 0, wanted), wanted


def _stft(nodes: Nodes, stft: Stft, plan: Plan, x: ir.Value, window: Window | None) -> ir.Value:
    parts, n = stft.shape[2] or 1, stft.length
    frequencies = np.arange(n // 2 + 1 if stft.onesided else n)
    known = np.ones(n) if window is None else window.array
    if plan.is_dense and nodes.dtype == ir.DataType.FLOAT:  # ONNX Runtime has no convolution in double precision
        y = _convolved(nodes, stft, x, frequencies, window, known)
    else:
        frames = _frames(nodes, stft, nodes.transpose(x, [0, 2, 1]))  # (batch, parts, n, frames)
        if window is not None:
            column = nodes.reshape(_in(nodes, window, stft), (n, 1)) if known is None else nodes.matrix(known[:, None])
            frames = nodes.add("Mul", frames, column)
        frames = nodes.reshape(nodes.transpose(frames, [0, 2, 1, 3]), (0, n * parts, -1))
        y = spectrum(nodes, frames, (0,), plan, frequencies, samples=n, parts=parts)
    return nodes.reshape(nodes.transpose(y, [0, 2, 1]), (0, 0, len(frequencies), 2))


def _in(nodes: Nodes, window: Window, stft: Stft) -> ir.Value:
    """A window that the graph computes, in the type of the products; it comes in that of the signal."""
    return window.value if stft.dtype == nodes.dtype else nodes.cast(window.value, nodes.dtype)


def _convolved(
    nodes: Nodes, stft: Stft, x: ir.Value, frequencies: np.ndarray, window: Window | None, known: np.ndarray | None
) -> ir.Value:
    """(batch, 2 h, frames), by kernels (2 h, parts, n)."""
    parts, n = stft.shape[2] or 1, stft.length
    matrix = spectrum_matrix(n, parts, frequencies, n).reshape(-1, n, parts).transpose(0, 2, 1)
    kernel = nodes.matrix(matrix if known is None else matrix * known)
    if known is None and window is not None:
        kernel = nodes.add("Mul", kernel, _in(nodes, window, stft))
    return nodes.add("Conv", nodes.transpose(x, [0, 2, 1]), kernel, strides=[stft.step], kernel_shape=[n])


def _frames(nodes: Nodes, stft: Stft, x: ir.Value) -> ir.Value:
    """(batch, parts, samples) to (batch, parts, n, frames): slices of a tensor of blocks, side by side."""
    hop, n = stft.step, stft.length
    touched = pieces(n, hop)
    blocks = nodes.reshape(_whole_blocks(nodes, stft, x, touched * hop - n), (0, 0, -1, hop))
    blocks = nodes.transpose(blocks, [0, 1, 3, 2])
    slices = [nodes.cut(blocks, 3, j, j + 1 - touched) for j in range(touched - 1)]
    slices.append(nodes.cut(blocks, 3, touched - 1, END) if slices else blocks)
    rest = n - (touched - 1) * hop
    if rest < hop:
        slices[-1] = nodes.cut(slices[-1], 2, 0, rest)
    return slices[0] if touched == 1 else nodes.add("Concat", *slices, axis=2)


def _whole_blocks(nodes: Nodes, stft: Stft, x: ir.Value, missing: int) -> ir.Value:
    """The samples of the frames and the zeros that complete the last block; samples behind it are cut off."""
    if missing:
        x = nodes.padded(x, 3, 2, missing)
    if stft.shape[1] is not None:
        length = stft.shape[1] + missing
        end = length // stft.step * stft.step
        return x if end == length else nodes.cut(x, 2, 0, end)
    hop = nodes.integers(stft.step)
    length_now = nodes.add("Gather", nodes.add("Shape", x), nodes.integers(2))
    return nodes.cut(x, 2, 0, nodes.add("Mul", nodes.add("Div", length_now, hop), hop))


def output_shape(operator: Dft | Stft) -> Shape:
    """Of the node's output; None for what is dynamic."""
    if isinstance(operator, Stft):
        batch, samples, _ = operator.shape
        frames = None if samples is None else (samples - operator.length) // operator.step + 1
        return batch, frames, operator.length // 2 + 1 if operator.onesided else operator.length, 2
    shape = list(operator.shape)
    half = operator.onesided and not operator.inverse
    shape[operator.axis] = operator.length // 2 + 1 if half else operator.length
    shape[-1] = 1 if operator.onesided and operator.inverse else 2
    return tuple(shape)
