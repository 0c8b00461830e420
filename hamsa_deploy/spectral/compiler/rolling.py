"""Python loops over the positions of an axis, which capture unrolls, become one operator again.

    for i, mode in enumerate(modes):  y[..., i] = f(z[..., mode], w[..., i])     ->     y[..., :n] = f(z[..., modes], w)
    torch.stack([f(z[..., i]) for i in range(n)], -1)                            ->     f(z[..., :n])
    torch.stack([f(x[:, i * hop : i * hop + n]) for i in range(m)], 1)           ->     f(x.unfold(-1, n, hop))
    for i, frame in enumerate(frames):  y[:, i * hop : i * hop + n] += f(frame)  ->     y += fold(f(frames))

Every step of such a loop computes the same from one position of each tensor. A chain of writes into one tensor becomes
one write; what is written, and what is stacked, is computed for all steps at once where it consists of operators that
have a form with one axis more (BATCHED), and is stacked where it does not. Fourier blocks of FEDformer are written like
that: 64 modes cost 256 Einsum, 128 ScatterElements and half a minute otherwise.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from hamsa_deploy.spectral.compiler.framing import Added, added_frames, frames_of_slices
from hamsa_deploy.spectral.dispatch import operator_name
from hamsa_deploy.spectral.indexing import takes_all

aten = torch.ops.aten
Node: TypeAlias = Any  # of which PyTorch says that its arguments may be nearly anything

# One node for all steps, the axis along which they are, and its rank.
Rolled: TypeAlias = tuple[Node, int, int]

FEWEST = 3  # steps that are worth it

# Computed position by position, so that a new first axis changes nothing as long as all operands have it in one place.
POINTWISE = {
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.neg.default, aten.abs.default,
    aten.exp.default, aten.tanh.default, aten.relu.default, aten.sigmoid.default, aten.gelu.default, aten._conj.default,
    aten.clone.default, aten.complex.default, aten.view_as_real.default, aten.view_as_complex.default,
    aten.pow.Tensor_Scalar, aten.square.default, aten.sqrt.default, aten.log.default, aten.real.default,
    aten.imag.default,
}  # fmt: skip
TRANSFORMS = {
    aten.fft_fft.default, aten.fft_rfft.default, aten.fft_hfft.default, aten.fft_ifft.default, aten.fft_irfft.default,
}  # fmt: skip
DEFAULTS = (None, -1, None)  # of a transform: length, axis, normalisation
BATCHED = POINTWISE | TRANSFORMS | {
    aten.einsum.default, aten.matmul.default, aten.select.int, aten.slice.Tensor, aten.unsqueeze.default,
}  # fmt: skip


def simplify(module: GraphModule) -> None:
    """What a functional graph computes twice it computes once; writes of all of a tensor are no writes; in place."""
    seen: dict[str, Node] = {}
    for node in module.graph.nodes:
        if node.target is aten.copy.default and _same_kind(*node.args[:2]):
            node.replace_all_uses_with(node.args[1])  # y[..., i] = s, where y says shape and type only
        elif node.op == "call_function" and takes_all(operator_name(node.target), node.args):  # y[:, :, i]
            node.replace_all_uses_with(node.args[1] if node.target is aten.slice_scatter.default else node.args[0])
        elif _writes_nothing(node):  # y[:, a:b] += s ends with it
            node.replace_all_uses_with(node.args[0])
        elif _is_function(node):
            first = seen.setdefault(f"{node.target} {node.args} {node.kwargs}", node)
            if first is not node:
                node.replace_all_uses_with(first)
    module.graph.eliminate_dead_code()


def roll(module: GraphModule) -> None:
    """Replace unrolled loops of a simplified graph, in place."""
    for node in list(module.graph.nodes):
        if node.target is aten.select_scatter.default and (chain := _chain_to(node)):
            _write_at_once(module, chain)
        elif node.target is aten.slice_scatter.default and (added := added_frames(node)) is not None:
            _add_at_once(module, node, added)
        elif node.target is aten.stack.default:
            _stack_at_once(module, node, node.args[0], _dim_of(node))
        elif node.target is aten.cat.default and all(_adds_axis(source, _dim_of(node)) for source in node.args[0]):
            _stack_at_once(module, node, [source.args[0] for source in node.args[0]], _dim_of(node))
        elif node.target is aten.cat.default and all(_has_one(source, _dim_of(node)) for source in node.args[0]):
            _stack_at_once(module, node, node.args[0], _dim_of(node), has_axis=True)
    module.graph.eliminate_dead_code()


def _writes_nothing(node: Node) -> bool:
    """Whether it writes a part of a tensor to where it stands."""
    if node.target is not aten.slice_scatter.default or node.args[1].target is not aten.slice.Tensor:
        return False
    return bool(node.args[1].args == (node.args[0], *node.args[2:]))


def _is_function(node: Node) -> bool:
    """Whether a node's result depends on its arguments alone."""
    op = node.target
    if node.op != "call_function" or not isinstance(op, torch._ops.OpOverload) or op._schema.is_mutable:
        return False
    return torch.Tag.nondeterministic_seeded not in op.tags


