"""Which nodes of an ONNX graph float16 cannot hold, and why: its *islands*, which stay in float32.

float16 ends at 65504; its normal numbers begin at 6.1e-5, and below that it loses significant bits until nothing is
left at 3e-8. A node is an island where

- overflow: a value that it takes or computes is too large. Calibration images are a sample, so HEADROOM is kept free;
- underflow: all of a value, or all of a weight, is so small that bits are lost. Here, too, HEADROOM is kept free;
- inside: a sum or a square inside the operator may be too large, although its result is not;
- magnitude: |z| = sqrt(re re + im im), whatever was measured. The squares overflow from |z| = 256 on and have lost all
  bits below 2e-4, and a spectrum reaches from one to the other: no power of two would rescale them all;
- division: by a computed number, a logarithm, and what computes that number. What float16 rounds to 0 would become
  infinite;
- operator: ONNX does not define it for float16;
- state: what a model adds to from call to call;
- scan: steps, decays and states of a recurrence: their errors add up along it;
- length: a DFT of a length that is no power of two, which NVIDIA's FFT has in float32 only (TensorRT 11.2).

Long sums of products need no islands of their own: ONNX Runtime 1.31 computes float16 in float32 on CPUs, and
OpenVINO 2026.4 adds up the products of a MatMul or Conv, a ReduceMean and the statistics of a LayerNormalization in
float32 (by its float16 kernels for AVX512; 400 times 1000, then 400 times -1000, then 3, gives 3 in both). For
LayerNormalization the file itself asks for that, by stash_type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx.defs
import onnx_ir as ir

from hamsa_deploy.precision.observers import Ranges
from hamsa_deploy.spectral.provenance import FLOAT32

LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)

# Other images may reach this many times as far as all calibration images did, or stay this many times below.
HEADROOM = 8.0

# The operand whose zeros become infinite.
DIVISORS = {"Div": 1, "Reciprocal": 0, "Log": 0}
# Operators with a sum inside, or with a sum of squares.
SUMS = {"ReduceMean", "ReduceSum", "GlobalAveragePool"}
QUANTISERS = {"QuantizeLinear", "DequantizeLinear"}
SUMS_OF_SQUARES = {"ReduceL2", "ReduceSumSquare", "LpNormalization", "InstanceNormalization", "GroupNormalization"}


def float32_islands(graph: ir.Graph, ranges: Ranges) -> dict[ir.Node, str]:
    """The nodes that stay in float32, each with its reason, "kind: what was found".

    Args:
        graph: float32, with a dtype and a shape on every value.
        ranges: of all its float32 values, from RANGES.
    """
    reasons: dict[ir.Node, str] = {}
    for node in graph:
        for island, reason in _structural_islands(node):
            reasons.setdefault(island, reason)
    for node in graph:
        reason = _reason_by_range(node, ranges)
        if reason:
            reasons.setdefault(node, reason)
    return {node: reasons[node] for node in graph if node in reasons}


@dataclass(frozen=True)
class Ports:
    """Which inputs and outputs of an operator may be float16. The last one stands for any that follow."""

    inputs: Sequence[bool]
    outputs: Sequence[bool]

    def takes_float16(self, index: int) -> bool:
        return self.inputs[min(index, len(self.inputs) - 1)]

    def gives_float16(self, index: int) -> bool:
        return self.outputs[min(index, len(self.outputs) - 1)]


def ports_of(node: ir.Node) -> Ports:
    """What ONNX says of a node's operator; an operator that it does not know takes no float16."""
    version = None if node.graph is None else node.graph.opset_imports.get(node.domain)
    if version is None or not onnx.defs.has(node.op_type, node.domain):
        return Ports([False], [False])
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    inputs, outputs = (
        ["tensor(float16)" in port.types for port in ports] or [False] for ports in (schema.inputs, schema.outputs)
    )
    return Ports(inputs, outputs)


def _structural_islands(node: ir.Node) -> Iterator[tuple[ir.Node, str]]:
    """Islands around this node that need no measurement."""
    if FLOAT32 in node.metadata_props:
        yield node, node.metadata_props[FLOAT32]
    floats = [index for index, value in enumerate(node.inputs) if value and value.dtype == ir.DataType.FLOAT]
    if floats and not any(map(ports_of(node).takes_float16, floats)):
        yield node, f"operator: ONNX does not define {node.op_type} for float16"
    if node.op_type == "DFT" and not is_power_of_two(dft_length(node)):
        yield node, f"length: {dft_length(node)} is no power of two, and NVIDIA's FFT has no other lengths in float16"
    if node.op_type == "Sqrt":
        yield from ((part, "magnitude: squares have twice the exponents") for part in _magnitude(node))
    if node.op_type in DIVISORS:
        divisor = node.inputs[DIVISORS[node.op_type]]
        if divisor is not None and divisor.const_value is None and divisor.dtype == ir.DataType.FLOAT:
            around = [part for part in (divisor.producer(), node) if part is not None]
            yield from ((part, f"division: float16 would round a small {divisor.name} to 0") for part in around)


