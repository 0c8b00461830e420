"""The schema of manifests: both sides of each rule, that no rule goes untried, and that the classes are the same.

Every value is made from the schema, see `manifest_values`; tests/cpp/test_manifest.py gives the same to the C++ reader.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import types
import typing
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest

from hamsa_runtime import manifest as manifest_module
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest, Preprocessing, manifest_from_json
from hamsa_runtime.schema import Schema, subschemas
from hamsa_runtime.vocabulary import DTYPES, ENGINES, PRECISIONS, SCHEMA, TARGETS, engines_of

from .manifest_values import Case, cases, complete, complete_of_clips, places, sample
from .tiny_bundles import manifest_for

PLACES = sorted({place.name for place in places()})


@functools.cache
def cases_by_place() -> dict[str, list[Case]]:
    found = defaultdict(list)
    for case in cases():
        found[case.place].append(case)
    return found


def error_of(data: bytes) -> InputError | None:
    try:
        manifest_from_json(data)
    except InputError as error:
        return error
    return None


@pytest.mark.parametrize("place", PLACES)
def test_right_values_are_read_and_wrong_ones_are_refused_with_their_place(place: str) -> None:
    assert cases_by_place()[place]
    for case in cases_by_place()[place]:
        error = error_of(case.data)
        assert (error is None) == case.is_right, str(case)
        if error is not None:
            assert error.found.startswith("manifest.json: ")
            assert place in error.found, str(case)
            assert error.expected, str(case)


def test_every_field_of_the_schema_is_tried() -> None:
    tried = {id(node) for place in places() for _, node in place.schemas}
    names = {id(node) for each in subschemas(SCHEMA) if "propertyNames" in each for node in named(each)}
    forbidden = {id(node["not"]) for node in subschemas(SCHEMA) if "not" in node}
    assert {id(node) for node in subschemas(SCHEMA)} == tried | names | forbidden


def named(node: Mapping[str, Any]) -> tuple[Any, Any]:
    """What the names in an object have to be, and what that refers to."""
    names = node["propertyNames"]
    return names, SCHEMA["$defs"][names["$ref"].removeprefix("#/$defs/")]


def test_the_examples_of_the_schema_are_right() -> None:
    for node in subschemas(SCHEMA):
        for example in node.get("examples", ()):
            Schema({**node, "$defs": SCHEMA["$defs"]}).check(example)


LOOSER = {"minimum": -1, "maximum": 1, "exclusiveMinimum": -1, "minItems": -1, "maxItems": 1}
ASSERTED = (
    *LOOSER, "type", "enum", "pattern", "items", "properties", "required", "additionalProperties", "propertyNames",
    "anyOf", "not", "$ref",
)  # fmt: skip


def loosened(node: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema without one of its rules, or with a bound moved outward."""
    for keyword in [each for each in ASSERTED if each in node]:
        if keyword != "properties":  # without them their names are unknown: that forbids more
            yield keyword, {name: value for name, value in node.items() if name != keyword}
        if keyword in LOOSER:
            yield f"{keyword} moved", {**node, keyword: node[keyword] + LOOSER[keyword]}
        if keyword == "required":
            for name in node["required"]:
                yield f"{name} needed", {**node, "required": [each for each in node["required"] if each != name]}
        if keyword == "enum":
            yield "enum longer", {**node, "enum": [*node["enum"], 0 if type(node["enum"][0]) is int else ""]}
        if keyword == "type":
            kinds = [node["type"]] if isinstance(node["type"], str) else node["type"]
            # Most lists and objects may be null already, by an anyOf around them.
            others = {"boolean", "number", "string", "array", "object"} - set(kinds)
            others |= {"null"} - set(kinds) if "array" not in kinds and "object" not in kinds else set()
            for kind in sorted(others):
                yield f"type also {kind}", {**node, "type": [*kinds, kind], "x-expected": "something else"}


