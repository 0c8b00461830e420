"""hamsa-export --to triton and --to openvino-model-server: repositories with versions that are bundles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hamsa_deploy.cli.export import main
from hamsa_runtime import Engine

from ..services.schemas import triton_config
from .conftest import UserModel

Captured = pytest.CaptureFixture[str]

IMAGES = ("--image-dtype", "uint8", "--input", "1x3x8x8")


def test_each_export_to_triton_is_the_next_version(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    arguments = ("--model", user_model("Classifier"), *IMAGES, "--to", "triton", "-o", "models")
    assert main([*arguments]) == 0
    assert "tritonserver --model-repository=" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    folder = workplace / "models" / "Classifier"
    assert document["bundle"] == "models/Classifier/2"
    assert document["service"] == {
        "name": "triton",
        "repository": "models",
        "version": 2,
        "files": ["models/Classifier/config.pbtxt"],
    }
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "config.pbtxt"]
    assert triton_config((folder / "config.pbtxt").read_text()).name == "Classifier"
    pixels = np.zeros((8, 8, 3), np.uint8)
    logits = [Engine(folder / each, backend="onnxruntime")(pixels)["logits"] for each in ("1", "2")]
    assert logits[0].shape == logits[1].shape == (1, 5)


def test_the_model_servers_default_repository(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    assert main(["--model", user_model("Classifier"), *IMAGES, "--to", "openvino-model-server"]) == 0
    repository = workplace / "out" / "Classifier-openvino-model-server-fp32"
    [entry] = json.loads((repository / "config.json").read_bytes())["model_config_list"]
    assert entry["config"]["base_path"] == "Classifier"
    assert (repository / "Classifier" / "1" / "model.xml").is_file()
    assert str(repository.relative_to(workplace) / "config.json") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "tritton"), "did you mean 'triton'?"),
        (("--to", "openvino-model-server", "--bf16", "-o", "bundle"), "not a model repository"),
        (("--to", "triton", "--bf16"), "bf16"),
        (("--to", "triton", "--device", "GPU"), "--device with --to triton"),
    ],
)
def test_bad_usage_writes_nothing(
    workplace: Path, user_model: UserModel, capsys: Captured, arguments: tuple[str, ...], said: str
) -> None:
    (workplace / "bundle").mkdir()
    (workplace / "bundle" / "manifest.json").write_text("{}")
    assert main(["--model", user_model("Classifier"), *IMAGES, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in workplace.iterdir()) == ["bundle", "models_of_a_cli_user.py"]


def test_a_dry_run_names_the_version_and_writes_nothing(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    assert main(["--model", user_model("Classifier"), *IMAGES, "--to", "triton", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"] == "out/Classifier-triton-fp32/Classifier/1"
    assert not (workplace / "out").exists()
    (workplace / "three.txt").write_text("a\nb\nc\n")
    arguments = ["--model", user_model("Classifier"), *IMAGES, "--labels", "three.txt", "--dry-run"]
    assert main(arguments) == 2
    assert "3 labels for a model with 5 classes" in capsys.readouterr().err
