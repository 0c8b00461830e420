"""Checks parsed JSON against a JSON Schema: the subset of draft 2020-12 that manifest.schema.json is written in.

Applied are ``type``, ``enum``, ``minimum``, ``maximum``, ``exclusiveMinimum``, ``pattern`` (anchored: ``^...$``),
``minItems``, ``maxItems``, ``items``, ``properties``, ``required``, ``additionalProperties``, ``propertyNames``,
``anyOf``, ``not`` and ``$ref`` (to ``#/$defs/...``). A schema with any other keyword is refused when it is loaded, for
ignoring one would accept what it forbids. ``x-expected`` is what errors say was expected, where that does not follow
from the rest. The C++ runtime's schema.cpp does the same, in the same words.

Nothing is coerced: ``"1"`` is not 1 and, stricter than JSON Schema, neither is ``1.0`` where ``integer`` is asked for.
Never accepted are numbers that are not finite as a double and texts that are not Unicode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hamsa_runtime.accepted import ANY, Acceptors
from hamsa_runtime.errors import InputError, nearest

Node = Mapping[str, Any]

ANNOTATIONS = ("$schema", "$id", "$comment", "title", "description", "examples", "x-expected")
BOUNDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "minItems": "of at least",
    "maxItems": "at most",
}
APPLIED = (
    "type", "enum", *BOUNDS, "pattern", "items", "properties", "required", "additionalProperties", "propertyNames",
    "anyOf", "not", "$ref", "$defs",
)  # fmt: skip
NULL = {"type": "null"}
SHOWN = 80  # characters of a value, or of a name
DEFINITIONS = "#/$defs/"

TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "null": ("null", lambda value: value is None),
    "boolean": ("true or false", lambda value: type(value) is bool),
    "integer": ("a whole number", lambda value: type(value) is int),
    "number": ("a finite number", lambda value: type(value) in (int, float)),
    "string": ("a text", lambda value: isinstance(value, str)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "object": ("an object", lambda value: isinstance(value, dict)),
}


class Schema:
    """A schema that can check values.

    Args:
        document: the parsed schema.

    Raises:
        ValueError: it uses what this module does not apply. That is a mistake in the schema, never in a value.
    """

    def __init__(self, document: Node) -> None:
        self.document = document
        for node in subschemas(document):
            _check_known(node)
            if "$ref" in node:
                self._definition(node["$ref"])
        self._accepted = Acceptors(document)

    def check(self, value: Any) -> None:
        """Raise InputError, saying what was found where and what was expected, for a value that does not fit."""
        self._check(self.document, value, "")

    def _check(self, node: Node, value: Any, where: str) -> None:
        if self._accepted.of(node)(value):
            return
        if "$ref" in node:
            self._check(self._definition(node["$ref"]), value, where)
        if "anyOf" in node:
            self._check_any_of(node, value, where)
        if not _fits(node, value):
            raise reject(value, where, _expected(node), _hint(node, value))
        if "not" in node and self._accepts(node["not"], value):
            raise reject(value, where, node["not"]["x-expected"])
        if isinstance(value, dict):
            self._check_object(node, value, where)
        if isinstance(value, list) and "items" in node:
            for i, each in enumerate(value):
                self._check(node["items"], each, f"{where}[{i}]")

    def _definition(self, reference: str) -> Node:
        name = reference.removeprefix(DEFINITIONS)
        if name == reference or name not in self.document.get("$defs", {}):
            raise ValueError(f"$ref {reference!r} is none of {DEFINITIONS}...")
        found: Node = self.document["$defs"][name]
        return found

    def _accepts(self, node: Node, value: Any) -> bool:
        try:
            self._check(node, value, "")
        except InputError:
            return False
        return True

    def _check_any_of(self, node: Node, value: Any, where: str) -> None:
        """null, or what the other says, with its words; or one of several, with this node's."""
        others = [each for each in node["anyOf"] if each != NULL]
        if value is None and len(others) < len(node["anyOf"]):
            return
        if len(others) == 1:
            self._check(others[0], value, where)
        elif not any(self._accepts(each, value) for each in others):
            raise reject(value, where, _expected(node))

    def _check_object(self, node: Node, value: Mapping[str, Any], where: str) -> None:
        properties, rest = node.get("properties", {}), node.get("additionalProperties", ANY)
        dot = f"{where}." if where else ""
        others = [name for name in value if name not in properties]
        if rest is False and others:
            raise _unknown_key(dot, others[0], properties)
        if missing := [name for name in node.get("required", ()) if name not in value]:
            raise InputError(f"manifest.json: {dot + missing[0]} is missing", expected=", ".join(node["required"]))
        for name, inner in properties.items():
            if name in value:
                self._check(inner, value[name], dot + name)
        for name in value:
            self._check(node.get("propertyNames", ANY), name, f"{where}: the name")
        for name in others:
            self._check(rest, value[name], f"{where}.{name[:SHOWN]}")  # built anew for each value in a list


