"""Linear recurrences that are selective scans, with their read-out, become these: nothing of the size L D N remains.

    a = exp(dt A),  b = dt u B,  h = linear_recurrence(a, b),  y = sum_n C h     ->     selective_scan(u, dt, A, B, C)

Reference loops have outer products in front and a contraction behind, as einsum, as products of broadcast tensors, or
as a product of matrices. Each is taken apart into factors, and each factor has the axes of the state, (time, batch,
channels, states), that it depends on: A has neither time nor batch, dt and u no states, B and C no channels.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch._subclasses import FakeTensor
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from hamsa_deploy.spectral.compiler.rolling import Node, Steps

aten = torch.ops.aten
RECURRENCE = torch.ops.hamsa.linear_recurrence.default
SCAN = torch.ops.hamsa.selective_scan.default
SAME = {aten.clone.default, aten.alias.default, aten.contiguous.default}
VIEWS = {aten.view.default, aten.reshape.default, aten._unsafe_view.default}
TIME = 0  # the axis of the recurrence

# Which axis of the state each axis of a tensor is; None where it has size 1.
Axes: TypeAlias = tuple[int | None, ...]


class Factor(NamedTuple):
    """A tensor, or a number."""

    value: Any
    axes: Axes = ()


class ReadOut(NamedTuple):
    """sum over one axis of the states times a product: the node, its axes, which axis is summed, the factors; and nodes
    that are the last state, each with its axes."""

    node: Node
    axes: Axes
    summed: int
    factors: list[Factor]
    last: tuple[tuple[Node, Axes], ...] = ()


class Parts(NamedTuple):
    """Factors of what a selective scan is given, and which axes of the state are the batch, channels and states."""

    A: list[Factor]
    dt: list[Factor]
    u: list[Factor]
    B: list[Factor]
    C: list[Factor]
    axes: tuple[int | None, int, int]

    @property
    def of_the_batch(self) -> tuple[list[Factor], ...]:
        """Those that a scan takes for each image and step."""
        return self.dt, self.u + self.dt, self.B, self.C


def fuse(module: GraphModule) -> None:
    """Replace what can be, in place."""
    found = [node for node in module.graph.nodes if node.target is RECURRENCE]
    if found:
        _complete(module)
    for node in found:
        if not node.meta["val"].is_complex() and node.meta["val"].ndim in (3, 4):
            read_out = _read_out(node)
            parts = None if read_out is None else _parts(node, read_out)
            if read_out is not None and parts is not None:
                _replace(module, node, read_out, parts)
    module.graph.eliminate_dead_code()


def _complete(module: GraphModule) -> None:
    """Say of nodes that other passes made what they compute."""
    values = [node.meta.get("val") for node in module.graph.nodes]
    fake = next(value.fake_mode for value in values if isinstance(value, FakeTensor))
    for node in module.graph.nodes:
        if "val" in node.meta:
            continue
        if node.op == "get_attr":
            node.meta["val"] = fake.from_tensor(getattr(module, node.target))
        elif node.op == "call_function":
            node.meta["val"] = _value_of(node.target, *node.args, **node.kwargs)


def _value_of(target: Any, *args: Any, **kwargs: Any) -> Any:
    """What a new node computes, of the kind that others have as their "val"."""
    given = torch.fx.node.map_arg((args, kwargs), lambda node: node.meta["val"])
    return target(*given[0], **given[1])


def _shape(node: Node) -> list[str]:
    return [str(size) for size in node.meta["val"].shape]


def _is_whole(node: Node) -> bool:
    """Whether a slice is all of what it is cut from."""
    return _shape(node) == _shape(node.args[0])


def _in_front(node: Node, axes: Axes) -> tuple[Node, Axes] | None:
    """What a node shows in another order or shape, and the axes of that."""
    source = node.args[0] if node.args else None
    if node.target in SAME or (node.target is aten.slice.Tensor and _is_whole(node)):
        return source, axes
    rank = len(axes)
    if node.target is aten.permute.default:
        order = [dim % rank for dim in node.args[1]]
        return source, tuple(axes[order.index(axis)] for axis in range(rank))
    if node.target is aten.transpose.int:
        found, (one, other) = list(axes), node.args[1:]
        found[one], found[other] = found[other], found[one]
        return source, tuple(found)
    if node.target is aten.unsqueeze.default:
        dim = node.args[1] % rank
        return source, axes[:dim] + axes[dim + 1 :]
    if node.target is aten.expand.default:
        return source, _broadcast(source, axes)
    if node.target in VIEWS and _long(node) == _long(source):
        kept = iter(axis for axis, size in zip(axes, _shape(node), strict=True) if size != "1")
        return source, tuple(None if size == "1" else next(kept) for size in _shape(source))
    return None


def _long(node: Node) -> list[str]:
    return [size for size in _shape(node) if size != "1"]


def _broadcast(node: Node, axes: Axes) -> Axes:
    """Of an operand, from those of the result."""
    shape = _shape(node)
    own = axes[len(axes) - len(shape) :]
    return tuple(None if size == "1" else axis for size, axis in zip(shape, own, strict=True))


def _factors(node: Any, axes: Axes) -> Iterator[Factor]:
    """What a value is the product of."""
    if not isinstance(node, FxNode):
        yield Factor(node)
        return
    args: Any = node.args
    if (shown := _in_front(node, axes)) is not None:
        yield from _factors(*shown)
    elif node.target is aten.mul.Tensor:
        for each in args:
            yield from _factors(each, _broadcast(each, axes) if isinstance(each, FxNode) else ())
    elif node.target is aten.neg.default:
        yield Factor(-1.0)
        yield from _factors(args[0], axes)
    elif node.target is aten.einsum.default and (terms := _outer(args[0], axes)) is not None:
        for term, each in zip(terms, args[1], strict=True):
            yield from _factors(each, _broadcast(each, term))
    else:
        yield Factor(node, _broadcast(node, axes))


def _outer(equation: str, axes: Axes) -> list[Axes] | None:
    """The axes of the operands of an einsum that sums nothing."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    letters = dict(zip(output, axes, strict=False))
    terms = inputs.split(",")
    plain = "." not in equation and len(output) == len(axes) and all(len(set(term)) == len(term) for term in terms)
    if not plain or not set("".join(terms)) <= set(letters):
        return None
    return [tuple(letters[letter] for letter in term) for term in terms]


