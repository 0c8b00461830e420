"""Right and wrong manifests, made from the schema: for every field, values just inside and just outside of each rule.

The schema alone decides what is tried, so that a field or a rule that is added to it is tried as well. Both readers are
given all of them, and so is a validator of JSON Schema: see `STRICTER` for what only our readers refuse.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hamsa_runtime.vocabulary import SCHEMA

from .tiny_bundles import manifest_for

Node = Mapping[str, Any]
Path = tuple[str | int, ...]

# What JSON Schema cannot say, or Python's validator of it does not see, as `Case.kind`.
STRICTER = ("a whole number as a float", "a lone surrogate", "beyond a double", "a line break at the end")
# What C++'s parser of JSON refuses already, so that the words are others.
NOT_PARSED_IN_CPP = ("a lone surrogate", "beyond a double")

# One or two values of each type, under JSON Schema's name of it.
SAMPLES: list[tuple[str, Any]] = [
    ("null", None), ("boolean", True), ("boolean", False), ("integer", 7), ("integer", 0), ("number", 0.5),
    ("string", "something else"), ("string", "1"), ("array", []), ("array", [None]), ("object", {}),
    ("object", {"zz": 1}),
]  # fmt: skip
NULL = {"type": "null"}
FAR, NEAR_SIZE = "nothing like it", 1e-9
# What makes a path, or a hash, another or none.
PARTS = ("", "..", ".", "...", "/", "//", *'\\:*?"<>|', "\0", "\x1f", "\n", " ", "g", "-", ".x", "ü")
RIGHT_NEIGHBOURS = 4

# Names of files, in every language: all of these in one bundle; none of those; and none of these together.
PORTABLE = (
    "model.onnx", "model.onnx.data", "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin", "state_0.bin",
    "assets/index-D_a9.js", "icon.png", "com0", "com10.txt", "nulls/x", "x con", "a b/.c/..d", "a/model.onnx", "[1]~$#",
)  # fmt: skip
NOT_PORTABLE = (
    "../x", "/etc/passwd", "a/../../x", "C:/x", "a\\b", "", ".", "a//b", "./a", "a\0b", "manifest.json", "a\nb",
    # which Windows keeps for devices, takes for something else, or cuts
    "nul", "Aux.txt", "x/COM1", "lpt9.tar.gz/x", "con .x", "CONOUT$", "a.", "a /b", "a/b. .", 'a"b', "a|b", "a<b>",
    "model.onnx:stream", "a*", "a?", "a\x7f",
    # which macOS and Windows write in other ways
    "u\u0308.bin", "\u00fc.bin", "\u212a",
)  # fmt: skip
ONE_FILE = (
    ("Model.onnx", "model.onnx"), ("a/X/c", "a/x/d"), ("A", "a/b"), ("Manifest.JSON",), ("manifest.SIG",),
    ("MANIFEST.json/x",),
)  # fmt: skip


class Value(NamedTuple):
    """A value to put in a place, the keyword of the schema that it is to try, and what it is."""

    keyword: str
    kind: str
    value: Any
    is_right: bool


class Place(NamedTuple):
    """Somewhere in the complete manifest, and the schemas that apply there, the outermost first: (pointer, schema);
    and the pointers of those that have led there."""

    path: Path
    schemas: tuple[tuple[str, Node], ...]
    above: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """As errors name it."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.removeprefix(".")


class Case(NamedTuple):
    """A whole manifest with one right or wrong value, and the pointers of all schemas that look at that."""

    place: str
    keyword: str
    kind: str
    is_right: bool
    pointers: frozenset[str]
    document: dict[str, Any]

    @property
    def data(self) -> bytes:
        """The bytes of manifest.json."""
        return json.dumps(self.document).encode()

    def __str__(self) -> str:
        return f"{self.place}: {self.keyword}: {self.kind}"


@functools.cache
def cases() -> tuple[Case, ...]:
    """All of them, those of one place after another."""
    return tuple(case for place in places() for case in _cases_at(place))


def complete() -> dict[str, Any]:
    """A manifest that has everything that a manifest may have, in lists of two; names and sizes fit together."""
    images = manifest_for()
    parts = {name: images[name] for name in ("inputs", "outputs", "preprocessing")}
    parts["inputs"][0].update(is_complex=True, example_range=[0.0, 255.0])
    parts["preprocessing"]["fit"] = "stretch"
    for output in parts["outputs"]:
        output.update(batch_axis=1, is_complex=True)
    axes = [{**sample(SCHEMA["$defs"]["axis"]), "name": name} for name in ("hops", "channels")]
    states = [_state(name) for name in ("tail", "count")]
    return _with_files_of_states({**sample(SCHEMA), **parts, "axes": axes, "states": states, "audio": None})


