"""What can be said about a value that differs from its reference: from its numbers, and from the nodes that made it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import constant_of
from hamsa_deploy.parity.layers.distance import relative_error

FLOAT16_LARGEST = 65504.0
# A finding explains a difference if it leaves at most this share of it.
EXPLAINED = 0.1
LONGEST_ORDER = 4096


def finding_about(found: np.ndarray, expected: np.ndarray) -> str:
    """Not finite, a factor, another order, or nothing but the size of the difference."""
    bad = int((~np.isfinite(found)).sum())
    if bad:
        largest = float(np.abs(expected).max())
        beyond = f", beyond float16's {FLOAT16_LARGEST:.0f}" if largest > FLOAT16_LARGEST else ""
        return f"{bad} of {found.size} values are NaN or infinite, where the reference reaches {largest:.3g}{beyond}"
    error = relative_error(found, expected)
    return _order(found, expected, error) or _factor(found, expected, error) or f"the values differ by {error:.2g}"


def _factor(found: np.ndarray, expected: np.ndarray, error: float) -> str:
    power = float((expected.astype(np.float64) ** 2).sum())
    gain = float((found.astype(np.float64) * expected).sum()) / power if power else 0.0
    left = relative_error(found, gain * expected) * abs(gain)
    return f"the values are {gain:.3g} times the reference's" if gain and left <= EXPLAINED * error else ""


def _order(found: np.ndarray, expected: np.ndarray, error: float) -> str:
    """The values of the reference in another order along one axis."""
    for axis, size in list(enumerate(found.shape))[1:]:
        if not 1 < size <= LONGEST_ORDER:
            continue
        a, b = (np.moveaxis(array, axis, 0).reshape(size, -1).astype(np.float64) for array in (found, expected))
        distances = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
        order = distances.argmin(axis=1)
        if sorted(order) == list(range(size)) and relative_error(a, b[order]) <= EXPLAINED * error:
            shown = ", ".join(map(str, order[:10])) + (", .." if size > 10 else "")
            return f"the values are the reference's in another order along axis {axis}: {shown}"
    return ""


def changed_constants(node: ir.Node, original: ir.Node) -> str:
    """Constants of a node that are not those of the node that it was made from, if both have them in one type."""
    return "; ".join(_changes(node, original))


def _changes(node: ir.Node, original: ir.Node) -> Iterator[str]:
    for value, before in zip(node.inputs, original.inputs, strict=False):
        numbers, were = constant_of(value), constant_of(before)
        if value is None or numbers is None or were is None or numbers.shape != were.shape:
            continue
        tolerance = 2 * np.finfo(numbers.dtype).eps if np.issubdtype(numbers.dtype, np.floating) else 0
        difference = np.abs(numbers.astype(np.float64) - were)
        changed = int((difference > tolerance * np.abs(were)).sum())
        if changed:
            share = f"{changed} of {numbers.size} numbers"
            yield f"its constant {value.name} differs in {share}, by up to {difference.max():.2g}"
