"""Which sizes of the inputs stay free: what a request says about it, for capture and for the manifest.

    dynamic_shapes  ({0: Dim("batch"), 2: Dim("frames")}, None)     as torch.export has it
    for each tensor of the inputs  {0: "batch", 2: "frames"}, {}
    for capture     the same with a Dim for each name; without limits and in one place, torch finds the limits

After capture, each name stands for a symbol, and sizes of outputs are expressions of those.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.compiler.rewriting import takes_any_number
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import BATCH, Axis

FIX_BOUNDS = (
    "an axis of its own, or a fixed one; bounds are Dim('frames', min=32) in Python, frames:32..4096 on the line"
)
LARGEST = 2**53  # of a manifest's numbers
NOT_IN_SIZES = re.compile(r"[^A-Za-z0-9_*/%+,(). -]")

Names = dict[int, str]


@dataclass(frozen=True)
class FreeAxes:
    """What stays free of a model's inputs.

    Attributes:
        inputs: the examples, with two at least along each free axis: torch.export takes a size of 1 for fixed.
        names: for each tensor in them, dimension -> name.
        dims: what was given for a name: with limits, or without.
    """

    inputs: tuple[Any, ...]
    names: tuple[Names, ...]
    dims: Mapping[str, Any] = field(default_factory=dict)

    def for_capture(self, model: nn.Module) -> Any:
        """`dynamic_shapes` for torch.export."""
        uses = Counter(name for names in self.names for name in names.values())
        dims = {name: _searched(dim) if uses[name] == 1 else dim for name, dim in self.dims.items()}
        leaves = iter(self.names)

        def spec(x: Any) -> Any:
            return {axis: dims[name] for axis, name in next(leaves).items()} if isinstance(x, torch.Tensor) else None

        found = tuple(pytree.tree_map(spec, self.inputs))
        return (found,) if takes_any_number(model) else found

    def sizes(self, name: str) -> set[int]:
        """Of the examples along an axis."""
        tensors = [x for x in pytree.tree_leaves(self.inputs) if isinstance(x, torch.Tensor)]
        return {x.shape[d] for x, names in zip(tensors, self.names, strict=True) for d, n in names.items() if n == name}


def free_axes(model: nn.Module, inputs: tuple[Any, ...], shapes: Any, batch: int | None) -> FreeAxes:
    """Read `dynamic_shapes`.

    Args:
        model: whose forward says what inputs are called.
        inputs: examples.
        shapes: as for torch.export: for each input, in order or by name, {dimension: Dim}, None, or a nested container.
        batch: a fixed size for the axis that is called batch.

    Raises:
        InputError: an axis that is none, or one that follows from another; examples that contradict each other.
    """
    dims: dict[str, Any] = {}
    names = []
    for number, (x, spec) in enumerate(_tensors(inputs, _in_order(model, inputs, shapes))):
        named: Names = {}
        for axis, dim in _by_dimension(x, spec):
            name = _name_of(dim, f"axis_{number}_{axis}")
            dims.setdefault(name, dim)
            named[axis] = name
        names.append(named)
    found = FreeAxes(_enlarged(inputs, names), tuple(names), dims)
    for name in dims:
        if len(sizes := found.sizes(name)) > 1:
            raise InputError(
                f"the axis {name!r} is {' and '.join(map(str, sorted(sizes)))} in the example inputs",
                expected="one size wherever it stands",
            )
    return found if batch is None else _without_batch(found, inputs, batch)


def _without_batch(found: FreeAxes, inputs: tuple[Any, ...], batch: int) -> FreeAxes:
    sizes = FreeAxes(inputs, found.names).sizes(BATCH)
    if sizes - {batch}:
        raise InputError(
            f"a batch of {batch} with example inputs of {', '.join(map(str, sorted(sizes)))}",
            expected=f"{batch} along each axis that is called {BATCH}",
        )
    kept = [{axis: name for axis, name in names.items() if name != BATCH} for names in found.names]
    return FreeAxes(_enlarged(inputs, kept), tuple(kept), {n: dim for n, dim in found.dims.items() if n != BATCH})


def default_names(program: ExportedProgram) -> tuple[Names, ...]:
    """Where nothing was said: the only free axis is the batch."""
    return tuple(
        {axis: BATCH for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt)}
        for value in input_values(program)
    )


def input_values(program: ExportedProgram) -> list[torch.Tensor]:
    """The tensors that stand for the user's inputs, in order."""
    return _values(program, program.graph_signature.input_specs)


