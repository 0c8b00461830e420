"""Peers compute what they are said to compute, on the inputs of the bundle that they stand beside."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hamsa_deploy.bench.candidates import Candidate
from hamsa_deploy.bench.inputs import graph_inputs
from hamsa_deploy.bench.peers import PEERS, dft, peers_of
from hamsa_deploy.bench.peers.deit import deit_s
from hamsa_deploy.bench.peers.dft import dft_file
from hamsa_deploy.cli import bench as command
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.parity.differences import relative_errors
from hamsa_deploy.parity.metrics import THRESHOLDS
from hamsa_deploy.pipeline import run
from hamsa_runtime import BuildError, InputError, MissingError, open_bundle
from hamsa_runtime.manifest import Manifest, manifest_from_json

from ...runtime.tiny_bundles import manifest_for

BATCH = 2
FP32 = THRESHOLDS["fp32"].max_relative_error


def nano(**changes: Any) -> Manifest:
    """What a bundle of hamsa_nano says of itself; the bundle is not needed."""
    how = model_entry("hamsa_nano").preprocessing
    assert how is not None
    document = manifest_for(
        name="nano",
        model={"reference": "hamsa_nano", "config": {}, "weights": None, "parameters": 216106},
        inputs=[{"name": "images", "dtype": "uint8", "shape": ["batch", 32, 32, 3], "layout": "NHWC"}],
        outputs=[
            {"name": "logits", "dtype": "float32", "shape": ["batch", 10]},
            {"name": "embedding", "dtype": "float32", "shape": ["batch", 64]},
        ],
        preprocessing=asdict(how),
    )
    return manifest_from_json(json.dumps({**document, **changes}).encode())


def peer(name: str, first: Manifest, folder: Path) -> Candidate:
    (candidate,) = peers_of([name], first, folder)
    return candidate


def outputs_of(candidate: Candidate) -> Any:
    with candidate.opened(BATCH, 1) as run:
        return run()


def normalised(manifest: Manifest) -> torch.Tensor:
    """The pixels as hamsa_nano's own training made images of them, in float64."""
    pixels = graph_inputs(manifest, BATCH)["images"].astype(np.float64)
    return torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)


def error(found: Any, expected: torch.Tensor) -> float:
    return float(relative_errors(np.asarray(found), expected.detach().numpy()).max())


def test_eager_is_the_model_itself(tmp_path: Path) -> None:
    manifest = nano()
    logits, embedding = outputs_of(peer("eager", manifest, tmp_path))
    expected = load_model("hamsa_nano").double()(normalised(manifest))
    assert error(logits, expected["logits"]) < FP32
    assert error(embedding, expected["embedding"]) < FP32