def pointers(node: Mapping[str, Any], pointer: str = "#") -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Every schema in a schema, by the pointer that cases have, and the way to it."""
    pending: list[tuple[Any, str, tuple[str | int, ...]]] = [(node, pointer, ())]
    while pending:
        each, name, way = pending.pop()
        yield name, way
        for group in ("properties", "$defs"):
            pending += [
                (inner, f"{name}/{group}/{key}", (*way, group, key)) for key, inner in each.get(group, {}).items()
            ]
        pending += [(inner, f"{name}/anyOf/{i}", (*way, "anyOf", i)) for i, inner in enumerate(each.get("anyOf", ()))]
        for key in ("items", "additionalProperties"):
            if isinstance(each.get(key), dict):
                pending.append((each[key], f"{name}/{key}", (*way, key)))


def replaced(document: Any, way: tuple[str | int, ...], value: Any) -> Any:
    if not way:
        return value
    changed = copy.copy(document)
    changed[way[0]] = replaced(document[way[0]], way[1:], value)
    return changed


def at(document: Any, way: tuple[str | int, ...]) -> Any:
    return functools.reduce(lambda value, step: value[step], way, document)


def notices(schema: dict[str, Any], wrong: list[Case]) -> bool:
    """Whether a wrong value gets past a loosened schema; one that is not even a schema is noticed as well."""
    try:
        looser = Schema(schema)
    except ValueError:
        return True
    for case in wrong:
        try:
            looser.check(case.document)
        except InputError:
            continue
        return True
    return False


def test_no_rule_of_the_schema_can_be_loosened_without_a_test_that_fails() -> None:
    wrong = [case for case in cases() if not case.is_right]
    survivors, tried = [], 0
    for pointer, way in pointers(SCHEMA):
        concerned = [case for case in wrong if pointer in case.pointers]
        for what, node in loosened(at(SCHEMA, way)):
            tried += 1
            if not notices(replaced(SCHEMA, way, node), concerned):
                survivors.append(f"{pointer}: {what}")
    assert survivors == []
    assert tried > 300


@pytest.mark.parametrize(
    "schema",
    [
        {"uniqueItems": True},
        {"properties": {"a": {"items": {"maxLength": 3}}}},
        {"$defs": {"a": {"oneOf": []}}},
        {"additionalProperties": {"const": 1}},
        {"anyOf": [{"minLength": 1}, {"type": "null"}]},
        {"type": "strings"},
        {"enum": [None]},
        {"$ref": "#/$defs/b", "$defs": {"a": {}}},
        {"$ref": "other.json", "$defs": {"a": {}}},
        {"type": "string", "pattern": "^a$"},
        {"pattern": "a", "x-expected": "a"},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"not": {"enum": ["a"]}, "x-expected": "b"},
    ],
    ids=str,
)
def test_what_is_not_applied_is_a_mistake_in_the_schema_and_never_left_out(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is not|has to say|is none of|neither"):
        Schema(schema)


RECORDS = [cls for cls in vars(manifest_module).values() if isinstance(cls, type) and dataclasses.is_dataclass(cls)]
# Preprocessing is also made by hand, and then mostly for pixels.
WITH_A_DEFAULT = {"InputSpec.layout", "Preprocessing.normalise"}


def same(hint: Any, node: Mapping[str, Any], where: str) -> None:
    """Compares a type hint with a schema, and all in them."""
    kind, inner = typing.get_origin(hint), typing.get_args(hint)
    if "$ref" in node:
        same(hint, SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")], where)
    elif "anyOf" in node:
        assert kind in (typing.Union, types.UnionType), where
        assert len(node["anyOf"]) == len(inner) == 2, where
        for each, option in zip(node["anyOf"], inner, strict=True):
            same(option, each, where)
    elif dataclasses.is_dataclass(hint):
        same_record(hint, node, where)
    elif "enum" in node:
        is_listed = kind is Literal and list(inner) == node["enum"]
        assert is_listed or hint is type(node["enum"][0]), where
    elif isinstance(node.get("type"), list):
        assert set(inner) == {str, int, float, bool, type(None)}, where
    elif node.get("type") == "array":
        assert kind is tuple, where
        length = node["maxItems"] if node.get("minItems") == node.get("maxItems") and "maxItems" in node else None
        assert inner[1:] == ((...,) if length is None else (inner[0],) * (length - 1)), where
        same(inner[0], node["items"], f"{where}[]")
    elif node.get("type") == "object":
        assert kind is Mapping or kind.__name__ == "Mapping", where
        assert inner[0] is str, where
        same(inner[1], node["additionalProperties"], f"{where}{{}}")
    else:
        plain = {"integer": int, "number": float, "string": str, "boolean": bool, "null": type(None)}
        assert hint is plain.get(node.get("type", ""), Any), where


def same_record(cls: Any, node: Mapping[str, Any], where: str) -> None:
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    assert [field.name for field in fields] == list(node["properties"]), where
    for field in fields:
        place = f"{cls.__name__}.{field.name}"
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        assert has_default == (field.name not in node["required"] or place in WITH_A_DEFAULT), place
        same(hints[field.name], node["properties"][field.name], place)


def test_the_classes_have_the_fields_and_types_of_the_schema() -> None:
    assert len(RECORDS) == 25
    same(Manifest, SCHEMA, "Manifest")


def test_what_is_read_is_written_and_read_again() -> None:
    for case in cases():
        if case.is_right:
            manifest = manifest_from_json(case.data)
            assert manifest_from_json(manifest.to_json()) == manifest, str(case)


def test_what_is_written_is_what_was_read() -> None:
    """All of it, where nothing is left to its default: the order of names is that of the alphabet."""
    images = {name: value for name, value in complete().items() if name != "audio"}
    for document in (images, complete_of_clips()):
        assert manifest_from_json(json.dumps(document).encode()).as_document() == document
        data = manifest_from_json(json.dumps(document).encode()).to_json()
        assert data == (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def test_what_a_bundle_does_not_have_is_not_written() -> None:
    manifest = manifest_from_json(json.dumps(manifest_for(parity=sample(SCHEMA["$defs"]["parity"]))).encode())
    written = json.loads(manifest.to_json())
    assert not {"execution", "engine"} & set(written)
    assert written["islands"] == {}
    assert set(written["plan"][0]) == {"module", "length", "factors", "kind"}
    assert {"engine", "note"} <= set(written["parity"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"options": {"scale": float("nan")}}, "cannot be written as JSON"),
        ({"options": {"scale": object()}}, "cannot be written as JSON"),
        ({"name": "\ud800"}, "cannot be written as JSON"),
        ({"outputs": ()}, "outputs is"),
    ],
)
def test_what_would_not_be_read_is_not_written(change: dict[str, Any], message: str) -> None:
    manifest = manifest_from_json(json.dumps(complete()).encode())
    with pytest.raises(InputError, match=message):
        dataclasses.replace(manifest, **change).to_json()


def test_preprocessing_can_be_made_for_another_model() -> None:
    how = Preprocessing((8, 12), 3, "bicubic", 0.875, (0.25, 0.5, 0.75), (0.5, 0.5, 0.5))
    assert how.normalise == "graph"
    assert how.resized_to((4, 6)).size == (4, 6)
    assert how.with_channels(3) is how
    grey = how.with_channels(1)
    assert (grey.channels, grey.mean, grey.std) == (1, (0.5,), (0.5,))
    assert grey.with_channels(3).mean == (0.5,) * 3


def test_a_new_target_has_an_engine_by_convention() -> None:
    new = engines_of((*TARGETS, "some-npu"))
    assert {name: new[name] for name in ENGINES} == ENGINES
    assert new["some-npu"] == ("some-npu", "hamsa_runtime.backends.some_npu", "some-npu", ("some-npu",))
    assert set(new) - set(ENGINES) == {"some-npu"}


def test_names_of_the_vocabulary_are_the_schemas() -> None:
    assert {target for engine in ENGINES.values() for target in engine.runs} == set(TARGETS)
    assert {"fp32", "fp16", "bf16", "int8"} == set(PRECISIONS)
    assert "float32" in DTYPES
