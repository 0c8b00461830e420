"""Conditions on sizes that vary, which tracing has met and decided by the example: do they matter?

    y[..., :x.shape[-1]]    is y cut, or is it shorter?    16 (t // 16) < t

torch.export turns some into assertions. Those that hold for all sizes mean nothing. For sizes at which one does not
hold, the program is run beside the model: where both give the same, the other side of the branch would have, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sympy
import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from hamsa_deploy.scan.cuda import DEVICES
from hamsa_deploy.spectral.compiler.state import copy_of
from hamsa_deploy.spectral.values import viewed_as_real

SCANNED = 1024  # sizes of an axis, from its smallest on and round the example; and powers of two beyond
RUN = 8  # times the example, and 4096 at least, is the largest size that is run
SAME = 1e-4  # of the largest value

_ASSERTION = torch.ops.aten._assert_scalar.default


class Axis(NamedTuple):
    """Where a size that varies comes from: the dimension of one of the input tensors, and its limits."""

    tensor: int
    dimension: int
    smallest: int
    largest: int


class Condition(NamedTuple):
    """What an example has decided: an expression of sizes, and the axes that these are of."""

    expression: sympy.Basic
    axes: Mapping[sympy.Symbol, Axis]


def take_out(program: ExportedProgram) -> list[Condition]:
    """The assertions on sizes of a program, which then has none."""
    axes = _axes(program)
    found = []
    for node in list(program.graph.nodes):
        if node.op == "call_function" and node.target is _ASSERTION:
            value = getattr(node.args[0], "meta", {}).get("val")
            if (inner := getattr(value, "node", None)) is not None:
                found.append(Condition(inner.expr, axes))
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return found


def _axes(program: ExportedProgram) -> dict[sympy.Symbol, Axis]:
    inputs = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    tensors = [values[name] for name in inputs if isinstance(values.get(name), torch.Tensor)]
    found: dict[sympy.Symbol, Axis] = {}
    for i, value in enumerate(tensors):
        for dimension, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt) and (symbol := size.node.expr).is_Symbol:
                limits = program.range_constraints[symbol]
                found.setdefault(symbol, Axis(i, dimension, max(int(limits.lower), 1), int(min(limits.upper, 2**31))))
    return found


def one_that_matters(
    conditions: Sequence[Condition], model: nn.Module, inputs: tuple[Any, ...], run: nn.Module
) -> str | None:
    """The first condition that decides on a result, as text; None if none does.

    Args:
        conditions: of the program, and of what it was made from.
        model: the original.
        inputs: examples.
        run: the program, which takes complex tensors as real ones.
    """
    examples = [x for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor)]
    for condition in conditions:
        against = list(_sizes_against(condition, examples))
        sizes = [(axis, n) for axis, n in against if n <= max(RUN * _size(examples, axis), 4096)]
        chosen = [sizes[0], sizes[len(sizes) // 2], sizes[-1]] if sizes else []
        if len(against) > 0 == len(chosen):
            return str(condition.expression)
        if not all(_are_same(model, run, _with_size(inputs, axis, size)) for axis, size in chosen):
            return str(condition.expression)
    return None


def _size(examples: Sequence[torch.Tensor], axis: Axis) -> int:
    return int(examples[axis.tensor].shape[axis.dimension])


def _sizes_against(condition: Condition, examples: Sequence[torch.Tensor]) -> Iterator[tuple[Axis, int]]:
    """Sizes at which it does not hold, of one axis each; of the others the examples'."""
    now = {symbol: _size(examples, axis) for symbol, axis in condition.axes.items()}
    for symbol in condition.expression.free_symbols & now.keys():
        axis = condition.axes[symbol]
        holds = sympy.lambdify(list(now), condition.expression, modules=_FUNCTIONS)
        for size in _scanned(axis, now[symbol]):
            if not holds(*({**now, symbol: size}.values())):
                yield axis, size


def _scanned(axis: Axis, example: int) -> list[int]:
    around = range(example - SCANNED // 2, example + SCANNED // 2)
    first = range(axis.smallest, axis.smallest + SCANNED)
    powers = [2**k + more for k in range(32) for more in (-1, 0, 1)]
    return sorted(n for n in {*first, *around, *powers, axis.largest} if axis.smallest <= n <= axis.largest)


# What PyTorch calls its operations on sizes.
_FUNCTIONS = [
    {
        "FloorDiv": lambda a, b: a // b,
        "CleanDiv": lambda a, b: a // b,
        "Mod": lambda a, b: a % b,
        "PythonMod": lambda a, b: a % b,
        "Max": max,
        "Min": min,
    },
    "math",
]


def _with_size(inputs: tuple[Any, ...], axis: Axis, size: int) -> tuple[Any, ...]:
    """The inputs, one of them random and of another size along an axis."""
    leaves, spec = pytree.tree_flatten(inputs)
    tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    generator = torch.Generator().manual_seed(0)
    x = leaves[tensors[axis.tensor]]
    shape = [size if d == axis.dimension else n for d, n in enumerate(x.shape)]
    random = torch.randn(shape, generator=generator) if x.is_floating_point() or x.is_complex() else torch.zeros(shape)
    leaves[tensors[axis.tensor]] = random.to(x.dtype)
    return tuple(pytree.tree_unflatten(leaves, spec))


def _are_same(model: nn.Module, run: nn.Module, inputs: tuple[Any, ...]) -> bool:
    """Whether both run, and give the same."""
    try:
        with torch.no_grad(), DEVICES:
            expected = pytree.tree_leaves(_as_real(copy_of(model)(*inputs)))
            found = pytree.tree_leaves(run(*_as_real(inputs)))
    except Exception:  # noqa: BLE001  # whatever either says of a size that it does not take
        return False
    return len(expected) == len(found) and all(map(_is_close, expected, found))


def _as_real(tensors: Any) -> Any:
    return pytree.tree_map_only(torch.Tensor, viewed_as_real, tensors)


def _is_close(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return bool(a == b)
    if a.shape != b.shape:
        return False
    largest = float(a.abs().max()) if a.numel() else 0.0
    return torch.allclose(a.double(), b.double(), rtol=0, atol=SAME * largest, equal_nan=True)
