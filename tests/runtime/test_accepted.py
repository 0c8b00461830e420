"""What is accepted without a word is what the schema takes, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hamsa_runtime.accepted import Acceptors
from hamsa_runtime.schema import Schema
from hamsa_runtime.vocabulary import SCHEMA

from .manifest_values import cases

ACCEPTS = Acceptors(SCHEMA).of(SCHEMA)
DEEP = {"items": {"$ref": "#/$defs/deep"}, "type": "array"}
WORDS = {"x-expected": "it"}


def test_manifests_are_accepted_exactly_where_they_are_right() -> None:
    assert len(cases()) > 500
    assert [str(case) for case in cases() if ACCEPTS(json.loads(case.data)) != case.is_right] == []


@pytest.mark.parametrize(
    ("node", "right", "wrong"),
    [
        ({}, ["a", 1, None, {"a": {"b": [1]}}], ["\ud800", 1e999, {"a": {"b": "\ud800"}}, {"\ud800": 1}, 10**400]),
        ({"type": "integer", "exclusiveMinimum": 0}, [1], [0, True, 1.0, None]),
        ({"enum": ["a", 1], **WORDS}, ["a", 1], [True, 1.0, "b", []]),
        ({"type": ["string", "null"], "pattern": "^a*$", **WORDS}, ["", "aa", None], ["b", "a\n", 1]),
        ({"not": {"enum": ["a"], **WORDS}, **WORDS}, ["b", 1], ["a"]),
        ({"anyOf": [{"type": "null"}, {"type": "array", "maxItems": 1}]}, [None, [1]], [[1, 2], 1]),
        (
            {"$ref": "#/$defs/deep", "$defs": {"deep": {"items": {"$ref": "#/$defs/deep"}, "type": "array"}}},
            [[[]]],
            [[1]],
        ),
    ],
)
def test_each_kind_of_rule(node: dict[str, Any], right: list[Any], wrong: list[Any]) -> None:
    accepts, schema = Acceptors(node).of(node), Schema(node)
    for value in right:
        assert accepts(value), value
        schema.check(value)
    for value in wrong:
        assert not accepts(value), value
        with pytest.raises(Exception, match=r"manifest\.json"):
            schema.check(value)