def _read_out(states: Node) -> ReadOut | None:
    """The only thing that is computed from the states, beside what is computed from the last one."""
    last: list[tuple[Node, Axes]] = []
    waiting: list[tuple[Node, Axes]] = [(states, tuple(range(states.meta["val"].ndim)))]
    found: list[ReadOut] = []
    while waiting:
        node, axes = waiting.pop()
        for user in node.users:
            if (behind := _behind(user, axes)) is not None:
                waiting.append((user, behind))
            elif (read_out := _contraction(user, node, axes)) is not None:
                found.append(read_out)
            elif _is_last(user, axes, states.meta["val"].shape[TIME]):
                last.append((user, tuple(axis for axis in axes if axis != TIME)))
            else:
                return None
    return found[0]._replace(last=tuple(last)) if len(found) == 1 else None


def _is_last(user: Node, axes: Axes, length: Any) -> bool:
    """Whether it is the state behind all steps."""
    if user.target is not aten.select.int or not isinstance(length, int):
        return False
    return axes[user.args[1]] == TIME and user.args[2] in (-1, length - 1)


def _behind(user: Node, axes: Axes) -> Axes | None:
    """The axes of what shows a value in another order."""
    if user.target in SAME or (user.target is aten.slice.Tensor and _is_whole(user)):
        return axes
    if user.target is aten.permute.default:
        return tuple(axes[dim] for dim in user.args[1])
    if user.target is aten.transpose.int:
        found, (one, other) = list(axes), user.args[1:]
        found[one], found[other] = found[other], found[one]
        return tuple(found)
    if user.target is aten.unsqueeze.default:
        dim = user.args[1] % (len(axes) + 1)
        return (*axes[:dim], None, *axes[dim:])
    return None


def _contraction(user: Node, node: Node, axes: Axes) -> ReadOut | None:
    if user.target is aten.einsum.default:
        return _by_einsum(user, node, axes)
    if user.target is aten.matmul.default:
        return _by_matmul(user, node, axes)
    if user.target is aten.mul.Tensor and len(user.users) == 1 and len(_shape(user)) == len(axes):
        return _by_sum(user, node, axes)
    return None