def _state(name: str) -> dict[str, Any]:
    own = {"name": name, "input": f"state.{name}", "output": f"next.{name}"}
    return {**sample(SCHEMA["$defs"]["state"]), **own}


def _with_files_of_states(document: dict[str, Any]) -> dict[str, Any]:
    """Each state's first value is a file of its size."""
    for i, state in enumerate(document["states"]):
        if state["stored"]:
            size = math.prod(state["shape"]) * np.dtype(state["dtype"]).itemsize
            document["files"][f"state_{i}.bin"] = {"sha256": "ab" * 32, "bytes": size}
    return document


def complete_of_clips() -> dict[str, Any]:
    """The same with `audio`, which no model of images has."""
    clip = {"name": "a text", "dtype": "float32", "shape": ["batch", 1, "hops"], "layout": None}
    audio = {**sample(SCHEMA["$defs"]["audio"]), "input": "a text"}
    return {**complete(), "preprocessing": None, "inputs": [clip], "audio": audio}


def sample(node: Node) -> Any:
    """A right value, with everything in it that may be."""
    node = _resolved(node)
    if "examples" in node or "enum" in node:
        return copy.deepcopy(node.get("examples", node.get("enum"))[0])
    kind = node["type"]
    if kind == "object":
        found = {name: sample(inner) for name, inner in node.get("properties", {}).items()}
        if isinstance(node["additionalProperties"], Mapping):
            found[sample(node["propertyNames"])] = sample(node["additionalProperties"])
        return found
    if kind == "array":
        return [sample(node["items"]) for _ in range(2)]
    return {"integer": max(node.get("minimum", 0), 1), "number": 0.5, "boolean": True}[kind]


def places() -> Iterator[Place]:
    """Every value in the complete manifests, from the whole of it to the innermost."""
    yield from _places(complete(), (), (("#", SCHEMA),))
    others = _places(complete_of_clips(), (), (("#", SCHEMA),))
    yield from (place for place in others if place.path[:1] == ("audio",))


def _places(
    value: Any, path: Path, schemas: tuple[tuple[str, Node], ...], above: frozenset[str] = frozenset()
) -> Iterator[Place]:
    schemas = tuple(_expanded(schemas))
    yield Place(path, schemas, above)
    above |= {pointer for pointer, _ in schemas}
    for pointer, node in schemas:
        if isinstance(value, list) and "items" in node:
            for i, each in enumerate(value):
                yield from _places(each, (*path, i), ((f"{pointer}/items", node["items"]),), above)
        if isinstance(value, dict):
            for name, each in value.items():
                inner = node.get("properties", {}).get(name)
                if inner is not None:
                    yield from _places(each, (*path, name), ((f"{pointer}/properties/{name}", inner),), above)
                elif isinstance(node.get("additionalProperties"), Mapping):
                    rest = (f"{pointer}/additionalProperties", node["additionalProperties"])
                    yield from _places(each, (*path, name), (rest,), above)


def _expanded(schemas: tuple[tuple[str, Node], ...]) -> Iterator[tuple[str, Node]]:
    """With those that they refer to and choose from."""
    for pointer, node in schemas:
        yield pointer, node
        if "$ref" in node:
            yield from _expanded(((node["$ref"], _resolved(node)),))
        inner = tuple((f"{pointer}/anyOf/{i}", each) for i, each in enumerate(node.get("anyOf", ())))
        yield from _expanded(inner)


def _resolved(node: Node) -> Node:
    """What a schema refers to; of several to choose from the first."""
    while "$ref" in node or "anyOf" in node:
        node = SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else node["anyOf"][0]
    return node


def _cases_at(place: Place) -> Iterator[Case]:
    whole = complete_of_clips() if place.path[:1] == ("audio",) else complete()
    plain = [node for _, node in place.schemas if "$ref" not in node and "anyOf" not in node]
    leaves = [node for node in plain if node != NULL]
    pointers = place.above | {pointer for pointer, _ in place.schemas}
    seen: list[str] = []
    for node in leaves:
        for keyword, kind, value, is_right in _values(node, _at(whole, place.path)):
            # Wrong for one of several to choose from may be right for another.
            others = [NULL] * (NULL in plain) + [each for each in leaves if each is not node]
            is_right = is_right or any(_is_leaf(other, value) for other in others)
            if repr(value) in seen:
                continue
            seen.append(repr(value))
            document = _with(whole, place.path, value)
            yield Case(place.name, keyword, kind, is_right, pointers, _fitted(document, place.path, is_right))
    yield from _cases_of_names(place, whole, leaves, pointers)


