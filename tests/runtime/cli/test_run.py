"""`hamsa run`: what it prints, with and without classes, and what it refuses before the engine is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamsa_runtime import Engine
from hamsa_runtime.cli.run import main

from ..tiny_bundles import LABELS, WIDTH, MakeBundle, image_model, manifest_for, save_model, write_files

Captured = pytest.CaptureFixture[str]
TRUSTED = ("--timeout", "0")


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Path:
    return make_bundle("onnx")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "ein Bild.png")
    return tmp_path / "ein Bild.png"


def test_it_prints_the_classes_of_each_image_as_hamsa_run_in_c_does(
    bundle: Path, photo: Path, capsys: Captured
) -> None:
    assert main([str(bundle), str(photo), str(photo), "--top", "2", *TRUSTED]) == 0
    with Engine(bundle) as engine:
        [best] = engine.classify(photo, 2)
    lines = [str(photo), *(f"  {100 * share:6.2f} %  {label}" for label, share in best)]
    assert capsys.readouterr().out.splitlines() == lines * 2
    assert {label for label, _ in best} < set(LABELS)


def test_json_has_the_same_and_what_ran_it(bundle: Path, photo: Path, capsys: Captured) -> None:
    np.save(photo.with_suffix(".npy"), np.zeros((2, 8, 12, 3), np.uint8))
    assert main([str(bundle), str(photo), str(photo.with_suffix(".npy")), "--json", *TRUSTED]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["name"], document["backend"]) == ("tiny", "onnxruntime")
    one, two = document["results"]
    assert (one["input"], len(one["classes"]), len(two["classes"])) == (str(photo), 1, 2)
    assert sum(each["probability"] for each in one["classes"][0]) == pytest.approx(1)


def test_saved_outputs_are_those_of_the_engine(bundle: Path, photo: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main([str(bundle), str(photo), "--save", str(tmp_path / "new" / "folder"), *TRUSTED]) == 0
    assert capsys.readouterr().out == ""
    with Engine(bundle) as engine:
        expected = engine(photo)
    saved = {path.name: np.load(path) for path in (tmp_path / "new" / "folder").iterdir()}
    assert sorted(saved) == ["0-embedding.npy", "0-logits.npy"]
    np.testing.assert_array_equal(saved["0-logits.npy"], expected["logits"])


def test_without_logits_it_says_what_the_outputs_are(tmp_path: Path, photo: Path, capsys: Captured) -> None:
    model = image_model("graph", "batch")
    del model.graph.node[-1], model.graph.output[-1]
    manifest = manifest_for(labels=None)
    del manifest["outputs"][-1]
    save_model(model, tmp_path / "encoder", "onnx")
    bundle = write_files(tmp_path / "encoder", manifest)
    assert main([str(bundle), str(photo), *TRUSTED]) == 0
    assert capsys.readouterr().out == f"{photo}\n  embedding  float32 (1, {WIDTH})\n"
    assert main([str(bundle), str(photo), "--json", *TRUSTED]) == 0
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["outputs"] == {"embedding": {"dtype": "float32", "shape": [1, WIDTH]}}


def test_all_broken_images_are_named_at_once_and_nothing_is_run(
    bundle: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("hamsa_runtime.engine.Engine.__init__", None)
    cut, text = photo.with_name("cut.png"), photo.with_name("text.jpg")
    cut.write_bytes(photo.read_bytes()[:100])
    text.write_text("no image")
    assert main([str(bundle), str(photo), str(cut), str(text)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "2 of 3 images cannot be read" in err
    assert str(cut) in err
    assert str(text) in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{bundle}"], "IMAGE"),
        (["nowhere", "{photo}"], "nowhere: no such folder"),
        (["{bundle}", "nothing.png"], "nothing.png: no such file"),
        (["{bundle}", "{bundle}"], "a folder"),
        (["{bundle}", "{photo}", "--topk", "3"], "--top 3"),
        (["{bundle}", "{photo}", "--half"], "hamsa export --fp16"),
        (["{bundle}", "{photo}", "--top", "0"], "at least 1"),
        (["{bundle}", "{photo}", "--device", "GPU", *TRUSTED], "GPU"),
    ],
)
def test_what_it_cannot_do_is_said(words: list[str], message: str, bundle: Path, photo: Path, capsys: Captured) -> None:
    assert main([word.format(bundle=bundle, photo=photo) for word in words]) in (2, 4)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_arrays_that_cannot_be_read_are_refused(content: bytes, bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert main([str(bundle), str(tmp_path / "a.npy"), *TRUSTED]) == 2
    assert "a.npy: cannot be read" in capsys.readouterr().err
