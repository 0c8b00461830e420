"""What a module holds beside its parameters, and whether running it changes that.

State is buffers and attributes of all modules, and what lies in containers and objects there: `norm.mean`, `tails[0]`,
`cache.length`; and what their code reads elsewhere: attributes of classes, global and enclosing variables.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import inspect
import random
import textwrap
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

Leaves = dict[str, Any]

DEPTH = 8  # of objects in objects
_MODULES_OWN = frozenset(vars(nn.Module()))
_GENERATORS: dict[type, Callable[[Any], Any]] = {
    torch.Generator: lambda generator: generator.get_state(),
    random.Random: lambda generator: generator.getstate(),
    np.random.Generator: lambda generator: str(generator.bit_generator.state),
    np.random.RandomState: lambda generator: str(generator.get_state()),
}
_NUMBERS = (bool, int, float, complex)
_CONTAINERS = (list, tuple, dict, set)
_PLAIN = (*_NUMBERS, *_CONTAINERS, torch.Tensor, np.ndarray)
_CALLED = (types.FunctionType, types.MethodType, functools.partial)
_CODE = (type, types.MethodType, types.BuiltinFunctionType, types.ModuleType)


def copy_of(
    model: nn.Module, change: Callable[[nn.Parameter], nn.Parameter] = lambda parameter: parameter
) -> nn.Module:
    """A deep copy that shares what nobody can copy (files, locks), and parameters, unless they are changed."""
    copied: nn.Module = _copied(model, {id(parameter): change(parameter) for parameter in model.parameters()})
    return copied


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy; where that fails, piece by piece. `memo` is as deepcopy has it."""
    if id(value) in memo:
        return memo[id(value)]
    known = {*memo, id(memo)}  # deepcopy keeps alive what it has copied, under the id of its memo
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001  # whatever it is that cannot be copied raises
        for half_done in memo.keys() - known:
            del memo[half_done]
        return _copied_in_pieces(value, memo)


def _copied_in_pieces(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()  # one that a differentiable operator made
    if type(value) in (dict, OrderedDict):
        return type(value)({key: _copied(each, memo) for key, each in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_copied(each, memo) for each in value)
    if not hasattr(value, "__dict__") or isinstance(value, (*_CODE, types.FunctionType)):
        return value
    made = memo[id(value)] = object.__new__(type(value))
    made.__dict__.update({name: _copied(each, memo) for name, each in vars(value).items()})
    return made


def state_of(model: nn.Module, held: dict[int, Any] | None = None) -> Leaves:
    """All state by path; tensors are copied, so that later writes do not reach them.

    Args:
        model: whose state it is.
        held: gets by id the modules, containers and objects that were looked into.
    """
    found: Leaves = {}
    seen = {} if held is None else held
    seen.update((id(module), module) for module in model.modules())
    for path, module in model.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in _MODULES_OWN}
        for name, value in {**elsewhere(type(module)), **module._parameters, **module._buffers, **own}.items():
            found.update(_leaves(f"{path}.{name}" if path else name, value, seen, DEPTH))
    return found


def elsewhere(kind: type) -> Leaves:
    """Numbers, tensors and containers that belong to a class, or that its functions name."""
    found: Leaves = {}
    for each in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        own = {name: value for name, value in vars(each).items() if not name.startswith("__")}
        functions = [value for value in vars(each).values() if isinstance(value, types.FunctionType)]
        for variables in (own, *map(_variables_of, functions)):
            found |= {name: value for name, value in variables.items() if isinstance(value, _PLAIN)}
    return found


def _variables_of(function: types.FunctionType) -> Leaves:
    """Global and enclosing ones."""
    names = function.__code__.co_names
    return {name: function.__globals__[name] for name in names if name in function.__globals__} | _enclosing(function)


def _enclosing(function: types.FunctionType) -> Leaves:
    found: Leaves = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a variable without a value
            found[name] = cell.cell_contents
    return found


@dataclass(frozen=True)
class _Identity:
    """Of what is not looked into. Not a number: one that changes at each call counts nothing."""

    number: int

    @classmethod
    def of(cls, value: Any) -> _Identity:
        return cls(id(value))


def _leaves(path: str, value: Any, seen: dict[int, Any], depth: int) -> Iterator[tuple[str, Any]]:
    """What can be compared; of anything else, its identity."""
    state = next((state for kind, state in _GENERATORS.items() if isinstance(value, kind)), None)
    if state is not None:
        yield path, state(value)
    elif isinstance(value, torch.Tensor):
        yield path, _Identity.of(value) if isinstance(value, nn.Parameter) else value.detach().clone()
    elif isinstance(value, np.ndarray):
        yield path, value.copy()
    elif value is None or isinstance(value, (*_NUMBERS, str, bytes)):
        yield path, value
    elif id(value) in seen or depth == 0 or (isinstance(value, _CODE) and not isinstance(value, types.MethodType)):
        yield path, _Identity.of(value)
    else:
        seen[id(value)] = value
        yield path, type(value) if isinstance(value, _CONTAINERS) else _Identity.of(value)
        for name, each in _parts(value):
            yield from _leaves(path + name, each, seen, depth - 1)


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", each) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", each) for index, each in enumerate(value)]
    if isinstance(value, types.FunctionType):
        kinds = (*_PLAIN, *_CALLED)
        inner = {name: each for name, each in _enclosing(value).items() if isinstance(each, kinds)}
        outer = {name: each for name, each in _variables_of(value).items() if isinstance(each, _PLAIN)}
        return [(f".{name}", each) for name, each in {**outer, **inner}.items()]
    if isinstance(value, types.MethodType):
        return [("", value.__self__)]
    if isinstance(value, functools.partial):
        return [("", value.func), (".args", value.args), (".keywords", value.keywords)]
    if isinstance(value, set):
        return [("", str(sorted(map(str, value))))]
    return [(f".{name}", each) for name, each in getattr(value, "__dict__", {}).items()]