def _values(node: Node, present: Any) -> Iterator[Value]:
    """Right and wrong values for a schema; `present` is a right one."""
    yield from _of_other_types(node)
    yield from _of_enum(node)
    yield from _around_bounds(node)
    if "pattern" in node and isinstance(present, str):
        yield from _around_pattern(node)
    if isinstance(present, list):
        yield from _of_other_lengths(node, present)
    if isinstance(present, dict):
        yield from _with_other_keys(node, present)


def _of_other_types(node: Node) -> Iterator[Value]:
    kinds = _types(node)
    if not kinds and "enum" not in node:
        yield Value("type", "beyond a double", 10**400, False)
    for kind, value in SAMPLES:
        if kinds and not _is_type(value, kinds):
            yield Value("type", kind, value, False)
    if "integer" in kinds:
        yield Value("type", "a whole number as a float", 1.0, False)
    if "number" in kinds:
        yield Value("type", "beyond a double", 10**400, False)
        yield Value("type", "a whole number", 1, _is_leaf(node, 1))


def _of_enum(node: Node) -> Iterator[Value]:
    for each in node.get("enum", ()):
        yield Value("enum", "a member", each, True)
        if isinstance(each, int):
            others: list[Any] = [each + 4, -each, 0, str(each), True, None]
            yield Value("enum", "a whole number as a float", float(each), False)
        else:
            others = [each[:-1], each + each[-1], each.swapcase(), f"{each}\n", "", FAR, 0, 1, True, None, [each], {}]
        for other in others:
            yield Value("enum", "no member", other, _is_leaf(node, other))


def _around_bounds(node: Node) -> Iterator[Value]:
    is_float = "number" in _types(node)
    for name, outward in (("minimum", -1), ("maximum", 1)):
        if name in node:
            yield Value(name, "at it", node[name], True)
            yield Value(name, "beyond it", node[name] + outward, False)
            if is_float:
                yield Value(name, "just beyond it", node[name] + outward * NEAR_SIZE, False)
            if node[name] != int(node[name]):
                whole = math.floor(node[name]) if outward < 0 else math.ceil(node[name])
                yield Value(name, "the whole number beyond it", whole, False)
    if "exclusiveMinimum" in node:
        low = node["exclusiveMinimum"]
        yield Value("exclusiveMinimum", "at it", low, False)
        yield Value("exclusiveMinimum", "just below it", low - NEAR_SIZE, False)
        yield Value("exclusiveMinimum", "just above it", low + NEAR_SIZE, True)


def _around_pattern(node: Node) -> Iterator[Value]:
    """Neighbours of the schema's examples: all that are wrong, and some that are right."""
    for example in [each for each in node["examples"] if isinstance(each, str)]:
        yield Value("pattern", "an example", example, True)
        yield Value("pattern", "a lone surrogate", f"{example}\ud800", False)
        others = [Value("pattern", _kind(each), each, _is_leaf(node, each)) for each in _neighbours(example)]
        yield from [each for each in others if not each.is_right]
        yield from [each for each in others if each.is_right][:RIGHT_NEIGHBOURS]
    for other in node.get("not", {}).get("examples", ()):
        yield Value("not", "what it forbids", other, False)
        yield Value("not", "nearly what it forbids", f"x{other}", True)


def _kind(text: str) -> str:
    return "a line break at the end" if text.endswith("\n") else "a neighbour"


def _neighbours(text: str) -> Iterator[str]:
    yield from (text[1:], text[:-1], text.upper(), f"a/./{text}", f"a/../{text}")
    for part in PARTS:
        yield from (part, part + text, text + part, text[:1] + part + text[2:], f"{part}/{text}", f"{text}/{part}")


def _of_other_lengths(node: Node, present: list[Any]) -> Iterator[Value]:
    fewest, most = node.get("minItems", 0), node.get("maxItems", len(present) + 1)
    for length in {fewest - 1, fewest, most, most + 1} - {-1}:
        is_right = fewest <= length <= node.get("maxItems", length)
        keyword = "minItems" if length < fewest else "maxItems" if length > most else "items"
        longer = present + [copy.deepcopy(present[-1]) for _ in range(length - len(present))]
        # Names are once in the manifest, in whatever has them.
        for i, each in enumerate(longer[len(present) :]):
            if isinstance(each, dict) and "name" in each:
                each["name"] += str(i)
        yield Value(keyword, f"{length} of them", longer[:length], is_right)


