"""One function through which every operator of the interpreted graph goes.

`apply` looks at the values and decides:

1. all of them constant: compute now, in float64;
2. a complex one among them, or an operator that makes complex values: the rule of that operator;
3. a Mirrored one among them: the rule that works on half of the frequencies, or the full spectrum;
4. ordinary tensors: the operator itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

from hamsa_deploy.errors import UnsupportedOperatorError
from hamsa_deploy.spectral import trace
from hamsa_deploy.spectral.alternatives import alternative_to
from hamsa_deploy.spectral.separable import OneAxisAtATime
from hamsa_deploy.spectral.values import WIDE, Complex, Constant, RealView, Value, is_complex

# A captured view relies on the strides that torch.fft gave its result; ours has others.
VIEWS = {"view", "_unsafe_view"}

# Whatever lies in memory is no constant: a second run would find another. Their rules give zeros.
UNINITIALISED = {"empty", "empty_like", "new_empty"}

Function = Callable[..., Any]
Rule = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]  # (operator, args, kwargs) -> result

COMPLEX_RULES: dict[str, Rule] = {}  # for an operator that is given a complex value
ENTRY_RULES: dict[str, Rule] = {}  # for an operator that makes complex values out of real ones
MIRRORED_RULES: dict[str, Rule] = {}  # for an operator that is given a Mirrored value

NON_NEGATIVE = {"sigmoid", "abs", "exp", "relu", "square", "sqrt", "softmax", "relu6", "hardsigmoid", "softplus"}


def rule(*names: str) -> Callable[[Function], Function]:
    """Register what an operator does to complex values, under its ATen names without overload.

    The function takes the operator's own arguments."""
    return _registrar(COMPLEX_RULES, names)


def entry_rule(*names: str) -> Callable[[Function], Function]:
    """Register an operator that makes complex values, whatever it is given."""
    return _registrar(ENTRY_RULES, names)


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


def mirrored_rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function (operator, args, kwargs) that applies the operator to halves of Mirrored values.

    It returns NotImplemented where the full spectrum is needed."""
    return lambda function: MIRRORED_RULES.update(dict.fromkeys(names, function)) or function


def apply(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of `func` on ordinary tensors and compiler values alike."""
    name = operator_name(func)
    leaves = pytree.tree_leaves((args, kwargs))
    if _can_fold(func, leaves):
        return fold(func, args, kwargs)
    if name in ENTRY_RULES and (result := ENTRY_RULES[name](func, args, kwargs)) is not NotImplemented:
        return result
    if any(isinstance(leaf, RealView) for leaf in leaves):
        return _apply_to_view(func, name, args, kwargs)
    if any(is_complex(leaf) for leaf in leaves):
        return _complex_rule(name)(func, args, kwargs)
    if any(isinstance(leaf, Value) and not isinstance(leaf, Constant) for leaf in leaves):
        return _apply_to_mirrored(func, name, args, kwargs)
    if name in VIEWS:
        func = torch.ops.aten.reshape.default
    result = func(*emit(args), **emit(kwargs))
    if name in NON_NEGATIVE:
        trace.current().mark_nonnegative(result)
    return result


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

    def compute() -> Any:
        def widen(leaf: Any) -> Any:
            if isinstance(leaf, Constant):
                return leaf.wide()
            return WIDE.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf

        wide_args, wide_kwargs = pytree.tree_map(widen, (args, kwargs))
        with OneAxisAtATime():
            return func(*wide_args, **wide_kwargs)

    narrow = _narrow_dtypes(args, kwargs)
    result = trace.eagerly(compute)
    return pytree.tree_map_only(torch.Tensor, lambda t: Constant(t, narrow.get(t.dtype, t.dtype)), result)


def emit(values: Any) -> Any:
    """Ordinary tensors in place of constants; everything else as it is."""
    return pytree.tree_map_only(Constant, _emit, values)


def _emit(constant: Constant) -> torch.Tensor:
    state = trace.current()
    if constant.name is not None:
        return state.parameter(constant.name, constant.value)
    return state.buffer(trace.eagerly(lambda: constant.value.to(constant.dtype).contiguous()))


def _can_fold(func: Any, leaves: list[Any]) -> bool:
    if any(isinstance(leaf, (torch.Tensor, torch.SymInt, torch.SymFloat)) for leaf in leaves):
        return False
    if any(isinstance(leaf, Value) and not isinstance(leaf, Constant) for leaf in leaves):
        return False
    tags = getattr(func, "tags", ())
    return operator_name(func) not in UNINITIALISED and torch.Tag.nondeterministic_seeded not in tags


def _narrow_dtypes(args: Any, kwargs: Any) -> dict[torch.dtype, torch.dtype]:
    """Which dtype a wide result stands for: float64 only where the model itself says float64."""
    leaves = pytree.tree_leaves((args, kwargs))
    dtypes = [leaf.dtype for leaf in leaves if isinstance(leaf, Constant)]
    dtypes += [leaf for leaf in leaves if isinstance(leaf, torch.dtype)]
    if any(dtype in (torch.float64, torch.complex128) for dtype in dtypes):
        return {}
    return {torch.float64: torch.float32, torch.complex128: torch.complex64}


def _complex_rule(name: str) -> Rule:
    if name in COMPLEX_RULES:
        return COMPLEX_RULES[name]
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
    """The complex value as one real tensor (..., 2)."""
    return torch.stack([full(z.re), full(z.im)], dim=-1)


def full(value: Any) -> torch.Tensor:
    """An ordinary tensor from any real value."""
    from hamsa_deploy.spectral.mirrored import Mirrored

    return emit(value.materialise() if isinstance(value, Mirrored) else value)


def _apply_to_mirrored(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from hamsa_deploy.spectral.mirrored import Mirrored

    lifted = MIRRORED_RULES.get(name)
    result = lifted(func, args, kwargs) if lifted else NotImplemented
    if result is NotImplemented:
        args, kwargs = pytree.tree_map_only(Mirrored, lambda m: m.materialise(), (args, kwargs))
        result = apply(func, args, kwargs)
    if name in NON_NEGATIVE:
        trace.current().mark_nonnegative(result)
    return result
