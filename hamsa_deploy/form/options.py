"""One description for an option of an export, the field of a dataclass: how Python and the command line say it.

field: name, type, default ──▶ the signature of `export`, for people and for type checkers
option(default, text, flag)
         │        └──────────▶ its docstring
         └───────────────────▶ Flag: --name, type and help on the command line, and so the key in a recipe
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar, get_type_hints

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")
P = ParamSpec("P")

WIDTH = 116  # of a docstring without its indentation
TEXT, FLAG = "text", "flag"


def as_it_is(value: Any) -> Any:
    """The value of an option whose field takes what the command line says."""
    return value


@dataclass(frozen=True)
class Flag:
    """How an option is said on the command line. One that is not said leaves the field at its default.

    Attributes:
        group: the heading in --help.
        help: the text there.
        metavar: what stands for the value in --help; a switch has none.
        type: from text to the value; see `values`.
        name: with its dashes; by default the field's.
        is_list: it may be repeated, and the value is a list.
        one_each: instead of a value, a switch for each of these values, with its help.
        value: from what was said to the field.
        after: the field that it follows in --help, where that is not the one before it in the signature.
    """

    group: str
    help: str = ""
    metavar: str = ""
    type: Callable[[str], Any] = str
    name: str = ""
    is_list: bool = False
    one_each: Mapping[str, str] = field(default_factory=dict)
    value: Callable[[Any], Any] = as_it_is
    after: str = ""

    @property
    def dest(self) -> str:
        """The attribute of argparse's namespace."""
        return self.name.removeprefix("--").replace("-", "_")


def option(default: T, text: str, flag: Flag | None = None) -> T:
    """A field with a default, what a docstring says of it, and its flag if the command line has it."""
    made: Any = field(default=default, metadata=documented(text, flag))
    return made


def documented(text: str, flag: Flag | None = None) -> dict[str, Any]:
    """The same where there is no default: `field(metadata=documented(...))`, which type checkers know as required."""
    return {TEXT: text, FLAG: flag}


def default_of(options: type, name: str) -> Any:
    """The default of a field."""
    return next(each.default for each in dataclasses.fields(options) if each.name == name)


def flags_of(options: type) -> dict[str, Flag]:
    """The flags of a dataclass by field, in the order of --help."""
    return named({each.name: each.metadata[FLAG] for each in dataclasses.fields(options) if each.metadata.get(FLAG)})


def named(flags: Mapping[str, Flag]) -> dict[str, Flag]:
    """Flags by field with all names settled, in the order of --help."""
    order = [name for name, flag in flags.items() if not flag.after]
    for name in [name for name, flag in flags.items() if flag.after]:
        order.insert(order.index(flags[name].after) + 1, name)
    return {name: replace(flags[name], name=flags[name].name or f"--{name.replace('_', '-')}") for name in order}


def taking(make: Callable[P, A], **names: Any) -> Callable[[Callable[[A], R]], Callable[P, R]]:
    """Make a function of one dataclass a function of its fields.

    Type checkers take names, types and defaults of its parameters from the dataclass by P; `inspect` and `help` have
    them as signature, and what the fields say of themselves at {options} in the docstring.

    Args:
        make: the dataclass.
        names: types that its module names in annotations without importing them.
    """

    def taken(function: Callable[[A], R]) -> Callable[P, R]:
        signature = _signature(make, inspect.signature(function).return_annotation)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            return function(make(*args, **kwargs))

        # KW_ONLY marks what follows it and is no type, for which Python 3.10 refuses the whole class.
        types = get_type_hints(make, localns={**names, "KW_ONLY": object})
        call.__annotations__ = {name: types[name] for name in signature.parameters}
        call.__annotations__["return"] = get_type_hints(function)["return"]
        call.__doc__ = inspect.cleandoc(function.__doc__ or "").replace("    {options}", _text(make, signature))
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return taken


def _signature(options: Any, returned: Any) -> inspect.Signature:
    """The fields as parameters; of those that only keywords set, the required ones first."""
    parameters = [_parameter(each) for each in dataclasses.fields(options)]
    parameters.sort(key=lambda each: (each.kind, each.kind == each.KEYWORD_ONLY and each.default is not each.empty))
    return inspect.Signature(parameters, return_annotation=returned)


def _parameter(each: dataclasses.Field[Any]) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY if each.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
    default = inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default
    return inspect.Parameter(each.name, kind, default=default, annotation=each.type)


def _text(options: Any, signature: inspect.Signature) -> str:
    texts = {each.name: each.metadata[TEXT] for each in dataclasses.fields(options)}
    fill = functools.partial(
        textwrap.fill, width=WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False
    )
    return "\n".join(fill(f"{name}: {texts[name]}") for name in signature.parameters)
