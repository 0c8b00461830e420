"""Which value of an ONNX graph is what a module of the user's model returned.

The nodes' metadata say which module each belongs to. A module's output is a value that its nodes, or those of modules
inside it, compute, and that is used outside. It must have the shape of the tensor in PyTorch, or hold the same numbers
in the same order under another shape, or with axes exchanged. Half spectra, and pairs of real and imaginary parts, have
no such value: modules that return these are listed as not comparable.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hamsa_deploy.parity.layers.distance import relative_error
from hamsa_deploy.parity.layers.module_values import ModuleValue

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
INPUT = "input"  # the row of what the model is given
# And what a preprocessing may do besides, such as an exchange of channels.
OF_NORMALISATION = frozenset("Cast Transpose Mul Add Sub Div Gather Slice Reshape Squeeze Unsqueeze Identity".split())


@dataclass(frozen=True)
class Match:
    """A value of the graph that stands for tensors in PyTorch.

    Attributes:
        names: of the `ModuleValue`s, the innermost module's first.
        value: name in the graph.
        axes: the order of the tensor's axes that the value has them in.
    """

    names: tuple[str, ...]
    value: str
    axes: tuple[int, ...]

    def in_graph(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The tensor of PyTorch as the graph has it."""
        return array.transpose(self.axes).reshape(shape)


@dataclass(frozen=True)
class Matching:
    """All matches in the order in which the graph computes them, and why the other tensors have none."""

    matches: tuple[Match, ...]
    not_comparable: Mapping[str, str]


def module_of(node: ir.Node | None) -> str:
    """Path of the module that a node belongs to; empty for the model itself."""
    return "" if node is None else node.metadata_props.get("module", "")


def candidates_of(graph: ir.Graph) -> dict[str, list[str]]:
    """For each module path the values that leave it, in order; for the model itself the graph's outputs; for INPUT
    what the model is given."""
    leaving: dict[str, list[str]] = defaultdict(list)
    outputs = {id(value) for value in graph.outputs}
    for node in graph:
        for value in node.outputs:
            if value.dtype in FLOATS:
                for path in _left_by(value, id(value) in outputs):
                    _add(leaving[path], _before_casts(value, path))
    leaving[""] = [str(value.name) for value in graph.outputs]
    leaving[INPUT] = list(_given_to_model(graph))
    return dict(leaving)


def matching_of(
    values: Iterable[ModuleValue], candidates: Mapping[str, Sequence[str]], found: Mapping[str, np.ndarray]
) -> Matching:
    """Pair tensors with values.

    Args:
        values: of the reference, for some inputs.
        candidates: see `candidates_of`.
        found: what the graph computes for the same inputs, at least all candidates, in order of computation.
    """
    by_path: dict[str, list[ModuleValue]] = defaultdict(list)
    for value in values:
        by_path[value.path].append(value)
    names: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    missing: dict[str, str] = {}
    for path, tensors in by_path.items():
        for tensor, names_there in zip(tensors, _shared_out(path, tensors, candidates.get(path, [])), strict=True):
            best = _best(tensor.array, {name: found[name] for name in names_there if name in found})
            if best is None:
                missing[tensor.name] = _reason(tensor, [found[name] for name in names_there if name in found])
            else:
                names[best].append(tensor.name)
    order = {name: index for index, name in enumerate(found)}
    pairs = sorted(names.items(), key=lambda pair: order[pair[0][0]])
    # The reference reports inner modules first.
    return Matching(tuple(Match(tuple(names), value, axes) for (value, axes), names in pairs), missing)


def _left_by(value: ir.Value, is_output: bool) -> Iterator[str]:
    """Paths of the modules that the value is computed in and that do not hold all of its users."""
    users = [module_of(node) for node, _ in value.uses()]
    path = module_of(value.producer())
    while path:
        if is_output or any(user != path and not user.startswith(f"{path}.") for user in users):
            yield path
        path = path.rpartition(".")[0]


def _before_casts(value: ir.Value, path: str) -> str:
    """A value that only changes its type on the way out: the number itself."""
    node = value.producer()
    while node is not None and node.op_type == "Cast":
        source = node.inputs[0]
        if source is None or source.producer() is None or source.dtype not in FLOATS:
            break
        if not f"{module_of(source.producer())}.".startswith(f"{path}."):
            break
        value, node = source, source.producer()
    return str(value.name)


def _given_to_model(graph: ir.Graph) -> Iterator[str]:
    """The graph's inputs, and what only types, layouts and constants have made of them: a normalisation is no more.
    What the model itself computes from there on is none, though it may look the same."""
    reached = {id(value) for value in graph.inputs}
    for value in graph.inputs:
        if value.dtype in FLOATS:
            yield str(value.name)
    for node in graph:
        given = [value for value in node.inputs if value is not None and not _is_constant(value)]
        if module_of(node) or node.op_type not in OF_NORMALISATION or not all(id(value) in reached for value in given):
            continue
        for value in node.outputs:
            reached.add(id(value))
            if value.dtype in FLOATS:
                yield str(value.name)


def _is_constant(value: ir.Value) -> bool:
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "Constant")


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _shared_out(path: str, tensors: Sequence[ModuleValue], names: Sequence[str]) -> list[Sequence[str]]:
    """Which values each tensor of a module may be: all of them, or one for each call, in order."""
    if path == "":
        return [[name] if (name := tensor.name) in names else [] for tensor in tensors]
    if len(tensors) == 1 or len(tensors) != len(names):
        return [names] * len(tensors) if len(tensors) == 1 else [[]] * len(tensors)
    return [[name] for name in names]


def _best(tensor: np.ndarray, found: Mapping[str, np.ndarray]) -> tuple[str, tuple[int, ...]] | None:
    """The value, and the order of axes, that the tensor fits; if several do by their shapes, the closest."""
    fits = [(name, axes) for name, array in found.items() for axes in orders_of_axes(tensor.shape, array.shape)]
    if len(fits) <= 1:
        return fits[0] if fits else None

    def distance(fit: tuple[str, tuple[int, ...]]) -> float:
        name, axes = fit
        error = relative_error(found[name], tensor.transpose(axes).reshape(found[name].shape))
        return error if math.isfinite(error) else math.inf

    return min(fits, key=distance)


def orders_of_axes(shape: Sequence[int], other: Sequence[int]) -> list[tuple[int, ...]]:
    """Orders of a tensor's axes, the batch first, in which it has another shape but for splitting and joining axes."""
    rank = len(shape)
    if rank == 0 or math.prod(shape) != math.prod(other):
        return []
    rotations = {tuple(range(rank))}
    for first, last in itertools.combinations(range(1, rank), 2):
        order = list(range(rank))
        rotations.add(tuple([*order[:first], order[last], *order[first:last], *order[last + 1 :]]))
        rotations.add(tuple([*order[:first], *order[first + 1 : last + 1], order[first], *order[last + 1 :]]))
    return [axes for axes in sorted(rotations) if _splits([shape[axis] for axis in axes], other)]


def _splits(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether one of two shapes comes from the other by splitting axes."""
    ends, others = (set(itertools.accumulate(sizes, lambda a, b: a * b)) for sizes in (shape, other))
    return ends <= others or others <= ends


def _reason(tensor: ModuleValue, found: Sequence[np.ndarray]) -> str:
    shape = list(tensor.array.shape)
    if not found:
        return f"{shape} in PyTorch; no value leaves its nodes, or not one for each of its calls"
    shapes = ", ".join(sorted({str(list(array.shape)) for array in found}))
    return f"{shape} in PyTorch, {shapes} in the graph"