def _by_einsum(user: Node, node: Node, axes: Axes) -> ReadOut | None:
    inputs, _, output = user.args[0].replace(" ", "").partition("->")
    terms, operands = inputs.split(","), user.args[1]
    own = [place for place, each in enumerate(operands) if each is node]
    if len(own) != 1 or "." in inputs or len(set(terms[own[0]])) < len(axes):
        return None
    letters = dict(zip(terms[own[0]], axes, strict=True))
    summed = [letters[letter] for letter in letters if letter not in output]
    others = [place for place in range(len(operands)) if place != own[0]]
    if len(summed) != 1 or summed[0] is None or not set(inputs) - {","} <= set(letters):
        return None
    if any(len(set(terms[place])) < len(terms[place]) for place in others):
        return None
    factors = [
        factor
        for place in others
        for factor in _factors(operands[place], _broadcast(operands[place], tuple(letters[c] for c in terms[place])))
    ]
    return ReadOut(user, tuple(letters[letter] for letter in output), summed[0], factors)


def _by_matmul(user: Node, node: Node, axes: Axes) -> ReadOut | None:
    """(.., d, n) times a column (.., n, 1), or a row (.., 1, n) times (.., n, d)."""
    left, right = user.args
    is_left = left is node
    other = right if is_left else left
    shape = _shape(other) if isinstance(other, FxNode) else []
    if left is right or len(axes) < 2 or len(shape) < 2 or shape[-1 if is_left else -2] != "1":
        return None
    summed = axes[-1 if is_left else -2]
    if summed is None or len(_shape(user)) != len(axes):
        return None
    kept = axes[-2 if is_left else -1]
    result = (*axes[:-2], kept, None) if is_left else (*axes[:-2], None, kept)
    wanted: Axes = (*axes[:-2], summed, None) if is_left else (*axes[:-2], None, summed)
    return ReadOut(user, result, summed, list(_factors(other, _broadcast(other, wanted[-len(shape) :]))))


def _by_sum(user: Node, node: Node, axes: Axes) -> ReadOut | None:
    (total,) = user.users
    if total.target is not aten.sum.dim_IntList or len(total.args) > 2 or len(total.args[1]) != 1 or total.kwargs:
        return None
    dim = total.args[1][0] % len(axes)
    summed, others = axes[dim], [each for each in user.args if each is not node]
    if summed is None or len(others) != 1 or _shape(user) != _shape(node):
        return None
    factors = list(_factors(others[0], _broadcast(others[0], axes) if isinstance(others[0], FxNode) else ()))
    return ReadOut(total, axes[:dim] + axes[dim + 1 :], summed, factors)


def _parts(states: Node, read_out: ReadOut) -> Parts | None:
    """The factors in their places; None where one depends on what its place does not."""
    rank, n = states.meta["val"].ndim, read_out.summed
    others = set(range(1, rank)) - {n}
    exponent = _exponent(states.args[0], tuple(range(rank)))
    if exponent is None or n == TIME:
        return None
    decays, increments = exponent, list(_factors(states.args[1], tuple(range(rank))))
    channels = {axis for factor in decays if n in factor.axes for axis in factor.axes} - {n, None}
    if len(channels) > 1 or TIME in channels:
        return None
    d: int = next((axis for axis in channels if axis is not None), max(others))
    batch = next(iter(others - {d}), None)
    A = [factor for factor in decays if set(factor.axes) <= {d, n, None}]
    dt = [factor for factor in decays if factor not in A]
    B, x = ([factor for factor in increments if (n in factor.axes) is has] for has in (True, False))
    rest = Counter(x)
    rest.subtract(dt)
    forbidden = [(dt, n), (B, d), (read_out.factors, d)]
    if (
        any(axis in factor.axes for factors, axis in forbidden for factor in factors)
        or min(rest.values(), default=0) < 0
    ):
        return None
    parts = Parts(A, dt, list(rest.elements()), B, read_out.factors, (batch, d, n))
    return parts if _has_axes(parts, states.meta["val"].shape) else None