def output_values(program: ExportedProgram) -> list[torch.Tensor]:
    """The tensors that stand for what the user's model gives, in order."""
    return _values(program, program.graph_signature.output_specs)


def tensor_specs(specs: Iterable[Any]) -> list[Any]:
    """Those of the user's inputs or outputs that are tensors: None and numbers are built in."""
    kinds = (InputKind.USER_INPUT, OutputKind.USER_OUTPUT)
    return [spec for spec in specs if spec.kind in kinds and isinstance(spec.arg, TensorArgument)]


def _values(program: ExportedProgram, specs: Iterable[Any]) -> list[torch.Tensor]:
    nodes = {node.name: node for node in program.graph.nodes}
    return [nodes[spec.arg.name].meta["val"] for spec in tensor_specs(specs)]


class Sizes:
    """The sizes of a captured program in terms of names.

    Args:
        program: from capture.
        names: for each tensor of its inputs, dimension -> name.
    """

    def __init__(self, program: ExportedProgram, names: Sequence[Names]) -> None:
        self._symbols: dict[sympy.Symbol, sympy.Symbol] = {}
        self._limits: dict[sympy.Symbol, list[Any]] = defaultdict(list)
        inputs = [spec.arg.name for spec in tensor_specs(program.graph_signature.input_specs)]
        captured = program.graph_module.meta["limits"]
        for name, value, named in zip(inputs, input_values(program), names, strict=True):
            for axis, called in named.items():
                if isinstance(size := value.shape[axis], torch.SymInt) and (symbol := size.node.expr).is_Symbol:
                    self._symbols.setdefault(symbol, sympy.Symbol(called, integer=True, positive=True))
                    found = (program.range_constraints.get(symbol), captured.get((name, axis)))
                    self._limits[symbol] += [limits for limits in found if limits is not None]

    @property
    def has_batch(self) -> bool:
        """Whether an axis is called batch."""
        return self._batch() is not None

    def text(self, size: int | torch.SymInt) -> int | str:
        """A number, the name of an axis, or an expression of those."""
        if isinstance(size, int):
            return size
        text = re.sub(r"\(\(([^()]*)\)\)", r"(\1)", str(self._named(size)))  # ((t//4)) + 1
        return NOT_IN_SIZES.sub("_", text)

    def axes(self, examples: Mapping[str, int]) -> tuple[Axis, ...]:
        """Those beside the batch, with their limits; `examples` has a size of each."""
        return tuple(
            self._axis(symbol, str(name), examples[str(name)])
            for symbol, name in self._symbols.items()
            if str(name) != BATCH
        )

    def batch_axis(self, shape: Sequence[int | torch.SymInt]) -> int | None:
        """The dimension that is a multiple of the batch; None if no dimension depends on it, or several do.

        Raises:
            ValueError: with the size that does, but is none.
        """
        found = [axis for axis, size in enumerate(shape) if self._depends_on_batch(size)]
        if not found:
            return None
        if not all(self._is_multiple(shape[axis]) for axis in found):
            raise ValueError(", ".join(str(self.text(size)) for size in shape))
        return found[0] if len(found) == 1 else None

    def _named(self, size: torch.SymInt) -> Any:
        return size.node.expr.xreplace(self._symbols)

    def _batch(self) -> sympy.Symbol | None:
        return next((name for name in self._symbols.values() if str(name) == BATCH), None)

    def _depends_on_batch(self, size: int | torch.SymInt) -> bool:
        return isinstance(size, torch.SymInt) and self._batch() in self._named(size).free_symbols

    def _is_multiple(self, size: Any) -> bool:
        """f(n) = n f(1), tried at some n and sizes of the others."""
        expression, batch = self._named(size), self._batch()
        for scale in (1, 3):
            sizes = {symbol: 40 * scale + 7 for symbol in expression.free_symbols if symbol != batch}
            one = expression.subs({batch: 1, **sizes})
            if any(expression.subs({batch: n, **sizes}) != n * one for n in (2, 3, 5, 8)):
                return False
        return True

    def _axis(self, symbol: sympy.Symbol, name: str, example: int) -> Axis:
        smallest = max([1, *(int(limits.lower) for limits in self._limits[symbol])])
        largest = [int(limits.upper) for limits in self._limits[symbol] if limits.upper < LARGEST]
        return Axis(name, smallest, min(largest, default=None), example)


