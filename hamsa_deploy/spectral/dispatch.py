"""One function through which every operator of the interpreted graph goes.

`apply` looks at the values and decides:

1. all of them constant: compute now, in float64;
2. an operator that makes complex or lazy values: its rule;
3. a lazy one among them (values.Lazy): what that kind does with this operator, if anything;
4. a complex one among them: the rule of that operator;
5. a lazy one still: the full tensor in its place, and again;
6. real tensors: the operator itself, or what it is lowered to where no engine has it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.alternatives import alternative_to
from hamsa_deploy.spectral.errors import UnsupportedOperatorError
from hamsa_deploy.spectral.indexing import PICKING, takes_all
from hamsa_deploy.spectral.separable import OneAxisAtATime
from hamsa_deploy.spectral.values import (
    PART,
    WIDE,
    Complex,
    Constant,
    Lazy,
    Part,
    RealView,
    Rule,
    Value,
    is_complex,
    is_zero,
    rules_missing,
    settled,
)

# A captured view relies on the strides that torch.fft gave its result; ours has others.
VIEWS = {"view", "_unsafe_view"}

# Of a constant they show a part or an order, in its own memory, or all as it is.
SELECTING = {"real", "imag", "view_as_real", "slice", "narrow", "select", "permute", "transpose", "unsqueeze"}
SAME = {"alias", "detach"}

# Whatever lies in memory is no constant: a second run would find another. Their rules give zeros.
UNINITIALISED = {"empty", "empty_like", "new_empty"}

# To all others a complex value that is viewed as a real one is a real one, of one axis more.
TAKING_VIEWS = {"view_as_complex"}

Function = Callable[..., Any]

COMPLEX_RULES: dict[str, Rule] = {}  # for an operator that is given a complex value
ENTRY_RULES: dict[str, Rule] = {}  # for an operator that makes complex or lazy values out of ordinary ones
LAZY_RULES: dict[type, dict[str, Rule]] = {}  # for an operator that is given a value of that kind
LOWERINGS: dict[str, Rule] = {}  # for an operator that no engine has, on real values

ZEROS = {"zeros", "zeros_like", "new_zeros"}
NON_NEGATIVE = {"sigmoid", "abs", "exp", "relu", "square", "sqrt", "softmax", "relu6", "hardsigmoid", "softplus"}


def rule(*names: str) -> Callable[[Function], Function]:
    """Register what an operator does to complex values, under its ATen names without overload.

    The function takes the operator's own arguments."""
    return _registrar(COMPLEX_RULES, names)


def entry_rule(*names: str) -> Callable[[Function], Function]:
    """Register an operator that makes complex values, whatever it is given."""
    return _registrar(ENTRY_RULES, names)


def lowering(*names: str) -> Callable[[Function], Function]:
    """Register what becomes of an operator that not every engine has, given ordinary tensors and constants.

    The function returns NotImplemented where the operator can stay."""
    return _registrar(LOWERINGS, names)


def _registrar(table: dict[str, Rule], names: tuple[str, ...]) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        @functools.wraps(function)  # the table of operators groups rules by the module of their function
        def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return function(*args, **kwargs)

        table.update(dict.fromkeys(names, call))
        return function

    return register


def partwise_rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function (operator, args, kwargs) that applies the operator to parts of complex values."""
    return lambda function: COMPLEX_RULES.update(dict.fromkeys(names, function)) or function


def lazy_rule(kind: type, *names: str) -> Callable[[Rule], Rule]:
    """Register a function (operator, args, kwargs) that applies the operator to lazy values of one kind.

    It returns NotImplemented where the full tensor is needed."""
    return lambda function: LAZY_RULES.setdefault(kind, {}).update(dict.fromkeys(names, function)) or function


@Value.dispatched_by
def apply(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of `func` on ordinary tensors and compiler values alike."""
    name = operator_name(func)
    if takes_all(name, args):  # a batch of varying size leaves such slices in a graph
        return args[1] if name == "slice_scatter" else args[0]
    leaves = pytree.tree_leaves((args, kwargs))
    if _can_fold(func, leaves):
        return fold(func, args, kwargs)
    if name not in TAKING_VIEWS and any(isinstance(leaf, RealView) for leaf in leaves):
        return _apply_to_view(func, name, args, kwargs)
    if name in ENTRY_RULES and (result := ENTRY_RULES[name](func, args, kwargs)) is not NotImplemented:
        return result
    if (result := _lazily(func, name, args, kwargs, leaves)) is not NotImplemented:
        return result
    if any(is_complex(leaf) for leaf in leaves):
        return _complex_rule(name)(func, args, kwargs)
    if any(isinstance(leaf, Lazy) for leaf in leaves):
        return apply(func, *_less_lazy(args, kwargs, leaves))
    if name in LOWERINGS and (result := LOWERINGS[name](func, args, kwargs)) is not NotImplemented:
        return result
    if name in VIEWS and not isinstance(args[1], torch.dtype):
        func = torch.ops.aten.reshape.default
    result = func(*emit(args), **emit(kwargs))
    _note_facts(name, args, result)
    return result