def changed(before: Leaves, after: Leaves) -> set[str]:
    """The paths whose values are not the same, to the bit."""
    return {name for name in before.keys() | after.keys() if not is_same(before.get(name), after.get(name))}


def is_same(a: Any, b: Any) -> bool:
    """Whether two leaves are the same; NaN is the same as NaN."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


def is_number(value: Any) -> bool:
    """Whether a leaf is one of Python's."""
    return isinstance(value, _NUMBERS)


def line_that_assigns(model: nn.Module, path: str) -> str:
    """`, model.py:12: self.count += 1`: where a module's class writes an attribute; empty where none is found.

    Args:
        model: whose state it is.
        path: as `state_of` has it.
    """
    modules = {name: module for name, module in model.named_modules() if path.startswith(f"{name}." if name else "")}
    owner = max(modules, key=len)
    attribute = path[len(owner) + bool(owner) :].split(".")[0].split("[")[0]
    for kind in type(modules[owner]).__mro__:
        if kind is nn.Module:
            break
        with_source = _source_of(kind)
        for function in ast.walk(with_source[2]):
            if isinstance(function, ast.FunctionDef) and function.name != "__init__":
                for node in ast.walk(function):
                    if isinstance(node, ast.stmt | ast.Call) and attribute in _written_by(node):
                        file, first, _, lines = with_source
                        return f", {file}:{first + node.lineno - 1}: {lines[node.lineno - 1].strip()}"
    return ""


def _source_of(kind: type) -> tuple[str, int, ast.AST, list[str]]:
    try:
        lines, first = inspect.getsourcelines(kind)
        return str(inspect.getsourcefile(kind)), first, ast.parse(textwrap.dedent("".join(lines))), lines
    except (OSError, TypeError, SyntaxError):
        return "", 0, ast.Module([], []), []


def _written_by(node: ast.AST) -> set[str]:
    """The attributes that a statement assigns to, or whose methods a call may change: `self.tails.append(x)`."""
    if isinstance(node, ast.Assign):
        targets: list[ast.AST] = [leaf for target in node.targets for leaf in _unpacked(target)]
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        targets = [node.func.value] if node.func.attr in _CHANGING else []
    else:
        targets = []
    return {name for target in targets for name in _attributes(target)}


_CHANGING = {"append", "appendleft", "extend", "insert", "pop", "popleft", "clear", "update", "add", "setdefault"}


def _unpacked(target: ast.AST) -> list[ast.AST]:
    return list(target.elts) if isinstance(target, ast.Tuple | ast.List) else [target]


def _attributes(target: ast.AST) -> Iterator[str]:
    """`tails` and `x` of `self.tails[0].x`."""
    while isinstance(target, ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Attribute):
            yield target.attr
        target = target.value