def _searched(dim: Any) -> Any:
    """A size within the limits that were given, and those that the model has: torch.export finds these for a size
    without a name only."""
    if not isinstance(dim, Dim):
        return dim
    limits = {"min": dim.min if dim.min > 1 else None, "max": dim.max if dim.max < LARGEST else None}
    given = {name: value for name, value in limits.items() if value is not None}
    return Dim.DYNAMIC(**given) if given else Dim.DYNAMIC


def _name_of(dim: Any, otherwise: str) -> str:
    name = getattr(dim, "__name__", otherwise)
    if not name.isidentifier():
        raise InputError(f"an axis {name} of an input, which follows from another", expected="a name", fix=FIX_BOUNDS)
    return name


def _by_dimension(x: torch.Tensor, spec: Any) -> Iterator[tuple[int, Any]]:
    """The free ones."""
    pairs = spec.items() if isinstance(spec, Mapping) else enumerate(spec or ())
    for axis, dim in pairs:
        if dim is None or isinstance(dim, int) or dim == Dim.STATIC:
            continue
        if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
            raise InputError(f"a free axis {axis} of an input {tuple(x.shape)}", expected=f"0 to {x.ndim - 1}")
        yield axis % x.ndim, dim


def _in_order(model: nn.Module, inputs: tuple[Any, ...], shapes: Any) -> Sequence[Any]:
    """One specification for each input."""
    parameters = inspect.signature(model.forward).parameters
    if isinstance(shapes, Mapping):
        if unknown := [name for name in shapes if name not in parameters]:
            raise InputError(
                f"dynamic_shapes for {unknown[0]!r}", expected=f"inputs of the model: {', '.join(parameters)}"
            )
        shapes = [shapes.get(name) for name in parameters]
        while shapes and shapes[-1] is None:  # arguments with defaults, which no input is given for
            shapes.pop()
    if takes_any_number(model) and len(shapes) == 1 and isinstance(shapes[0], list | tuple):
        shapes = shapes[0]
    if len(shapes) > len(inputs):
        raise InputError(f"dynamic_shapes for {len(shapes)} inputs", expected=f"as many as there are: {len(inputs)}")
    return [*shapes, *[None] * (len(inputs) - len(shapes))]


def _tensors(value: Any, spec: Any) -> Iterator[tuple[torch.Tensor, Any]]:
    """Each tensor in nested containers with what stands in its place, in the order of pytree."""
    if isinstance(value, torch.Tensor):
        yield value, spec
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _tensors(each, (spec or {}).get(name))
    elif isinstance(value, list | tuple):
        for each, inner in zip(value, spec or [None] * len(value), strict=True):
            yield from _tensors(each, inner)


def _enlarged(inputs: tuple[Any, ...], names: Sequence[Names]) -> tuple[Any, ...]:
    """Twice as much along free axes of one, wherever an axis of that name stands."""
    leaves = iter(names)

    def doubled(x: torch.Tensor) -> torch.Tensor:
        for axis in next(leaves):
            x = torch.cat([x, x], dim=axis) if x.shape[axis] == 1 else x
        return x

    found: tuple[Any, ...] = pytree.tree_map_only(torch.Tensor, doubled, inputs)
    return found