def _same_kind(a: Any, b: Any) -> bool:
    x, y = (node.meta.get("val") if isinstance(node, FxNode) else None for node in (a, b))
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor) or x.dtype != y.dtype:
        return False
    return list(map(str, x.shape)) == list(map(str, y.shape))


def _chain_to(last: Node) -> list[Node]:
    """Writes to one axis of one tensor that nobody reads in between, the last one given; empty where it is not that."""
    if any(_continues(user, last) for user in last.users):
        return []
    chain = [last]
    while isinstance(base := chain[0].args[0], FxNode) and _continues(chain[0], base):
        chain.insert(0, base)
    return chain if len(chain) >= FEWEST else []


def _continues(write: Node, base: Node) -> bool:
    """Whether `write` is the only reader of `base`, as the tensor that it writes into, and `base` is such a write."""
    both = all(node.target is aten.select_scatter.default and isinstance(node.args[3], int) for node in (write, base))
    return both and write.args[0] is base and len(base.users) == 1 and write.args[2] == base.args[2]


def _write_at_once(module: GraphModule, chain: Sequence[Node]) -> None:
    last = chain[-1]
    base, dim = chain[0].args[0], chain[0].args[2]
    rank, size = last.meta["val"].ndim, last.meta["val"].shape[dim]
    positions: dict[int, Any] = {}
    for write in chain:
        position = write.args[3]
        if position < 0 and not isinstance(size, int):
            return
        positions[position % size if position < 0 else position] = write.args[1]  # a later write is what stays
    order = sorted(positions)
    with module.graph.inserting_before(last):
        steps = Steps(module, last)
        values = steps.stacked([positions[position] for position in order], dim % rank)
        starts = _runs(order)
        if len(starts) > FEWEST:
            index = [None] * (dim % rank) + [steps.index(order)]
            result = steps.node(aten.index_put.default, base, index, values)
        else:
            result = base
            for run in starts:
                part = values
                if len(starts) > 1:
                    begin = order.index(run[0])
                    part = steps.node(aten.slice.Tensor, values, dim % rank, begin, begin + len(run))
                result = steps.node(aten.slice_scatter.default, result, part, dim, run[0], run[-1] + 1)
    last.replace_all_uses_with(result)


def _add_at_once(module: GraphModule, last: Node, added: Added) -> None:
    """Of frames (batch, n), by fold."""
    rank = last.meta["val"].ndim
    if len(added.frames) < FEWEST or rank != 2:
        return
    with module.graph.inserting_before(last):
        steps = Steps(module, last)
        frames = steps.stacked(added.frames, 2)
        size = [1, added.end - added.start]
        total = steps.node(aten.col2im.default, frames, size, [1, added.n], [1, 1], [0, 0], [1, added.hop])
        total = steps.node(aten.select.int, steps.node(aten.select.int, total, 1, 0), 1, 0)
        whole = steps.node(aten.slice.Tensor, added.signal, 1, added.start, added.end)
        total = steps.node(aten.add.Tensor, whole, total)
        result = steps.node(aten.slice_scatter.default, added.signal, total, 1, added.start, added.end)
    last.replace_all_uses_with(result)


def _runs(order: Sequence[int]) -> list[list[int]]:
    """Split into neighbours."""
    runs: list[list[int]] = []
    for position in order:
        if runs and runs[-1][-1] + 1 == position:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def _dim_of(node: Node) -> int:
    """Along which a stack or a concatenation is, from the front."""
    dim: int = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return dim % node.meta["val"].ndim


def _adds_axis(source: Node, dim: int) -> bool:
    """Whether it is a tensor with an axis of length 1 more: to concatenate such is to stack what they were made of."""
    return source.target is aten.unsqueeze.default and source.args[1] % source.meta["val"].ndim == dim


