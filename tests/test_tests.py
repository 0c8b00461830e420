"""The tests themselves: they know the packages by public names, so that moving what is private breaks none of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGES = ("hamsa_deploy", "hamsa_runtime")
# Private names of others that have no public one: an operator's schema in PyTorch; the end of a forked process.
OF_OTHERS = {"_schema", "_exit"}
# They take a name as text.
BY_NAME = {"setattr", "getattr", "hasattr", "delattr"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def private_names(program: ast.AST) -> Iterator[str]:
    """What a program, or a program in one of its strings, imports, uses or patches of somebody else's private names."""
    for node in ast.walk(program):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGES):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (f"import {name}" for name in names if is_private(name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in OF_OTHERS:
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield from _patched(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _in_text(node.value)


def _patched(call: ast.Call) -> Iterator[str]:
    """Of setattr(thing, "_name", ...) and its like."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if function in BY_NAME and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        name = str(call.args[1].value)
        if is_private(name) and name not in OF_OTHERS:
            yield ast.unparse(call)


def _in_text(text: str) -> Iterator[str]:
    """Of "hamsa_deploy.module._name", or of a program that another process is to run."""
    if text.startswith(PACKAGES) and " " not in text:
        yield from (text for part in text.split(".") if is_private(part))
    elif "import " in text:
        try:
            program = ast.parse(text)
        except SyntaxError:
            return
        if not (len(program.body) == 1 and isinstance(program.body[0], ast.Expr)):  # else it is a sentence
            yield from private_names(program)


def test_no_test_knows_a_private_name_of_the_packages() -> None:
    files = {path for path in TESTS.rglob("*.py") if path != Path(__file__)}  # the examples below are of that kind
    found = {path.relative_to(TESTS): list(private_names(ast.parse(path.read_text("utf-8")))) for path in files}
    assert len(found) > 150
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "program",
    [
        "from hamsa_deploy.pipeline.staging import _swap",
        "from hamsa_runtime._hidden import name",
        "staging._exchange(one, other)",
        "engine._backend.infer(inputs)",
        'monkeypatch.setattr(cache, "_version", None)',
        'patch.setattr("hamsa_deploy.precision.cache._version", None)',
        'getattr(engine, "_run")',
        'run("import os\\nfrom hamsa_deploy.pipeline import staging\\nstaging._swap = None")',
    ],
)
def test_a_private_name_is_found(program: str) -> None:
    assert list(private_names(ast.parse(program)))


@pytest.mark.parametrize(
    "program",
    [
        "self._process = cls._start()",
        "from torch.utils import _pytree",
        "node.target._schema.returns",
        "thing.__init__(_)",
        'run("import os\\nos._exit(0)")',
        'name.endswith("_half")',
    ],
)
def test_what_is_a_tests_own_or_somebody_elses_is_left_alone(program: str) -> None:
    assert not list(private_names(ast.parse(program)))
