"""manifest.schema.json as the JSON Schema that others validate bundles with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from torch import nn

import hamsa_deploy
from hamsa_runtime.manifest import manifest_from_json
from hamsa_runtime.vocabulary import SCHEMA

from .runtime.manifest_values import STRICTER, cases

ROOT = Path(__file__).parents[1]
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


class Spectral(nn.Module):
    """Half of a signal, computed in its spectrum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * 0.5, n=x.shape[-1])


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("to", ["tensorrt", "tensorrt-rtx"])
def test_bundles_with_a_plan_and_without_are_valid(to: str, tmp_path: Path) -> None:
    """Those of the other targets are validated in test_pipeline.py, which makes one of every precision."""
    inputs = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    bundle = hamsa_deploy.export(Spectral().eval(), (inputs,), to=to, output=tmp_path / "b", data=inputs.numpy())
    data = (bundle.folder / "manifest.json").read_bytes()
    VALIDATOR.validate(json.loads(data))
    assert bundle.manifest.to_json() == data


@pytest.mark.parametrize("name", ["tiny", "tiny-pairs", "signed"])
def test_golden_bundles_are_valid(name: str) -> None:
    data = (ROOT / "runtimes/cpp/tests/data" / name / "manifest.json").read_bytes()
    VALIDATOR.validate(json.loads(data))
    assert manifest_from_json(manifest_from_json(data).to_json()) == manifest_from_json(data)


def quick_validator() -> Any:
    """The same, but for values that it has found right before, by the same part of the schema: thousands of manifests
    that differ in one value each take a tenth of the time."""
    right: dict[tuple[str, int], Any] = {}

    def properties(validator: Any, nodes: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
        for name in nodes if validator.is_type(instance, "object") else ():
            if name in instance:
                key = json.dumps(instance[name]), id(nodes[name])
                if key not in right:
                    errors = [*validator.descend(instance[name], nodes[name], path=name, schema_path=name)]
                    if not errors:
                        right[key] = nodes[name]  # which lives as long as its number stands here
                    yield from errors

    return jsonschema.validators.extend(jsonschema.Draft202012Validator, {"properties": properties})(SCHEMA)


def test_a_validator_and_our_readers_take_the_same_manifests() -> None:
    validator = quick_validator()
    for case in cases():
        if case.kind not in STRICTER:
            assert validator.is_valid(case.document) == case.is_right, str(case)


def test_the_quick_validator_says_what_the_plain_one_does() -> None:
    validator = quick_validator()
    for case in cases()[::97]:
        assert validator.is_valid(case.document) == VALIDATOR.is_valid(case.document), str(case)