def _has_one(source: Node, dim: int) -> bool:
    """Whether its length along an axis is 1."""
    value = source.meta.get("val")
    return isinstance(value, torch.Tensor) and isinstance(value.shape[dim], int) and value.shape[dim] == 1


def _stack_at_once(
    module: GraphModule, node: Node, sources: Sequence[Node], dim: int, *, has_axis: bool = False
) -> None:
    """In place of a stack; or of a concatenation, where the sources have an axis of length 1 at `dim` already."""
    if len(sources) < FEWEST:
        return
    with module.graph.inserting_before(node):
        steps = Steps(module, node)
        if (rolled := steps.rolled(sources)) is not None:
            if has_axis:
                value, axis, rank = rolled
                own = dim + (dim >= axis)
                rolled = steps.node(aten.select.int, value, own, 0), axis - (own < axis), rank - 1
            node.replace_all_uses_with(steps.with_axis_at(rolled, dim))


class Steps:
    """Makes nodes that compute all steps of a loop, where the graph inserts them, on behalf of `place`."""

    def __init__(self, module: GraphModule, place: Node) -> None:
        self.module, self.place = module, place

    def node(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        node = self.module.graph.call_function(target, args, kwargs)
        node.meta = {key: value for key, value in self.place.meta.items() if key != "val"}
        return node

    def stacked(self, sources: Sequence[Any], dim: int) -> Node:
        """The values of all steps along a new axis."""
        rolled = self.rolled(sources)
        return self.node(aten.stack.default, list(sources), dim) if rolled is None else self.with_axis_at(rolled, dim)

    def with_axis_at(self, rolled: Rolled, dim: int) -> Node:
        """A rolled value with the axis of the steps elsewhere."""
        value, axis, rank = rolled
        if axis == dim:
            return value
        order = [each for each in range(rank) if each != axis]
        return self.node(aten.permute.default, value, [*order[:dim], axis, *order[dim:]])

    def rolled(self, sources: Sequence[Any]) -> Rolled | None:
        """One node for all steps, the axis along which they are, and its rank; None where they have no such form."""
        first = sources[0]
        alike = all(isinstance(source, FxNode) and source.target is first.target for source in sources)
        if not alike or first.target not in BATCHED or "val" not in first.meta:
            return None
        if first.target is aten.select.int:
            return self._positions(sources)
        if first.target is aten.einsum.default:
            return self._einsum(sources)
        if first.target is aten.unsqueeze.default:
            return self._unsqueezed(sources)
        if first.target is aten.slice.Tensor:
            return self._frames(sources)
        if first.target in TRANSFORMS:
            return self._transformed(sources)
        return self._in_front(sources)

    def _frames(self, sources: Sequence[Node]) -> Rolled | None:
        """x[..., i * hop : i * hop + n] for all i."""
        found = frames_of_slices(sources)
        if found is None:
            return None
        rank = found.signal.meta["val"].ndim
        part = self.node(aten.slice.Tensor, found.signal, rank - 1, found.start, found.end)
        return self.node(aten.unfold.default, part, rank - 1, found.n, found.hop), rank - 1, rank + 1

    def _transformed(self, sources: Sequence[Node]) -> Rolled | None:
        """FFTs along one axis, wherever the axis of the steps is."""
        rolled = self.rolled([source.args[0] for source in sources])
        if rolled is None or any((each.args[1:], each.kwargs) != (sources[0].args[1:], {}) for each in sources):
            return None
        value, axis, rank = rolled
        given: list[Any] = [*sources[0].args[1:], *DEFAULTS[len(sources[0].args) - 1 :]]
        n, dim, norm = given
        dim %= rank - 1
        return self.node(sources[0].target, value, n, dim + (dim >= axis), norm), axis, rank

    def _unsqueezed(self, sources: Sequence[Node]) -> Rolled | None:
        dim, rank = sources[0].args[1], sources[0].meta["val"].ndim
        rolled = self.rolled([source.args[0] for source in sources])
        if rolled is None or any(source.args[1] != dim for source in sources):
            return None
        return self.node(aten.unsqueeze.default, self.with_axis_at(rolled, 0), dim % rank + 1), 0, rank + 1

    def index(self, positions: Sequence[int]) -> Node:
        """A constant of whole numbers."""
        name = next(name for i in itertools.count() if not hasattr(self.module, name := f"positions_{i}"))
        self.module.register_buffer(name, torch.tensor(positions))
        node = self.module.graph.get_attr(name)
        node.meta = {key: value for key, value in self.place.meta.items() if key != "val"}
        return node

    def _positions(self, sources: Sequence[Node]) -> Rolled | None:
        """x[..., i] for all i; or one position of what differs from step to step."""
        x, dim, _ = sources[0].args
        positions = [source.args[2] for source in sources]
        if not all(isinstance(p, int) for p in positions) or any(source.args[1] != dim for source in sources):
            return None
        if any(source.args[0] is not x for source in sources):
            rolled = self.rolled([source.args[0] for source in sources])
            if rolled is None or len(set(positions)) > 1:
                return None
            value, rank = self.with_axis_at(rolled, 0), rolled[2]
            return self.node(aten.select.int, value, dim % (rank - 1) + 1, positions[0]), 0, rank - 1
        rank, size = sources[0].meta["val"].ndim + 1, x.meta["val"].shape[dim]
        if not isinstance(size, int):
            return None
        positions = [position % size for position in positions]
        if positions == list(range(positions[0], positions[0] + len(positions))):
            picked = self.node(aten.slice.Tensor, x, dim, positions[0], positions[-1] + 1)
        else:
            picked = self.node(aten.index_select.default, x, dim, self.index(positions))
        return picked, dim % rank, rank

    def _operands(self, lists: Sequence[Sequence[Any]]) -> list[tuple[Any, int | None, int]] | None:
        """For each operand (value, axis of the steps or None where all steps have the same, rank)."""
        operands: list[tuple[Any, int | None, int]] = []
        if len({len(each) for each in lists}) > 1:
            return None
        for operand in zip(*lists, strict=True):
            if all(each is operand[0] or (not isinstance(each, FxNode) and each == operand[0]) for each in operand):
                value = operand[0].meta.get("val") if isinstance(operand[0], FxNode) else None
                operands.append((operand[0], None, value.ndim if isinstance(value, torch.Tensor) else 0))
            elif (rolled := self.rolled(operand)) is not None:
                operands.append(rolled)
            else:
                return None
        return operands

    def _einsum(self, sources: Sequence[Node]) -> Rolled | None:
        """An equation with one letter more."""
        equation = str(sources[0].args[0]).replace(" ", "")
        inputs, arrow, output = equation.partition("->")
        free = [letter for letter in string.ascii_letters if letter not in equation]
        if not arrow or "." in equation or any(source.args[0] != sources[0].args[0] for source in sources):
            return None
        operands = self._operands([list(source.args[1]) for source in sources])
        if operands is None or not free:
            return None
        terms = [
            term if axis is None else term[:axis] + free[0] + term[axis:]
            for term, (_, axis, _) in zip(inputs.split(","), operands, strict=True)
        ]
        # The new axis first: engines make batched products of it without another transposition.
        if all(axis is None for _, axis, _ in operands):
            return None
        result = self.node(
            aten.einsum.default, f"{','.join(terms)}->{free[0]}{output}", [value for value, _, _ in operands]
        )
        return result, 0, len(output) + 1

    def _in_front(self, sources: Sequence[Node]) -> Rolled | None:
        """With the axis of the steps before all others; what has fewer axes gets some of length 1 behind it."""
        if any(source.kwargs != sources[0].kwargs for source in sources):
            return None
        operands = self._operands([source.args for source in sources])
        if operands is None or all(axis is None for _, axis, _ in operands):
            return None
        ranks = [rank if axis is None else rank - 1 for _, axis, rank in operands]
        if sources[0].target is aten.matmul.default and min(ranks) < 2:
            return None
        if sources[0].target in POINTWISE and (place := _common_place(operands)) is not None:
            result = self.node(sources[0].target, *(value for value, _, _ in operands), **sources[0].kwargs)
            return result, place, sources[0].meta["val"].ndim + 1
        args = []
        for (value, axis, rank), own in zip(operands, ranks, strict=True):
            if axis is not None:
                value = self.with_axis_at((value, axis, rank), 0)
                for _ in range(max(ranks) - own):
                    value = self.node(aten.unsqueeze.default, value, 1)
            args.append(value)
        return self.node(sources[0].target, *args, **sources[0].kwargs), 0, sources[0].meta["val"].ndim + 1


def _common_place(operands: Sequence[tuple[Any, int | None, int]]) -> int | None:
    """The axis of the steps, where all that have it have it in one place, and nothing else reaches that far."""
    places = {(axis, rank) for _, axis, rank in operands if axis is not None}
    if len(places) != 1:
        return None
    [(axis, rank)] = places
    return axis if all(own < rank - axis for _, each, own in operands if each is None) else None
