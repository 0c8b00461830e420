"""The reference is built again from the manifest, and never is another model than the bundle's."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hamsa_deploy.cli.export import check_one_model
from hamsa_deploy.cli.export import parser as export_parser
from hamsa_deploy.cli.request import request_from_options
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.models.registry import MODELS
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.parity.original import declared_faults, original_of
from hamsa_runtime.bundle import sha256_of
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest, manifest_from_json

from ..runtime.tiny_bundles import manifest_for

WEIGHTS = MODELS["hamsa_nano"].weights
assert WEIGHTS is not None
NANO: Path = WEIGHTS
OWN_MODULE = "a_module_of_a_parity_user"


def manifest(**model: Any) -> Manifest:
    """Of a bundle of hamsa_nano with its bundled weights; `model` says what is different."""
    bundled = {"file": "hamsa_nano.safetensors", "sha256": sha256_of(NANO)[0]}
    rows = {"reference": "hamsa_nano", "config": {}, "weights": bundled, "parameters": 216_106, **model}
    return manifest_from_json(json.dumps({**manifest_for(), "files": {}, "model": rows}).encode())


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_bundled_weights_need_no_file() -> None:
    model = original_of(manifest())
    assert isinstance(model, nn.Module)
    assert same_weights(model, load_model("hamsa_nano"))
    assert not model.training


def test_random_weights_are_drawn_again_with_the_same_seed() -> None:
    config: dict[str, Any] = {"num_classes": 7}
    twin = load_model("hamsa_nano", **config)
    parameters = sum(each.numel() for each in twin.parameters())
    model = original_of(manifest(config=config, weights=None, parameters=parameters))
    assert isinstance(model, nn.Module)
    assert same_weights(model, twin)


def test_a_checkpoint_is_taken_by_its_hash_whatever_it_is_called(tmp_path: Path) -> None:
    renamed = tmp_path / "epoch_90.safetensors"
    shutil.copy(NANO, renamed)
    assert isinstance(original_of(manifest(), renamed), nn.Module)


def test_of_a_checkpoint_with_several_weights_the_ones_are_taken_that_were_exported(tmp_path: Path) -> None:
    """The command line says the key, and the manifest keeps it."""
    trained, path = load_model("hamsa_nano"), tmp_path / "train.pt"
    state = trained.state_dict()
    torch.save({"model": {name: torch.zeros_like(value) for name, value in state.items()}, "ema": state}, path)
    options = export_parser().options_from(["--weights", str(path), "--weights-key", "ema", "--to", "onnx"])
    check_one_model(options)
    request = request_from_options(options)
    assert isinstance(request.model, nn.Module)
    assert same_weights(request.model, trained)
    assert request.provenance is not None
    assert request.provenance["weights"]["key"] == "ema"
    again = original_of(manifest(weights=request.provenance["weights"]), path)
    assert isinstance(again, nn.Module)
    assert same_weights(again, trained)


def test_another_checkpoint_is_refused_with_both_hashes(tmp_path: Path) -> None:
    other = {"file": "best.safetensors", "sha256": "ab" * 32}
    with pytest.raises(InputError) as caught:
        original_of(manifest(weights=other), NANO)
    assert sha256_of(NANO)[0] in caught.value.found
    assert caught.value.expected == "ab" * 32
    assert "--against" in caught.value.fix


def test_a_checkpoint_that_is_not_here_is_asked_for_by_name_and_hash() -> None:
    with pytest.raises(InputError, match=r"best\.safetensors") as caught:
        original_of(manifest(weights={"file": "best.safetensors", "sha256": "ab" * 32}))
    assert "ab" * 32 in caught.value.expected
    assert "--reference path/to/best.safetensors" in caught.value.fix


def test_a_checkpoint_for_random_weights_is_refused() -> None:
    with pytest.raises(InputError, match="without a checkpoint") as caught:
        original_of(manifest(weights=None), NANO)
    assert "--against OTHER_BUNDLE" in caught.value.fix  # for a bundle that was exported from Python


def test_a_missing_checkpoint_and_a_pointer_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        original_of(manifest(), tmp_path / "none.safetensors")
    pointer = tmp_path / "pointer.safetensors"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        original_of(manifest(), pointer)


def test_another_number_of_parameters_is_another_model() -> None:
    with pytest.raises(InputError, match="216,106 parameters"):
        original_of(manifest(parameters=5))


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's module; importing it leaves a file, running `make` gives a model of 6 parameters."""
    (tmp_path / f"{OWN_MODULE}.py").write_text(
        "import pathlib, torch\n"
        "pathlib.Path(__file__).with_name('imported').touch()\n"
        "def make(width=2):\n    return torch.nn.Linear(width, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, OWN_MODULE, raising=False)
    return tmp_path


def test_a_bundle_does_not_choose_what_is_imported(own_module: Path) -> None:
    bundle = manifest(reference=f"{OWN_MODULE}:make", weights=None, parameters=6)
    with pytest.raises(InputError, match="has to be imported") as caught:
        original_of(bundle)
    assert f"--model {OWN_MODULE}:make" in caught.value.fix
    with pytest.raises(InputError, match="for a bundle that was made from"):
        original_of(bundle, trusted="os:system")
    assert not (own_module / "imported").exists()


def test_a_factory_that_the_user_names_is_built_with_the_bundle_s_options(own_module: Path) -> None:
    name = f"{OWN_MODULE}:make"
    model = original_of(manifest(reference=name, config={"width": 3}, weights=None, parameters=8), trusted=name)
    assert isinstance(model, nn.Linear)
    assert model.in_features == 3
    with pytest.raises(InputError, match="cannot be built: RuntimeError"):
        original_of(manifest(reference=name, config={"width": -3}, weights=None, parameters=8), trusted=name)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    weight = numpy_helper.from_array(torch.ones(2).numpy(), "w")
    graph = helper.make_graph([node], "scale", values[:1], values[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


def test_an_onnx_file_is_asked_for_and_taken_by_its_hash(onnx_file: Path) -> None:
    right = manifest(reference="a.onnx", weights={"file": "a.onnx", "sha256": sha256_of(onnx_file)[0]}, parameters=2)
    assert isinstance(original_of(right, onnx_file), OnnxFile)
    with pytest.raises(InputError, match="which is not part of it"):
        original_of(right)
    wrong = manifest(reference="a.onnx", weights={"file": "a.onnx", "sha256": "ab" * 32}, parameters=2)
    with pytest.raises(InputError, match="not the file that the bundle was made from"):
        original_of(wrong, onnx_file)


def declared(**changes: Any) -> list[str]:
    how, labels = model_entry("hamsa_nano").preprocessing, model_entry("hamsa_nano").labels
    assert how is not None
    shape = ["batch", *how.size, 3]
    image = [{"name": "images", "dtype": "uint8", "shape": shape, "layout": "NHWC"}]
    document = {**manifest_for(), "files": {}, "inputs": image, "labels": labels}
    document |= {"preprocessing": asdict(how)}
    document["preprocessing"] |= changes.pop("preprocessing", {})
    document |= {"model": json.loads(json.dumps(dict(vars(manifest().model), weights=vars(manifest().model.weights))))}
    return declared_faults(manifest_from_json(json.dumps(document | changes).encode()))


def test_what_the_manifest_says_otherwise_than_the_training_is_a_fault() -> None:
    assert declared() == []
    [sentence] = declared(preprocessing={"mean": [0.4, 0.5, 0.6]})
    assert sentence == "preprocessing: mean (0.4, 0.5, 0.6), trained with (0.5, 0.5, 0.5)"
    [sentence] = declared(labels=list("1023456789"))
    assert "class 0 is '1' in the bundle and '0' in hamsa_nano" in sentence


def test_other_names_of_the_same_classes_are_no_fault() -> None:
    assert declared(labels=[f"digit {n}" for n in range(10)]) == []
