"""Where a scale can flow in an ONNX graph: which rows of which values must be scaled alike, and what undoes a scale.

A *site* computes a value whose rows can be divided by any s > 0 for free, because a constant takes the factor:

    y = C x        MatMul with a constant on the left, such as a DFT:     row k of C divided by s[k]
    y = K * x      Mul by a constant with rows, such as K_hat:            row k of K divided by s[k]

Both also undo a scale of their input for free: column t of C, or row k of K, times the scale. From a site on, s
flows through what commutes with it:

    linear over channels                x W          -> s
    Slice, Concat, Reshape, ..          rows move    -> s moves with them
    product with something unscaled     x * g        -> s
    sum of two values                   x + y        -> s, where both have the same
    square, root                        x * x, sqrt  -> s^2, s^(1/2): |U| = sqrt(re re + im im) has the s of re and im
    Relu, Abs, Neg                                   -> s

Every entry of a value has a *label*: 0 if it cannot be scaled, otherwise a number that stands for the unknown scale.
Sums tie labels to each other. Labels are arrays that broadcast against the value: of size 1 along the batch, along the
channels, and wherever else the scale is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import constant_of, known_shape
from hamsa_runtime.fix.constants import evaluated

UNSCALED = 0

MOVES_ROWS = {"Concat", "Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
KEEPS_SCALE = {"Abs", "Identity", "LeakyRelu", "Neg", "Relu"}


@dataclass(frozen=True)
class Labels:
    """The scale of a value is scale_of_label[ids] ** power."""

    ids: np.ndarray
    power: float = 1.0


class ScaleFlow:
    """One pass over a graph.

    Args:
        graph: it is left as it is.
        declined: sites that are to stay as they are.
        into_transforms: whether a product with a constant on the left undoes the scale of its input.
    """

    def __init__(self, graph: ir.Graph, declined: Collection[ir.Node] = (), *, into_transforms: bool = True) -> None:
        self.graph, self.declined, self.into_transforms = graph, declined, into_transforms
        self.labels: dict[ir.Value, Labels] = {}
        self.sites: dict[ir.Node, np.ndarray] = {}
        self._follows: set[tuple[ir.Node, int]] = set()
        self._ties: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = UNSCALED + 1
        for node in graph:
            rule = self.rules().get(node.op_type)
            if rule is not None and node.domain == "":
                rule(self, node)

    def rules(self) -> Mapping[str, Rule]:
        """What to do at each operator."""
        return _RULES

    def of(self, value: ir.Value | None) -> Labels | None:
        """The labels of a value, or None if no part of it can be scaled."""
        return None if value is None else self.labels.get(value)

    def put(self, value: ir.Value, labels: Labels | None) -> None:
        if labels is not None and labels.ids.any():
            self.labels[value] = labels

    def follow(self, node: ir.Node, *indices: int) -> None:
        """A rule takes care of the scale of these inputs."""
        self._follows.update((node, index) for index in indices)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        apart = a != b
        self._ties.append((a[apart], b[apart]))

    def open_site(self, node: ir.Node, shape: tuple[int, ...]) -> None:
        """New labels for the output of a node."""
        if node not in self.declined and node.outputs[0].dtype == ir.DataType.FLOAT:
            size = int(np.prod(shape))
            self.sites[node] = np.arange(self._count, self._count + size).reshape(shape)
            self._count += size
            self.put(node.outputs[0], Labels(self.sites[node]))

    @cached_property
    def scale_classes(self) -> np.ndarray:
        """(labels,): equal numbers for labels whose scale must be equal."""
        return _connected(self._count, self._ties)

    @cached_property
    def regions(self) -> np.ndarray:
        """(labels,): equal numbers for labels that meet in one value; a region is scaled as a whole or not at all."""
        meet = [np.unique(labels.ids[labels.ids != UNSCALED]) for labels in self.labels.values()]
        return _connected(self._count, [*self._ties, *((ids[:-1], ids[1:]) for ids in meet)])

    def region_of(self, value: ir.Value) -> int:
        return int(self.regions[self.labels[value].ids.max()])

    def stops(self, value: ir.Value) -> list[tuple[ir.Node, int]]:
        """The uses of a value that no rule takes care of: there its scale must have been undone."""
        return [(node, index) for node, index in value.uses() if (node, index) not in self._follows]

    @cached_property
    def unscaled_from_here(self) -> set[ir.Value]:
        """Values whose scale is not needed any more: all uses stop it, maybe after moving its rows."""
        found: set[ir.Value] = set()
        for value in reversed(list(self.labels)):
            stops = set(self.stops(value))
            moved = [node for node, index in value.uses() if (node, index) not in stops]
            if all(_only_moves(node) and found.issuperset(node.outputs) for node in moved):
                found.add(value)
        return found

    def to_undo(self) -> list[ir.Value]:
        """The values after which one multiplication by the scale is needed."""
        return [value for value in self.labels if self._needs_undoing(value)]

    def _needs_undoing(self, value: ir.Value) -> bool:
        node = value.producer()
        if node is not None and _only_moves(node) and node.inputs[0] in self.unscaled_from_here:
            return False
        is_output = value in self.graph.outputs
        return bool(self.stops(value)) or is_output or (value in self.unscaled_from_here and bool(value.uses()))

    def sites_outside(self, regions: Collection[int]) -> set[ir.Node]:
        """Sites that belong to other regions."""
        return {node for node, ids in self.sites.items() if int(self.regions[ids.max()]) not in regions}


Rule = Callable[[ScaleFlow, ir.Node], None]


def _only_moves(node: ir.Node) -> bool:
    return node.op_type in MOVES_ROWS and node.op_type != "Concat"


def _connected(count: int, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(count,): the smallest number in the connected component of each number."""
    root = np.arange(count)
    if not pairs:
        return root
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    while (root[a] != root[b]).any():
        low = np.minimum(root[a], root[b])
        np.minimum.at(root, root[a], low)
        np.minimum.at(root, root[b], low)
        while (root != root[root]).any():
            root = root[root]
    return root


