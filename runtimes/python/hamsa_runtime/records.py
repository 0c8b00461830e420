"""Frozen dataclasses from JSON that has been checked, and back: by their type hints, so that no field is said twice."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
# Of a field that not every document has: where it has its default, it is not written.
SINCE = {"since": True}


def record_from(record: type[T], document: Mapping[str, Any]) -> T:
    """The dataclass `record` of an object that has been checked: its names are the fields'."""
    return _maker_of_record(record)(document)


def document_from(value: Any) -> Any:
    """A dataclass as JSON can say it: objects, lists and plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: document_from(getattr(value, each.name))
            for each in dataclasses.fields(value)
            if not _is_absent(each, getattr(value, each.name))
        }
    if isinstance(value, Mapping):
        return {name: document_from(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [document_from(each) for each in value]
    return float(value) if isinstance(value, float) else value  # NumPy's float64 is one, too


@functools.cache
def _hints(record: Any) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _is_absent(each: dataclasses.Field[Any], value: Any) -> bool:
    return "since" in each.metadata and value == each.default


def _maker_of_record(record: type[T]) -> Callable[[Mapping[str, Any]], T]:
    hints = _hints(typing.cast(Any, record))
    return lambda document: record(**{name: _maker(hints[name])(value) for name, value in document.items()})


@functools.cache
def _maker(hint: Any) -> Callable[[Any], Any]:
    """Lists become tuples and objects what their hint says; JSON writes whole floats without a point."""
    kind, inner = typing.get_origin(hint), typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        others = [each for each in inner if each is not type(None)]
        make = _as_it_is if len(others) > 1 else _maker(others[0])
        return lambda value: None if value is None else make(value)
    if dataclasses.is_dataclass(hint):
        return _maker_of_record(typing.cast("type[Any]", hint))
    if kind is tuple:
        make = _maker(inner[0])
        return tuple if make is _as_it_is else lambda value: tuple(map(make, value))
    if isinstance(kind, type) and issubclass(kind, Mapping):
        make = _maker(inner[1])
        return dict if make is _as_it_is else lambda value: {name: make(each) for name, each in value.items()}
    return float if hint is float else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
