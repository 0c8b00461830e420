"""`hamsa models`: what it lists, and that this is true of the models."""

from __future__ import annotations

import json

import pytest
import torch

from hamsa_deploy.cli.models import main
from hamsa_deploy.models import MODELS, count_parameters
from hamsa_deploy.models.catalogue import BUILT_IN, SOURCES

Captured = pytest.CaptureFixture[str]


def test_every_model_is_listed_with_its_size_and_weights(capsys: Captured) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line.split() and line.split()[0] in BUILT_IN}
    assert list(rows) == list(BUILT_IN)
    for name, model in BUILT_IN.items():
        assert f"{model.parameters / 1e6:.1f} M" in rows[name]
        assert ("included" in rows[name]) == (model.weights is not None)
    assert all(name in out for name in ("timm:NAME", "hf:ID", "package.module:factory", "RGB", "Apache-2.0"))
    assert max(map(len, out.splitlines())) <= 80


def test_json_says_the_same(capsys: Captured) -> None:
    assert main(["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    nano = document["models"][0]
    assert (nano["name"], nano["size"], nano["classes"], nano["weights"]) == (
        "hamsa_nano", [32, 32], 10, "hamsa_nano.safetensors",
    )  # fmt: skip
    assert all(model["source"] in SOURCES.values() for model in document["models"])
    assert {each["name"] for each in document["others"]} == {"timm:NAME", "hf:ID", "package.module:factory"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_number_of_parameters_is_that_of_the_model(name: str) -> None:
    entry = MODELS[name]
    with torch.device("meta"):
        assert count_parameters(entry.factory(**entry.config)) == BUILT_IN[name].parameters