def reject(value: object, where: str, expected: str, fix: str = "", cause: str = "") -> InputError:
    """The error for a value that is not what it should be; the value is shown cut to `SHOWN` characters."""
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN else shown[: SHOWN - 3] + "..."
    found = f"manifest.json: {where or 'the whole file'} is {shown}"
    return InputError(found, expected=expected, cause=cause, fix=fix)


def subschemas(node: Node) -> Iterator[Node]:
    """A schema and all in it."""
    yield node
    inner = [*node.get("properties", {}).values(), *node.get("$defs", {}).values(), *node.get("anyOf", ())]
    inner += [node[name] for name in ("items", "propertyNames", "not") if name in node]
    inner += [node["additionalProperties"]] if isinstance(node.get("additionalProperties"), Mapping) else []
    for each in inner:
        yield from subschemas(each)


def _check_known(node: Node) -> None:
    """Raise ValueError for what is not applied, or leaves errors without words."""
    if unknown := [name for name in node if name not in (*ANNOTATIONS, *APPLIED)]:
        raise ValueError(f"the keyword {unknown[0]!r} is not applied to manifests")
    types = _types(node)
    if unknown := [name for name in types if name not in TYPES]:
        raise ValueError(f"the type {unknown[0]!r} is not known")
    pattern = node.get("pattern", "^$")
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise ValueError(f"the pattern {pattern!r} is not anchored at both ends")
    if not all(type(each) in (str, int) for each in node.get("enum", ())):
        raise ValueError("enum lists what is neither a text nor a whole number")
    several = len(types) > 1 or len([each for each in node.get("anyOf", ()) if each != NULL]) > 1
    has_words = "x-expected" in node and ("not" not in node or "x-expected" in node["not"])
    if (several or "pattern" in node or "not" in node) and not has_words:
        raise ValueError(f"x-expected has to say what {', '.join(node)} expect")


def _types(node: Node) -> list[str]:
    found = node.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def _fits(node: Node, value: Any) -> bool:
    """Whether a value is what the node says of it, leaving aside what is in it."""
    types = _types(node)
    if types and not any(TYPES[name][1](value) for name in types):
        return False
    if "enum" in node and not any(type(each) is type(value) and each == value for each in node["enum"]):
        return False
    if isinstance(value, str):
        return _is_unicode(value) and ("pattern" not in node or _matches(node["pattern"], value))
    if isinstance(value, list):
        return node.get("minItems", 0) <= len(value) <= node.get("maxItems", len(value))
    return type(value) not in (int, float) or _is_within(node, value)


def _matches(pattern: str, value: str) -> bool:
    """As ECMAScript has it: Python's $ would also match before a line break at the end."""
    return re.fullmatch(pattern[1:-1], value) is not None


def _is_unicode(value: str) -> bool:
    """JSON lets lone surrogates through."""
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def _is_within(node: Node, value: float) -> bool:
    try:
        finite = math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        finite = False
    return (
        finite
        and value >= node.get("minimum", -math.inf)
        and value > node.get("exclusiveMinimum", -math.inf)
        and value <= node.get("maximum", math.inf)
    )


def _expected(node: Node) -> str:
    """What errors say was expected."""
    if "x-expected" in node:
        return str(node["x-expected"])
    if "enum" in node:
        return "one of " + ", ".join(map(repr, node["enum"]))
    found = "".join(TYPES[name][0] for name in _types(node))
    if node.get("required"):
        return f"{found} with {', '.join(node['required'])}"
    if "minItems" in node and node["minItems"] == node.get("maxItems"):
        return f"{found} of {node['minItems']}"
    bounds = " and ".join(f"{words} {node[name]}" for name, words in BOUNDS.items() if name in node)
    return f"{found} {bounds}" if bounds else found


def _hint(node: Node, value: Any) -> str:
    return nearest(value, map(str, node["enum"])) if "enum" in node and isinstance(value, str) else ""


def _unknown_key(dot: str, name: str, known: Mapping[str, Any]) -> InputError:
    return InputError(
        f"manifest.json: unknown key {(dot + name)[:SHOWN]!r}",
        expected="only " + ", ".join(known),
        cause="a misspelling, or a bundle written by a newer version",
        fix=nearest(name, known),
    )