def _matmul(flow: ScaleFlow, node: ir.Node) -> None:
    left, right = constant_of(node.inputs[0]), constant_of(node.inputs[1])
    if left is not None and left.ndim >= 2:
        _transform(flow, node, left)
    elif right is not None and right.ndim == 2:
        _linear(flow, node)


def _transform(flow: ScaleFlow, node: ir.Node, matrix: np.ndarray) -> None:
    """C x: the rows of C take any new scale, its columns undo that of x."""
    labels = flow.of(node.inputs[1])
    if labels is not None and flow.into_transforms and _fits(labels.ids, (*matrix.shape[:-2], matrix.shape[-1], 1)):
        flow.follow(node, 1)
    flow.open_site(node, (*matrix.shape[:-1], 1))


def _linear(flow: ScaleFlow, node: ir.Node) -> None:
    """x W: commutes with a scale that is the same for all channels."""
    labels = flow.of(node.inputs[0])
    if labels is not None and labels.ids.ndim > 1 and labels.ids.shape[-1] == 1:
        flow.follow(node, 0)
        flow.put(node.outputs[0], labels)


def _mul(flow: ScaleFlow, node: ir.Node) -> None:
    constants = [constant_of(value) for value in node.inputs]
    if any(constant is not None for constant in constants):
        _constant_product(flow, node, 0 if constants[0] is not None else 1)
        return
    product(flow, node)


def product(flow: ScaleFlow, node: ir.Node) -> None:
    """The square of a value, or its product with something unscaled."""
    a, b = (flow.of(value) for value in node.inputs)
    if node.inputs[0] is node.inputs[1] and a is not None:
        flow.follow(node, 0, 1)
        flow.put(node.outputs[0], Labels(a.ids, 2 * a.power))
    elif (a is None) != (b is None):
        flow.follow(node, 0 if b is None else 1)
        flow.put(node.outputs[0], a if b is None else b)