def _lazily(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any]) -> Any:
    """What the kinds of lazy values among the leaves make of an operator, or NotImplemented.

    Real ones, beside a complex value, have to wait until the rule for that has taken it apart."""
    with_complex = any(is_complex(leaf) for leaf in leaves)
    present = {type(leaf) for leaf in leaves if not (with_complex and isinstance(leaf, Lazy))}
    for kind, rules in LAZY_RULES.items():
        if kind in present and name in rules and (result := rules[name](func, args, kwargs)) is not NotImplemented:
            if name in NON_NEGATIVE:
                compilation.current().mark_nonnegative(result)
            return result
    return NotImplemented


def _less_lazy(args: Any, kwargs: Any, leaves: list[Any]) -> Any:
    """The arguments with one kind of lazy values replaced by what they stand for."""
    kind = next(type(leaf) for leaf in leaves if isinstance(leaf, Lazy))
    return pytree.tree_map_only(kind, lambda value: value.materialise(), (args, kwargs))


def _note_facts(name: str, args: tuple[Any, ...], result: Any) -> None:
    """Remember what is known of the values of an ordinary result."""
    if name in NON_NEGATIVE:
        compilation.current().mark_nonnegative(result)
    if name in ZEROS or (name == "full" and args[1] == 0) or (name in PICKING and is_zero(args[0])):
        compilation.current().mark_zero(result)


def operator_name(func: Any) -> str:
    """`mul` for aten.mul.Tensor, torch.mul and Tensor.mul."""
    if isinstance(func, torch._ops.OpOverload):
        return func._schema.name.split("::")[1]
    return getattr(func, "__name__", str(func))


def fold(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute an operator of constants, in float64.

    Returns:
        A Constant for each tensor of the result; its dtype is the one that the operator would have given it.
    """

    if args and isinstance(args[0], Constant) and operator_name(func) in SELECTING | SAME:
        return args[0] if operator_name(func) in SAME else _selected(func, args, kwargs)

    def compute() -> tuple[Any, Any]:
        """In float64, and as the model itself would, for its dtypes: only PyTorch knows what becomes of two of them."""

        def widen(leaf: Any) -> Any:
            if isinstance(leaf, Constant):
                return leaf.wide()
            return WIDE.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf

        def narrow(leaf: Any) -> Any:
            return leaf.value.to(leaf.dtype) if isinstance(leaf, Constant) else leaf

        wide_args, wide_kwargs = pytree.tree_map(widen, (args, kwargs))
        narrow_args, narrow_kwargs = pytree.tree_map(narrow, (args, kwargs))
        with OneAxisAtATime():
            return func(*wide_args, **wide_kwargs), func(*narrow_args, **narrow_kwargs)

    def constant(wide: Any, narrow: Any) -> Any:
        if not isinstance(wide, torch.Tensor):
            return narrow
        # What the model rounds on purpose, or compares, is what it gets from its own numbers.
        is_exact = not (narrow.is_floating_point() or narrow.is_complex())
        is_rounded = operator_name(func) in ("_to_copy", "to") and narrow.dtype in (torch.float16, torch.bfloat16)
        return Constant(narrow if is_exact or is_rounded else wide, narrow.dtype)

    return pytree.tree_map(constant, *compilation.eagerly(compute))


def _selected(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same where there is nothing to compute: the result is a view of the weights, and takes no memory."""
    given, *others = args
    value = compilation.eagerly(lambda: func(given.value, *others, **kwargs))
    return Constant(value, given.dtype if value.dtype == given.value.dtype else PART[given.dtype])


def emit(values: Any) -> Any:
    """Ordinary tensors in place of constants; everything else as it is."""
    return pytree.tree_map_only(Constant, _emit, values)


def _emit(constant: Constant) -> torch.Tensor:
    state = compilation.current()
    if constant.name is not None:
        return state.parameter(constant.name, constant.value)
    if constant.place is None:
        constant.place = state.store(constant.value, constant.dtype)
    return state.stored(constant.place)


def _can_fold(func: Any, leaves: list[Any]) -> bool:
    if any(isinstance(leaf, (torch.Tensor, torch.SymInt, torch.SymFloat)) for leaf in leaves):
        return False
    if any(isinstance(leaf, Value) and not isinstance(leaf, Constant) for leaf in leaves):
        return False
    tags = getattr(func, "tags", ())
    return operator_name(func) not in UNINITIALISED and torch.Tag.nondeterministic_seeded not in tags


def _complex_rule(name: str) -> Rule:
    if name in COMPLEX_RULES:
        return COMPLEX_RULES[name]
    if not COMPLEX_RULES:
        rules_missing(name)
    raise UnsupportedOperatorError(name, alternative_to(name, supported_operators()))


def supported_operators() -> list[str]:
    """Names of all operators that have a rule for complex values."""
    return sorted({*COMPLEX_RULES, *ENTRY_RULES})


def _apply_to_view(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    view = args[0]
    if name == "select" and isinstance(view, RealView) and args[1] in (-1, view.ndim - 1):
        return view.z.re if args[2] in (0, -2) else view.z.im
    args, kwargs = pytree.tree_map_only(RealView, lambda v: stacked(v.z), (args, kwargs))
    return apply(func, args, kwargs)


def stacked(z: Complex) -> torch.Tensor:
    """The complex value as one real tensor (..., 2); of both parts of one tensor, its axes in another order."""
    re = z.re
    if isinstance(re, Part) and re.is_first_of(z.im):
        return re.pairs()
    return torch.stack([full(z.re), full(z.im)], dim=-1)


def full(value: Any) -> torch.Tensor:
    """An ordinary tensor from any real value."""
    return emit(settled(value, Lazy))
