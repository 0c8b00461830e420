"""Whether a value fits a node of a schema, and no word of why not: each node as a function, made once.

A manifest of 4 MiB has half a million values. `Schema` in schema.py says what is wrong where, which takes it some ten
times as long for each, and so looks only into what is not accepted here. What these functions take it takes as well;
of what they do not, it judges.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

Node = Mapping[str, Any]
Accepts = Callable[[Any], bool]

TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
ANY: Node = {}
LARGEST = sys.float_info.max


class Acceptors:
    """The functions of all nodes of a schema that has been checked."""

    def __init__(self, document: Node) -> None:
        self._document = document
        self._made: dict[int, Accepts] = {}

    def of(self, node: Node) -> Accepts:
        """The function of a node, which is a part of the document."""
        if id(node) not in self._made:
            self._made[id(node)] = lambda value: self._made[id(node)](value)  # what refers to itself finds this one
            self._made[id(node)] = self._function(node)
        return self._made[id(node)]

    def _function(self, node: Node) -> Accepts:
        parts = [self.of(self._document["$defs"][node["$ref"].rpartition("/")[2]])] if "$ref" in node else []
        if "anyOf" in node:
            parts.append(_one_of([self.of(each) for each in node["anyOf"]]))
        parts += [self._own(node)] if set(node) - {"$ref", "anyOf"} or not parts else []
        if "not" in node:
            parts.append(_none_of(self.of(node["not"])))
        return parts[0] if len(parts) == 1 else _all_of(parts)

    def _own(self, node: Node) -> Accepts:
        """What the node says of a value of each type."""
        names = node.get("type", list(TYPES))
        types = {each for name in ([names] if isinstance(names, str) else names) for each in TYPES[name]}
        number = _number(node)
        known: dict[type, Accepts] = {type(None): _anything, bool: _anything, int: number, float: number}
        known |= {str: _text(node), list: self._list(node), dict: self._object(node)}
        if "enum" in node:
            known = {kind: _among([each for each in node["enum"] if type(each) is kind]) for kind in (str, int)}
        able = {kind: accepts for kind, accepts in known.items() if kind in types}
        return lambda value: type(value) in able and able[type(value)](value)

    def _list(self, node: Node) -> Accepts:
        low, high = node.get("minItems", 0), node.get("maxItems", sys.maxsize)
        item = self.of(node["items"]) if "items" in node else _anything
        return lambda value: low <= len(value) <= high and all(map(item, value))

    def _object(self, node: Node) -> Accepts:
        known = {name: self.of(inner) for name, inner in node.get("properties", {}).items()}
        required, rest = frozenset(node.get("required", ())), node.get("additionalProperties", ANY)
        others = _nothing if rest is False else self.of(rest)
        name_of = self.of(node.get("propertyNames", ANY))
        return lambda value: (
            required <= value.keys()
            and all(map(name_of, value))
            and all(known.get(name, others)(inner) for name, inner in value.items())
        )


def _anything(value: Any) -> bool:
    return True


def _nothing(value: Any) -> bool:
    return False


def _all_of(parts: list[Accepts]) -> Accepts:
    return lambda value: all(accepts(value) for accepts in parts)


def _one_of(parts: list[Accepts]) -> Accepts:
    return lambda value: any(accepts(value) for accepts in parts)


def _none_of(part: Accepts) -> Accepts:
    return lambda value: not part(value)


def _among(values: list[Any]) -> Accepts:
    return frozenset(values).__contains__


def _number(node: Node) -> Accepts:
    low, high = node.get("minimum", -LARGEST), node.get("maximum", LARGEST)
    if "exclusiveMinimum" in node:
        above = node["exclusiveMinimum"]
        return lambda value: above < value and low <= value <= high
    return lambda value: low <= value <= high


def _text(node: Node) -> Accepts:
    """JSON lets lone surrogates through; texts beyond ASCII without a pattern are looked through for them."""
    matches = re.compile(node.get("pattern", "^[^\ud800-\udfff]*$")[1:-1]).fullmatch
    if "pattern" not in node:
        return lambda value: value.isascii() or matches(value) is not None
    no_half = re.compile("[^\ud800-\udfff]*").fullmatch
    return lambda value: matches(value) is not None and (value.isascii() or no_half(value) is not None)
