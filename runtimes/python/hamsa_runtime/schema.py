"""Small checks that turn parsed JSON into typed values, to be put together into a table.

A check takes a value and where it stands (such as ``inputs[0].dtype``) and returns the typed value, or raises
InputError saying what was found there and what was expected. Nothing is coerced: ``"1"`` is not 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from hamsa_runtime.errors import InputError, nearest

T = TypeVar("T")
Check = Callable[[Any, str], T]

# Whole numbers beyond this are not exact in every JSON reader (the C++ runtime parses them as int64).
MAX_INTEGER = 2**53


def reject(value: object, where: str, expected: str, fix: str = "") -> InputError:
    """The error for a value that is not what it should be; the value is shown cut to 80 characters."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return InputError(f"manifest.json: {where or 'the whole file'} is {shown}", expected=expected, fix=fix)


def text(value: Any, where: str) -> str:
    """A string that can be encoded as UTF-8 (JSON lets lone surrogates through) and holds no NUL."""
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise reject(value, where, "a text")
    return value


def integer(low: int) -> Check[int]:
    """A whole number of at least `low`."""

    def check(value: Any, where: str) -> int:
        if type(value) is not int or not low <= value <= MAX_INTEGER:
            raise reject(value, where, f"a whole number of at least {low}")
        return value

    return check


def number(value: Any, where: str) -> float:
    """A finite number; of whole numbers, those that a float can hold."""
    try:
        finite = type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise reject(value, where, "a finite number")
    return float(value)


def boolean(value: Any, where: str) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise reject(value, where, "true or false")
    return value


def one_of(*names: object) -> Check[Any]:
    """One of a few values; the error names the nearest of them."""

    def check(value: Any, where: str) -> Any:
        for name in names:
            if type(value) is type(name) and value == name:
                return value
        hint = nearest(value, map(str, names)) if isinstance(value, str) else ""
        raise reject(value, where, "one of " + ", ".join(map(repr, names)), hint)

    return check


def either(expected: str, *checks: Check[Any]) -> Check[Any]:
    """The first of several checks that accepts the value."""

    def check(value: Any, where: str) -> Any:
        for each in checks:
            try:
                return each(value, where)
            except InputError:
                continue
        raise reject(value, where, expected)

    return check


def nullable(inner: Check[T]) -> Check[T | None]:
    """null, or what `inner` accepts."""

    def check(value: Any, where: str) -> T | None:
        return None if value is None else inner(value, where)

    return check


def list_of(inner: Check[T], length: int | None = None) -> Check[tuple[T, ...]]:
    """A list, of `length` elements where given, as a tuple."""

    def check(value: Any, where: str) -> tuple[T, ...]:
        if not isinstance(value, list) or length not in (None, len(value)):
            raise reject(value, where, "a list" if length is None else f"a list of {length}")
        return tuple(inner(each, f"{where}[{i}]") for i, each in enumerate(value))

    return check


def dict_of(inner: Check[T], key: Check[str] = text) -> Check[dict[str, T]]:
    """An object with free names and values of one kind."""

    def check(value: Any, where: str) -> dict[str, T]:
        if not isinstance(value, dict):
            raise reject(value, where, "an object")
        return {key(name, f"{where}: the name"): inner(each, f"{where}.{name}") for name, each in value.items()}

    return check


def record(
    make: Callable[..., T], fields: Mapping[str, Check[Any]], optional: Mapping[str, Check[Any]] = MappingProxyType({})
) -> Check[T]:
    """An object with exactly the given names, and perhaps optional ones; `make` builds the typed value from them."""
    known = {**fields, **optional}

    def check(value: Any, where: str) -> T:
        if not isinstance(value, dict):
            raise reject(value, where, "an object with " + ", ".join(fields))
        dot = f"{where}." if where else ""
        for name in value:
            if name not in known:
                raise InputError(
                    f"manifest.json: unknown key {(dot + str(name))[:80]!r}",
                    expected="only " + ", ".join(known),
                    cause="a misspelling, or a bundle written by a newer version",
                    fix=nearest(name, known),
                )
        if missing := [name for name in fields if name not in value]:
            raise InputError(f"manifest.json: {dot + missing[0]} is missing", expected=", ".join(fields))
        return make(**{name: inner(value[name], dot + name) for name, inner in known.items() if name in value})

    return check


scalar: Check[str | int | float | bool | None] = nullable(
    either("a text, a number, true, false or null", text, boolean, integer(-MAX_INTEGER), number)
)


def json_value(value: Any, where: str) -> Any:
    """Any JSON value without NaN, infinity or text that is not UTF-8; for provenance nothing depends on."""
    if isinstance(value, dict):
        return dict_of(json_value)(value, where)
    if isinstance(value, list):
        return [json_value(each, f"{where}[{i}]") for i, each in enumerate(value)]
    return scalar(value, where)


json_object: Check[dict[str, Any]] = dict_of(json_value)
