"""Recipes: the options of a command in a TOML file, `--recipe FILE`; the package's own by their names.

The keys are the long names of the options, the values what would stand behind them. All of it is read off the parser:
each value is handed to argparse as if it stood on the command line, so a recipe knows every option, takes what the
option takes, and refuses it with the same words.

    option on the command line      in a recipe
    --to openvino                   to = "openvino"
    --batch-profile 1,1,8           batch-profile = [1, 1, 8]
    --without smooth, repeated      without = ["smooth"]
    --tune                          tune = true
    --fp32, --fp16 (one of them)    precision = "fp16"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hamsa_deploy.cli.parser import Parser
from hamsa_runtime.errors import InputError, nearest
from hamsa_runtime.folders import small_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# In a checkout a link to export/, so that packages hold the recipes and people find them.
FOLDER = Path(__file__).parents[1] / "recipes"
MAX_BYTES = 2**20
# What belongs to one call of the command, and not to what it makes.
NOT_IN_A_RECIPE = ("recipe", "help", "version", "json", "quiet", "verbose", "log-file")


def names() -> list[str]:
    """The recipes of this package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def recipe_file(text: str) -> Path:
    """A file that is there, or a recipe of this package by its name."""
    path = Path(text)
    return FOLDER / f"{text}.toml" if text in names() and not path.exists() else path


class RecipeParser(Parser):
    """A parser with `--recipe FILE`; what stands on the command line goes before what stands in the file."""

    def add_recipe(self, example: str = 'to = "openvino" or precision = "int8"') -> None:
        """The option itself; the example is two lines of a recipe for this command."""
        self.add_argument_group("recipe").add_argument(
            "--recipe", type=recipe_file, metavar="FILE",
            help=f"a TOML file of these options by their long names, such as {example}, or the name of one that comes "
                 f"with this package ({', '.join(names())}); "
                 "options on the command line override it; paths in it are relative to the current folder",
        )  # fmt: skip

    def options_from(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The options of a command line and of the recipe that it names.

        Raises:
            InputError: an unknown option or key, a value that it does not take, or a file that cannot be read.
        """
        given = self.given(argv)
        path = given.get("recipe")
        recipe = {} if path is None else _options_in(path, self)
        return argparse.Namespace(**(self.defaults() | recipe | given))


def keys_of(parser: Parser) -> dict[str, list[argparse.Action]]:
    """The keys of a recipe, each with its option, or with the options of which one is chosen."""
    keys: dict[str, list[argparse.Action]] = {}
    for action in parser.actions():
        name = action.dest if _is_choice(action) else _long_name(action)
        if name not in NOT_IN_A_RECIPE:
            keys.setdefault(name, []).append(action)
    return keys


def _options_in(path: Path, parser: Parser) -> dict[str, Any]:
    keys = keys_of(parser)
    options: dict[str, Any] = {}
    for key, value in _table_in(path).items():
        if key not in keys:
            raise _unknown_key(path, key, keys)
        options |= _option(path, key, value, keys[key], parser)
    return options


def _option(path: Path, key: str, value: Any, actions: list[argparse.Action], parser: Parser) -> dict[str, Any]:
    try:
        return parser.given(_arguments(key, value, actions))
    except InputError as error:
        argument = f"{parser.prog}: argument {'/'.join(actions[0].option_strings)}: "
        found = f"{path}: {key}: {error.found.removeprefix(argument)}"
        fix = f"{parser.prog} --help says what --{key} takes" if len(actions) == 1 else error.fix
        raise InputError(found, expected=error.expected, fix=fix) from error


def _arguments(key: str, value: Any, actions: list[argparse.Action]) -> list[str]:
    """The arguments that would say the same on the command line."""
    action = actions[0]
    if _is_choice(action):
        return [_chosen(key, value, actions)]
    name = action.option_strings[-1]
    if action.nargs == 0:
        return [name] if _flag(value) else []
    repeatable = isinstance(action, argparse._AppendAction)
    values = value if repeatable and isinstance(value, list) else [value]
    return [f"{name}={_text(each, action)}" for each in values]


def _chosen(key: str, value: Any, actions: list[argparse.Action]) -> str:
    names = {action.const: action.option_strings[-1] for action in actions}
    if not isinstance(value, str) or value not in names:
        hint = nearest(value, names) if isinstance(value, str) else ""
        raise InputError(f"unknown {key} {value!r}", expected="one of " + ", ".join(names), fix=hint)
    return names[value]


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{value!r} is {_kind(value)}", expected="true or false")
    return value


def _text(value: Any, action: argparse.Action) -> str:
    """What would stand behind the option. A list of numbers is written with commas, where text is taken apart."""
    if isinstance(value, list) and action.type not in (None, Path) and all(map(_is_number, value)):
        return ",".join(map(str, value))
    if isinstance(value, str) or _is_number(value):
        return str(value)
    raise InputError(f"{value!r} is {_kind(value)}", expected=f"one {action.metavar}, as text or a number")


def _is_choice(action: argparse.Action) -> bool:
    """One of several options that set the same thing, such as --fp16."""
    return action.nargs == 0 and action.const not in (None, True, False)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    kinds = {bool: "a truth value", str: "text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def _long_name(action: argparse.Action) -> str:
    return action.option_strings[-1].lstrip("-")


def _unknown_key(path: Path, key: str, keys: dict[str, list[argparse.Action]]) -> InputError:
    for name, actions in keys.items():
        if any(_is_choice(action) and _long_name(action) == key for action in actions):
            return InputError(f"{path}: unknown key {key!r}", fix=f'{name} = "{key}"')
    expected = "one of " + ", ".join(sorted(keys))
    if key in NOT_IN_A_RECIPE:
        return InputError(f"{path}: unknown key {key!r}", expected=expected, fix=f"--{key} on the command line")
    return InputError(f"{path}: unknown key {key!r}", expected=expected, fix=nearest(key, keys))


def _table_in(path: Path) -> dict[str, Any]:
    table = _parsed(path)
    _check_numbers(path, table)
    return table


def _check_numbers(path: Path, table: dict[str, Any]) -> None:
    """The parser takes hexadecimal numbers of any length; Python cannot even print some of those."""
    pending: list[Any] = [table]
    while pending:
        value = pending.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InputError(f"{path}: not a recipe: a whole number of {value.bit_length()} bits", expected="64 bits")
        pending += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(small_file(path, "the recipe", "a TOML file", MAX_BYTES).decode())
    except InputError as error:
        known = f", or one of {', '.join(names())}" if _may_be_a_name(path) else ""
        raise InputError(error.found, expected=f"{error.expected}{known}", fix=_neighbour(path)) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or nested without end
        raise InputError(
            f"{path}: not a recipe: {error}", expected='a TOML file with lines such as precision = "int8"'
        ) from error


def _may_be_a_name(path: Path) -> bool:
    return path.name == str(path) and not path.suffix


def _neighbour(path: Path) -> str:
    """A hint naming another recipe beside it that was meant, if one has nearly that name, or that of the package."""
    if _may_be_a_name(path):
        return nearest(path.name, names())
    try:
        return nearest(path.name, [each.name for each in path.parent.glob("*.toml") if each.name != path.name])
    except OSError:  # a folder that cannot be listed
        return ""