def _constant_product(flow: ScaleFlow, node: ir.Node, place: int) -> None:
    """K * x: a K with rows takes any new scale and undoes that of x; one without commutes."""
    constant, x = constant_of(node.inputs[place]), flow.of(node.inputs[1 - place])
    assert constant is not None
    if x is not None:
        flow.follow(node, 1 - place)
    if has_rows(constant):
        flow.open_site(node, (*constant.shape[:-1], 1))
    else:
        flow.put(node.outputs[0], x)


def has_rows(constant: np.ndarray) -> bool:
    """Whether a constant differs along more than the channels."""
    return any(size > 1 for size in constant.shape[:-1])


def sum_of_equals(flow: ScaleFlow, node: ir.Node) -> None:
    """Sum or difference of two values with the same scale."""
    a, b = (flow.of(value) for value in node.inputs)
    if a is None or b is None or a.power != b.power or not (a.ids.all() and b.ids.all()):
        return
    ids, others = np.broadcast_arrays(a.ids, b.ids)
    flow.tie(ids, others)
    flow.follow(node, 0, 1)
    flow.put(node.outputs[0], Labels(ids, a.power))


def _root(flow: ScaleFlow, node: ir.Node) -> None:
    labels = flow.of(node.inputs[0])
    if labels is not None:
        flow.follow(node, 0)
        flow.put(node.outputs[0], Labels(labels.ids, labels.power / 2))


def _same(flow: ScaleFlow, node: ir.Node) -> None:
    flow.follow(node, 0)
    flow.put(node.outputs[0], flow.of(node.inputs[0]))


def _move(flow: ScaleFlow, node: ir.Node) -> None:
    """The operator itself, applied to the labels."""
    moved = len(node.inputs) if node.op_type == "Concat" else 1
    known = [labels for labels in map(flow.of, node.inputs[:moved]) if labels is not None]
    if not known or len({labels.power for labels in known}) > 1:
        return
    arrays = [_spread(flow.of(value), value) for value in node.inputs[:moved]]
    arrays += [constant_of(value) for value in node.inputs[moved:] if value is not None]
    if any(array is None for array in arrays) or None in node.inputs:
        return
    results = evaluated(node, [array for array in arrays if array is not None])
    if all(ids.shape == known_shape(value) for ids, value in zip(results, node.outputs, strict=True)):
        flow.follow(node, *range(moved))
        for ids, value in zip(results, node.outputs, strict=True):
            flow.put(value, Labels(_gathered(ids), known[0].power))


def _spread(labels: Labels | None, value: ir.Value | None) -> np.ndarray | None:
    """One label for each entry, or None where the shape is not known."""
    shape = None if value is None else known_shape(value)
    if shape is None:
        return None
    ids = np.zeros((), dtype=np.int64) if labels is None else labels.ids
    return np.broadcast_to(ids, shape) if _fits(ids, shape) else None


def _gathered(ids: np.ndarray) -> np.ndarray:
    """Size 1 along every axis along which the labels are the same."""
    for axis in range(ids.ndim):
        first = np.take(ids, [0], axis)
        if (ids == first).all():
            ids = first
    return ids


def _fits(ids: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether labels broadcast to a shape, apart from leading axes of size 1."""
    extra = ids.ndim - len(shape)
    if any(size != 1 for size in ids.shape[: max(extra, 0)]):
        return False
    sizes = zip(reversed(ids.shape), reversed(shape), strict=False)
    return all(size in (1, whole) for size, whole in sizes)


COMMON_RULES: dict[str, Rule] = {
    "Sqrt": _root,
    **dict.fromkeys(MOVES_ROWS, _move),
    **dict.fromkeys(KEEPS_SCALE, _same),
}
_RULES: dict[str, Rule] = {
    **COMMON_RULES,
    "MatMul": _matmul,
    "Mul": _mul,
    "Add": sum_of_equals,
    "Sub": sum_of_equals,
}
