"""config.json by the keys of the server's schema, and its plugin settings by OpenVINO itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openvino
import pytest

from hamsa_deploy.services import configure
from hamsa_deploy.services.openvino_model_server import entry_of
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import InputError

from ..runtime.tiny_bundles import MakeBundle
from .schemas import MODEL_SERVER_KEYS, MODEL_SERVER_NEEDS


def entries(repository: Path) -> dict[str, dict[str, Any]]:
    """By name, out of a file with no other keys than the schema's."""
    document = json.loads((repository / "config.json").read_bytes())
    assert set(document) == {"model_config_list"}
    assert all(set(each) == {"config"} for each in document["model_config_list"])
    return {each["config"]["name"]: each["config"] for each in document["model_config_list"]}


def test_the_entry_follows_the_schema_and_finds_the_model(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle("openvino", folder=tmp_path / "models" / "net" / "1"))
    assert configure("openvino-model-server", tmp_path / "models", bundle) == [tmp_path / "models" / "config.json"]
    entry = entries(tmp_path / "models")["net"]
    assert set(entry) >= MODEL_SERVER_NEEDS
    assert all(isinstance(value, MODEL_SERVER_KEYS[key]) for key, value in entry.items())
    assert (tmp_path / "models" / entry["base_path"] / "1" / "model.xml").is_file()


@pytest.mark.parametrize(("precision", "granted"), [("fp32", "f32"), ("int8", "f32"), ("fp16", "dynamic")])
def test_openvino_takes_the_settings_and_computes_in_the_bundles_precision(
    make_bundle: MakeBundle, precision: str, granted: str
) -> None:
    folder = make_bundle("openvino", precision=precision)
    entry = entry_of("net", open_bundle(folder).manifest)
    model = openvino.Core().compile_model(folder / "model.xml", entry["target_device"], entry["plugin_config"])
    assert model.get_property("INFERENCE_PRECISION_HINT").get_type_name() == granted


def test_entries_of_other_models_stay_and_ones_own_is_replaced(make_bundle: MakeBundle, tmp_path: Path) -> None:
    other = {"name": "other", "base_path": "/models/other", "nireq": 4}
    old = {"name": "net", "base_path": "elsewhere"}
    (tmp_path / "config.json").write_text(json.dumps({"model_config_list": [{"config": old}, {"config": other}]}))
    bundle = open_bundle(make_bundle("openvino", folder=tmp_path / "net" / "1"))
    configure("openvino-model-server", tmp_path, bundle)
    found = entries(tmp_path)
    assert found["other"] == other
    assert found["net"]["base_path"] == "net"


@pytest.mark.parametrize("text", ["{", "[]", '{"model_config_list": [{}]}', '{"model_config_list": 3}'])
def test_a_file_of_something_else_is_left_as_it_is(make_bundle: MakeBundle, tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    bundle = open_bundle(make_bundle("openvino", folder=tmp_path / "net" / "1"))
    with pytest.raises(InputError, match="not a configuration of OpenVINO Model Server"):
        configure("openvino-model-server", tmp_path, bundle)
    assert (tmp_path / "config.json").read_text() == text