def _has_axes(parts: Parts, sizes: Sequence[Any]) -> bool:
    """Whether steps vary along time, for one decay at all steps has better forms; and all have the axes whose size is
    not known."""
    unknown = {axis for axis in (TIME, parts.axes[0]) if axis is not None and not isinstance(sizes[axis], int)}
    there = [{axis for factor in factors for axis in factor.axes} for factors in parts.of_the_batch]
    return TIME in there[0] and all(unknown <= axes for axes in there)


def _exponent(node: Node, axes: Axes) -> list[Factor] | None:
    """The factors of what decays are the exponential of."""
    while (shown := _in_front(node, axes)) is not None:
        node, axes = shown
    if node.target is not aten.exp.default:
        return None
    return list(_factors(node.args[0], _broadcast(node.args[0], axes)))


def _replace(module: GraphModule, states: Node, read_out: ReadOut, parts: Parts) -> None:
    batch, d, n = parts.axes
    sizes = dict(enumerate(states.meta["val"].shape))
    order = {node: number for number, node in enumerate(module.graph.nodes)}
    place = min((read_out.node, *(node for node, _ in read_out.last)), key=order.__getitem__)
    if any(isinstance(each.value, FxNode) and order[each.value] >= order[place] for each in read_out.factors):
        return
    with module.graph.inserting_before(place):
        steps = _Values(module, read_out.node, sizes)
        channels, groups = (batch, d, TIME), (batch, None, n, TIME)
        u, dt = (steps.product(each, channels) for each in (parts.u, parts.dt))
        A, B, C = steps.product(parts.A, (d, n)), steps.product(parts.B, groups), steps.product(parts.C, groups)
        first = None if len(states.args) < 3 or states.args[2] is None else states.args[2]
        if first is not None:
            first = steps.in_order(first, tuple(range(1, len(sizes))), (batch, d, n))
        scan = steps.made(SCAN, u, dt, A, B, C, None, None, None, False, first)
        y = steps.made(operator.getitem, scan, 0)
        results = [(read_out.node, steps.in_order(y, channels, read_out.axes))]
        state = steps.made(operator.getitem, scan, 1)
        results += [(node, steps.in_order(state, (batch, d, n), axes)) for node, axes in read_out.last]
    for node, result in results:
        node.replace_all_uses_with(result)


class _Values(Steps):
    """Makes nodes that know what they compute."""

    def __init__(self, module: GraphModule, place: Node, sizes: Mapping[int, Any]) -> None:
        super().__init__(module, place)
        self.sizes = sizes

    def made(self, target: Any, *args: Any) -> Node:
        node = self.node(target, *args)
        node.meta["val"] = _value_of(target, *args)
        return node

    def product(self, factors: Sequence[Factor], axes: Axes) -> Node:
        """Of all, with these axes of the state in this order, each of its whole size."""
        result: Any = None
        for factor in sorted(factors, key=lambda factor: not isinstance(factor.value, FxNode)):
            each = self.in_order(factor.value, factor.axes, axes) if isinstance(factor.value, FxNode) else factor.value
            if result is None or not isinstance(result, FxNode):
                result = each if result is None else result * each
            else:
                result = self.made(aten.mul.Tensor, result, each)
        if not isinstance(result, FxNode):
            result = self.made(aten.full.default, [1] * len(axes), 1.0 if result is None else float(result))
        wanted = [1 if axis is None else self.sizes[axis] for axis in axes]
        shape = [
            -1 if str(own) == str(size) else size for own, size in zip(result.meta["val"].shape, wanted, strict=True)
        ]
        return result if set(shape) == {-1} else self.made(aten.expand.default, result, shape)

    def in_order(self, node: Node, axes: Axes, wanted: Axes) -> Node:
        """A tensor with these axes in another order; those that it has not have size 1, and others of size 1 go."""
        for place in reversed([place for place, axis in enumerate(axes) if axis is None]):
            node = self.made(aten.squeeze.dim, node, place)
        own = [axis for axis in axes if axis is not None]
        order = [own.index(axis) for axis in wanted if axis in own]
        if order != sorted(order):
            node = self.made(aten.permute.default, node, order)
        for place, axis in enumerate(wanted):
            if axis is None or axis not in own:
                node = self.made(aten.unsqueeze.default, node, place)
        return node
