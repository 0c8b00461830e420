"""hamsa-export --int8, as a command with all that belongs to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamsa_deploy.cli.export import main
from hamsa_deploy.samples import digits
from hamsa_runtime.errors import InputError
from hamsa_runtime.vocabulary import PASSES

from .conftest import Run, UserModel


@pytest.mark.slow
def test_int8_by_a_folder_of_images_within_a_largest_drop(run_hamsa: Run, workplace: Path) -> None:
    images, labels = digits()
    (workplace / "numbers").mkdir()
    for number, image in enumerate(images[:20]):
        Image.fromarray(image).save(workplace / "numbers" / f"{number:02}.png")
    (workplace / "numbers" / "20.png").write_bytes(b"cut off")
    np.savez(workplace / "held_out.npz", images=images[20:60], labels=labels[20:60])
    done = run_hamsa(
        "export", "--int8", "--to", "onnx", "--calibration", "numbers", "--calibration-method", "mse", "--data",
        "held_out.npz", "--max-drop", "0.5", "--without", "smooth", "--json", "-o", "bundle",
    )  # fmt: skip
    assert done.code == 0, done.err
    report = json.loads(done.out)
    record = report["calibration"]
    assert (record["inputs"]["source"], record["inputs"]["used"]) == ("numbers", 20)
    assert list(record["inputs"]["skipped"]) == ["20.png"]
    assert (record["method"], set(record["passes"])) == ("mse", set(PASSES) - {"smooth"})
    assert (record["int8_layers"], record["kept_layers"]) == (50, [])
    assert report["parity"]["images"] == 40
    assert any("calibration goes without 1 of 21 images" in note for note in report["notes"])
    assert any("0 of 50 layers in floating point: 0.00 points lost" in note for note in report["notes"])
    assert str(workplace) not in (workplace / "bundle" / "manifest.json").read_text()


def test_a_dry_run_lists_the_stages_of_int8(
    workplace: Path, user_model: UserModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", user_model("Classifier"), "--image-dtype", "uint8", "--input", "1x3x8x8"]
    assert main([*model, "--int8", "--max-drop", "0.5", "--dry-run", "--json"]) == 0
    stages = [row["name"] for row in json.loads(capsys.readouterr().out)["stages"]]
    assert stages == ["real form", "onnx", "calibrate", "search", "int8", "parity", "speed", "pack"]
    assert main([*model, "--int8", "--only-where-it-pays", "--dry-run", "--json"]) == 0
    stages = [row["name"] for row in json.loads(capsys.readouterr().out)["stages"]]
    assert stages == ["real form", "onnx", "calibrate", "pays", "int8", "choose", "parity", "speed", "pack"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--int8", "--max-drop", "200"], "'200' is not a number of percentage points"),
        (["--int8", "--max-drop", "half"], "'half' is not a number of percentage points"),
        (["--int8", "--without", "smoth"], "did you mean 'smooth'?"),
        (["--fp16", "--to", "onnx", "--max-drop", "1"], "only for int8"),
        (["--fp16", "--to", "onnx", "--only-where-it-pays"], "only for int8"),
    ],
)
def test_options_of_int8_are_checked(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    assert main(arguments) == InputError.exit_code
    assert found in capsys.readouterr().err
