"""manifest.schema.json as the JSON Schema that others validate bundles with."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_a_validator_and_our_readers_take_the_same_manifests() -> None:
    for case in cases():
        if case.kind not in STRICTER:
            assert VALIDATOR.is_valid(case.document) == case.is_right, str(case)