def _with_other_keys(node: Node, present: dict[str, Any]) -> Iterator[Value]:
    for name in node.get("properties", {}):
        without = {key: value for key, value in present.items() if key != name}
        is_needed = name in node.get("required", ())
        yield Value("required" if is_needed else "properties", f"without {name}", without, not is_needed)
        if node.get("additionalProperties") is False:
            yield Value("additionalProperties", f"almost {name}", {**present, f"{name[:-1]}": 1}, False)
    if node.get("additionalProperties") is False:
        yield Value("additionalProperties", "a key more", {**present, FAR: None}, False)
    elif "additionalProperties" in node:
        yield Value("additionalProperties", "empty", {}, True)


def _cases_of_names(
    place: Place, whole: dict[str, Any], leaves: list[Node], pointers: frozenset[str]
) -> Iterator[Case]:
    """Right and wrong names in an object whose names are free."""
    present = _at(whole, place.path)
    if not isinstance(present, dict):
        return
    for node in [each for each in leaves if "propertyNames" in each]:
        inner = _resolved(node["propertyNames"])
        first, *others = present.items()
        for keyword, kind, name, is_right in _around_pattern(inner):
            document = _with(whole, place.path, {name: first[1], **dict(others)})
            names = pointers | {node["propertyNames"]["$ref"]}
            yield Case(place.name, f"{keyword} of the name {name!r}", kind, is_right, names, document)


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def _with(document: Any, path: Path, value: Any) -> Any:
    """A copy with another value in one place; all else is shared: whole copies are 500 MB, which take seconds."""
    if not path:
        return copy.deepcopy(value)
    changed, step = copy.copy(document), path[0]
    changed[step] = _with(document[step], path[1:], value)
    return changed


def _fitted(document: Any, path: Path, is_right: bool) -> Any:
    """With what a right value elsewhere asks of others: that they fit is no rule of the schema."""
    if not is_right or not path:
        return document
    document = copy.deepcopy(document)
    if path[0] == "inputs":
        document["preprocessing"] = None
        sizes = [size for spec in document["inputs"] for size in spec["shape"]]
        document["axes"] = [
            {"name": name, "min": 1, "max": None, "example": 1}
            for name in sorted({size for size in sizes if isinstance(size, str)} - {"batch"})
        ]
    if path[0] == "files":
        document["states"] = [{**state, "stored": False} for state in document["states"]]
    if path[0] == "states" and "states" in document:
        if len(path) == 1:
            document["states"] = [_state(state["name"]) for state in document["states"]]
        _with_files_of_states(document)
    if path[0] == "axes" and path[2:] in (("min",), ("max",), ("example",)):
        axis = document["axes"][path[1]]
        axis.update({"min": 1, "max": None, path[2]: axis[path[2]]})
        axis["example"] = axis["example"] if path[2] == "example" else axis["min"]
    if path[0] == "audio" and document["audio"] is not None:
        [clip] = document["inputs"]
        clip.update(name=document["audio"]["input"], shape=["batch", document["audio"]["channels"], "hops"])
    if path[0] == "preprocessing" and document["preprocessing"] is not None:
        how, [image] = document["preprocessing"], document["inputs"]
        for name in ("mean", "std"):
            how[name] = [*how[name], *[0.5] * how["channels"]][: how["channels"]]
        if how["normalise"] == "graph":
            image.update(dtype="uint8", layout="NHWC", shape=["batch", *how["size"], how["channels"]])
        else:
            image.update(dtype="float32", layout="NCHW", shape=["batch", how["channels"], *how["size"]])
    return document


def _types(node: Node) -> list[str]:
    kinds = node.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _is_type(value: Any, kinds: list[str]) -> bool:
    found = {
        type(None): ("null",), bool: ("boolean",), int: ("integer", "number"), float: ("number",), str: ("string",),
        list: ("array",), dict: ("object",),
    }[type(value)]  # fmt: skip
    return any(kind in kinds for kind in found)


def _is_leaf(node: Node, value: Any) -> bool:
    """Whether a plain value fits a schema, read as strictly as our readers do."""
    kinds = _types(node)
    if (kinds and not _is_type(value, kinds)) or value == 10**400:
        return False
    if "enum" in node and not any(type(each) is type(value) and each == value for each in node["enum"]):
        return False
    if "pattern" in node and isinstance(value, str) and not re.search(node["pattern"].replace("$", r"\Z"), value):
        return False
    if "not" in node and _is_leaf(node["not"], value):
        return False
    if type(value) not in (int, float):
        return True
    return bool(
        node.get("minimum", value) <= value <= node.get("maximum", value)
        and node.get("exclusiveMinimum", value - 1) < value
    )