@pytest.mark.parametrize("target", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_dft_computes_the_model_with_the_standard_operator(tmp_path: Path, target: str) -> None:
    manifest = nano(target=target)
    candidate = peer("dft", manifest, tmp_path)
    outputs = outputs_of(candidate)
    assert error(outputs["logits"], load_model("hamsa_nano").double()(normalised(manifest))["logits"]) < FP32
    assert candidate.bundle is not None
    bundle = open_bundle(candidate.bundle(BATCH))
    bundle.verify()
    if target == "onnx":
        assert b"DFT" in (bundle.folder / "model.onnx").read_bytes()
    else:
        assert "DFT" in (bundle.folder / "model.xml").read_text()


def test_an_engine_that_computes_something_else_from_dft_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = dft_file

    def twice_as_large(model: Any, *rest: Any) -> None:
        with torch.no_grad():
            model.model.head.weight.mul_(2)
        original(model, *rest)
        with torch.no_grad():
            model.model.head.weight.mul_(0.5)

    monkeypatch.setattr(dft, "dft_file", twice_as_large)
    with pytest.raises(BuildError, match="computes something else"):
        outputs_of(peer("dft", nano(), tmp_path))


@pytest.mark.parametrize("target", [pytest.param("onnx", marks=pytest.mark.slow), "openvino"])
def test_deit_s_runs_in_the_form_of_its_engine_from_the_same_pixels(tmp_path: Path, target: str) -> None:
    manifest = nano(target=target)
    candidate = peer("deit_s", manifest, tmp_path)
    assert candidate.precision == "fp32"
    outputs = outputs_of(candidate)
    with torch.inference_mode():
        expected = deit_s(32).double()(normalised(manifest))
    assert outputs["logits"].shape == (BATCH, 1000)
    assert error(outputs["logits"], expected) < FP32


@pytest.mark.parametrize(
    ("target", "precision", "expected"),
    [
        ("openvino", "bf16", "bf16"),
        ("openvino", "int8", "fp32"),
        ("onnx", "fp16", "fp32"),
        ("tensorrt", "fp16", "fp16"),
    ],
)
def test_deit_s_takes_the_precision_where_it_makes_sense(
    tmp_path: Path, target: str, precision: str, expected: str
) -> None:
    assert peer("deit_s", nano(target=target, precision=precision), tmp_path).precision == expected


def test_deit_s_for_tensorrt_is_exported_as_any_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def export(model: Any, **options: Any) -> Any:
        asked.update(options)
        raise MissingError("no GPU in this test")

    monkeypatch.setattr(run, "export", export)
    candidate = peer("deit_s", nano(target="tensorrt", precision="fp16"), tmp_path)
    with pytest.raises(MissingError, match="no GPU in this test"):
        outputs_of(candidate)
    assert (asked["to"], asked["precision"], asked["batch"]) == ("tensorrt", "fp16", BATCH)
    assert (asked["preprocessing"].size, asked["input_dtype"], asked["require_plan"]) == ((32, 32), "uint8", True)


def test_deit_s_needs_square_images_of_whole_patches(tmp_path: Path) -> None:
    manifest = manifest_from_json(json.dumps(manifest_for()).encode())
    with pytest.raises(InputError, match="images of 8 x 12 x 3"):
        peer("deit_s", manifest, tmp_path)
    with pytest.raises(InputError, match="a model of arrays"):
        peer("deit_s", nano(preprocessing=None), tmp_path)


@pytest.mark.parametrize("name", ["dft", "eager"])
def test_a_model_that_cannot_be_built_here_is_named(tmp_path: Path, name: str) -> None:
    model: dict[str, Any] = {"reference": "signal.onnx", "config": {}, "weights": None, "parameters": 1}
    with pytest.raises(InputError, match=r"'signal\.onnx', which cannot be built here"):
        peer(name, nano(model=model), tmp_path)


@pytest.mark.parametrize("name", ["dft", "eager"])
def test_code_that_a_bundle_names_is_not_imported_unless_the_user_names_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "code_of_a_bundle.py").write_text("raise RuntimeError('it was imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model: dict[str, Any] = {"reference": "code_of_a_bundle:make", "config": {}, "weights": None, "parameters": 1}
    with pytest.raises(InputError, match="a bundle must not choose what runs here"):
        peers_of([name], nano(model=model), tmp_path)
    with pytest.raises(InputError, match="--model other:make for a bundle that was made from code_of_a_bundle:make"):
        peers_of([name], nano(model=model), tmp_path, "other:make")
    assert "code_of_a_bundle" not in sys.modules
    with pytest.raises(RuntimeError, match="it was imported"):
        peers_of([name], nano(model=model), tmp_path, "code_of_a_bundle:make")


def test_dft_is_refused_for_tensorrt(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--peer dft with a bundle for TensorRT"):
        peers_of(["dft"], nano(target="tensorrt"), tmp_path)


def test_the_model_is_built_once_for_all_peers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    how = {"reference": "hamsa_nano", "config": {"num_classes": 3}, "weights": None, "parameters": 1}
    with caplog.at_level("INFO", logger="hamsa_deploy"):
        peers_of(["dft", "eager"], nano(model=how), tmp_path)
    assert caplog.text.count("random initialisation") == 1


def test_the_command_knows_the_same_peers() -> None:
    assert tuple(PEERS) == command.PEERS