def _magnitude(root: ir.Node) -> list[ir.Node]:
    """The nodes of sqrt(re re + im im), or none if this root is not one."""
    total = root.inputs[0].producer() if root.inputs[0] else None
    if total is None or total.op_type != "Add":
        return []
    squares = [value.producer() if value else None for value in total.inputs]
    found = [s for s in squares if s is not None and _is_square(s)]
    return [root, total, *found] if len(found) == len(squares) else []


def _is_square(node: ir.Node) -> bool:
    return node.op_type == "Mul" and node.inputs[0] is node.inputs[1]


def _reason_by_range(node: ir.Node, ranges: Ranges) -> str:
    """Why the numbers that this node meets do not fit; empty if they do."""
    headroom = HEADROOM**2 if _is_square(node) else HEADROOM
    reasons = [
        *(_input_reason(value, ranges) for value in _numbers_of(node)),
        *(_value_reason(value, ranges, headroom) for value in node.outputs),
        _inside_reason(node, ranges),
    ]
    return next(filter(None, reasons), "")


def _numbers_of(node: ir.Node) -> list[ir.Value]:
    """Its inputs but scales, which were chosen for float16 when weights were divided by them."""
    inputs = node.inputs[:1] if node.op_type in QUANTISERS else node.inputs
    return [value for value in inputs if value is not None]


def _input_reason(value: ir.Value, ranges: Ranges) -> str:
    if value.const_value is None:
        return _value_reason(value, ranges, HEADROOM)
    return _weight_reason(value.const_value) if value.dtype == ir.DataType.FLOAT else ""


def _weight_reason(weight: ir.TensorProtocol) -> str:
    magnitudes = np.abs(weight.numpy())
    # Exporters write -Inf into attention masks; float16 has it as well.
    largest = float(magnitudes.max(initial=0.0, where=np.isfinite(magnitudes)))
    return range_reason(f"the weight {weight.name} reaches {largest:.2g}", largest, 1.0)


def _value_reason(value: ir.Value, ranges: Ranges, headroom: float) -> str:
    largest = ranges.get(str(value.name), 0.0)  # values of other types have none
    return range_reason(f"{value.name} reaches {largest:.2g} on the calibration data", largest, headroom)


def range_reason(found: str, largest: float, headroom: float) -> str:
    """Why numbers do not fit into float16; empty if they do.

    Args:
        found: what they are, and how large.
        largest: their largest magnitude; NaN does not fit.
        headroom: how many times larger and smaller they may also become.
    """
    times = f"; {headroom:g} times that is" if headroom != 1 else ","
    part = f"; 1/{headroom:g} of that is" if headroom != 1 else ","
    if not largest * headroom <= LARGEST:
        return f"overflow: {found}{times} beyond float16's {LARGEST:.0f}"
    if 0 < largest < headroom * SMALLEST_NORMAL:
        return f"underflow: {found}{part} below float16's normal numbers, {SMALLEST_NORMAL:.2g}"
    return ""


def _inside_reason(node: ir.Node, ranges: Ranges) -> str:
    """A bound on what the operator computes on the way; it is cheap to be careful with these."""
    if node.op_type == "DFT":
        return _inverse_dft_reason(node, ranges)
    if node.op_type not in SUMS | SUMS_OF_SQUARES or node.inputs[0] is None:
        return ""
    largest, what = HEADROOM * ranges.get(str(node.inputs[0].name), 0.0), "a sum"
    if node.op_type in SUMS_OF_SQUARES:
        largest, what = largest**2, "a sum of squares"
    total = largest * _terms(node)
    return "" if total <= LARGEST else f"inside: {what} may reach {total:.2g}, beyond float16's {LARGEST:.0f}"


def _inverse_dft_reason(node: ir.Node, ranges: Ranges) -> str:
    """An inverse transform divides by n, as a rule behind its sums. Inside an FFT of 2^m points nothing is larger than
    the largest sum: every value there is the mean of two that are made of it."""
    inverse = node.attributes.get("inverse")
    if inverse is None or not inverse.as_int():
        return ""
    total = HEADROOM * dft_length(node) * ranges.get(str(node.outputs[0].name), 0.0)
    return "" if total <= LARGEST else f"inside: a sum may reach {total:.2g}, beyond float16's {LARGEST:.0f}"


def dft_length(node: ir.Node) -> int:
    """How many points a DFT node has, from its input dft_length, which must be a constant."""
    length = node.inputs[1]
    assert length is not None
    assert length.const_value is not None
    return int(length.const_value.numpy())


def is_power_of_two(n: int) -> bool:
    return n & (n - 1) == 0


def _terms(node: ir.Node) -> float:
    """How many numbers each result is computed from; where the result is as large as the input, all of an image."""
    assert node.inputs[0] is not None
    given, result = _size(node.inputs[0]), _size(node.outputs[0])
    return given / result if result < given else given


def _size(value: ir.Value) -> int:
    assert value.shape is not None
    return math.prod(size for size in value.shape if isinstance(size, int))
