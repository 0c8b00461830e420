"""hamsa-parity as its users call it: what passes, what fails, what is refused; and faults that were planted."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from hamsa_deploy.cli.export import main as export
from hamsa_deploy.cli.parity import main, options_from
from hamsa_deploy.models.registry import MODELS
from hamsa_deploy.parity.metrics import Thresholds
from hamsa_deploy.samples import FOLDER, digits
from hamsa_runtime.bundle import sha256_of
from tests.rewriting import rewrite_manifest
from tests.shared import Nano

from .conftest import Export, UserModel

Captured = pytest.CaptureFixture[str]
PHOTOS = FOLDER / "photos"


@pytest.fixture(scope="module")
def bundle(nano: Nano) -> Path:
    """hamsa_nano as an ONNX bundle; tests edit copies."""
    return nano("onnx").folder


def changed(bundle: Path, folder: Path, edit: Callable[[onnx.ModelProto], None] | None = None, **keys: Any) -> Path:
    """A copy of a bundle with an edited graph and manifest, and with hashes that fit: a bundle made wrongly."""
    shutil.copytree(bundle, folder)
    if edit is not None:
        model = onnx.load(folder / "model.onnx")
        edit(model)
        onnx.save(model, folder / "model.onnx")
    rewrite_manifest(folder, **keys)
    return folder


def answer(capsys: Captured, *arguments: str | Path) -> dict[str, Any]:
    """What the command writes with --json, its exit code in it."""
    code = main([*map(str, arguments), "--json", "--quiet"])
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == code
    return dict(document)


def save_digits(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path, images=images, labels=labels)
    return path


def test_a_good_bundle_passes_with_every_metric(exported: Export, capsys: Captured) -> None:
    assert main([str(exported.bundle), "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["passed"], found["images"], found["failures"]) == ("passed", True, 360, [])
    assert {"top5", "kl_divergence", "rank_correlation", "margin_change", "accuracy"} <= set(found["metrics"]["logits"])
    assert {"recall_at_1", "recall_at_5", "recall_at_10"} <= set(found["metrics"]["embedding"])
    # float32 with sums in another order: an error of 1e-6 is 120 dB
    assert all(metrics["signal_to_noise_db"] > 110 for metrics in found["metrics"].values())
    assert found["metrics"]["logits"]["accuracy"] == found["metrics"]["logits"]["accuracy_reference"] > 0.97


def test_the_table_says_what_was_compared_and_by_which_limits(exported: Export, capsys: Captured) -> None:
    assert main([str(exported.bundle)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(r"run by OpenVINO [\d.]+ on CPU; layers: \d+ f32, \d+ u8 against hamsa_nano in PyTorch", text), (
        text
    )
    assert "images 360, built-in samples" in text
    assert "at most 5e-05" in text
    assert "95 % interval -1.06 to +1.06" in text
    assert "✓ PASSED the bundle agrees with its reference, within the limits of fp32" in text


def test_a_limit_that_is_not_kept_exits_with_3_and_shows_the_worst_images(exported: Export, capsys: Captured) -> None:
    assert main([str(exported.bundle), "--min-snr", "200", "--data", str(PHOTOS)]) == 3
    text = " ".join(capsys.readouterr().out.split())
    assert "✗ FAILED logits: signal to noise" in text
    assert "< 200 dB" in text
    assert "Worst images, embedding" in text
    assert "photos/flower_0" in text


def test_quiet_says_only_why_it_failed(exported: Export, capsys: Captured) -> None:
    assert main([str(exported.bundle), "--max-error", "1e-9", "--quiet"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "parity failed: logits: max relative error" in err


def test_limits_may_come_from_a_recipe(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    recipe = tmp_path / "gate.toml"
    recipe.write_text("max-error = 1e-9\nmin-agreement = 1\nmax-drop = 0.5\n")
    found = answer(capsys, bundle, "--recipe", recipe)
    assert found["exit_code"] == 3
    assert {"max_relative_error": 1e-9, "top1": 1.0, "max_drop": 0.5}.items() <= found["thresholds"].items()
    assert answer(capsys, bundle, "--recipe", recipe, "--max-error", "1e-4")["exit_code"] == 0


def test_a_bundle_against_another_one(bundle: Path, exported: Export, capsys: Captured) -> None:
    found = answer(capsys, bundle, "--against", exported.bundle)
    assert (found["verdict"], found["reference"]) == ("passed", "hamsa_nano for openvino, fp32")
    itself = answer(capsys, bundle, "--against", bundle, "--max-error", "0")
    assert itself["metrics"]["logits"]["max_absolute_error"] == 0
    assert itself["metrics"]["logits"]["signal_to_noise_db"] == 313


def test_another_device_than_the_export_s_is_said_and_one_that_is_not_here_exits_with_4(
    nano: Nano, tmp_path: Path, capsys: Captured
) -> None:
    images, labels = digits()
    bundle, data = nano("openvino").folder, save_digits(tmp_path / "few.npz", images[:12], labels[:12])
    assert main([str(bundle), "--data", str(data), "--timeout", "0", "--device", "hetero:cpu"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "on HETERO:CPU; nodes: " in text
    assert "the export compared it on CPU, which says nothing of HETERO:CPU" in text
    assert main([str(bundle), "--device", "npu"]) == 4
    assert "OpenVINO has no device 'NPU' here" in capsys.readouterr().err
    assert main([str(bundle), "--device", "gpu."]) == 2
    assert "HETERO:GPU,CPU" in capsys.readouterr().err


def test_a_folder_for_each_class_tells_the_accuracy(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    images, labels = digits()
    names = dict(zip("0123456789", "zero one two three four five six seven eight nine".split(), strict=True))
    for i in range(40):
        folder = tmp_path / "data" / names[str(labels[i])]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(folder / f"{i:02}.png")
    (tmp_path / "names.txt").write_text("\n".join(names.values()))
    found = answer(capsys, bundle, "--data", tmp_path / "data", "--labels", tmp_path / "names.txt")
    assert (found["images"], found["metrics"]["logits"]["accuracy"]) == (40, 1.0)
    assert found["worst_images"]["logits"][0]["name"].split("/")[0] in names.values()
    refused = answer(capsys, bundle, "--data", tmp_path / "data")
    assert refused["exit_code"] == 2
    assert "--labels" in refused["error"]["fix"]


def test_labels_must_be_as_many_as_classes(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    refused = answer(capsys, bundle, "--labels", tmp_path / "two.txt")
    assert (refused["exit_code"], refused["error"]["found"]) == (2, "2 labels for a model with 10 classes")


def test_folders_without_names_must_be_as_many_as_classes(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    nameless = changed(bundle, tmp_path / "nameless", labels=None)
    for name in ("cats", "dogs"):
        (tmp_path / "data" / name).mkdir(parents=True)
        shutil.copy(PHOTOS / "china_00.jpg", tmp_path / "data" / name)
    found = answer(capsys, nameless, "--data", tmp_path / "data")
    assert (found["exit_code"], "2 folders for a model with 10 classes" in found["error"]["found"]) == (2, True)


# Faults that were planted. The manifest claims hamsa_nano every time.


def initializer(model: onnx.ModelProto, sizes: set[int]) -> onnx.TensorProto:
    return next(each for each in model.graph.initializer if set(each.dims) == sizes)


def permute_classes(model: onnx.ModelProto) -> None:
    weight = initializer(model, {10, 64})
    array = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(np.roll(array, 1, axis=array.shape.index(10)), weight.name))


def perturb_one_weight(model: onnx.ModelProto) -> None:
    weight = initializer(model, {10, 64})
    array = numpy_helper.to_array(weight).copy()
    array[5, 5] += 0.1
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


def swap_channels(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "bgr"))
    first = model.graph.node[0]
    swap = helper.make_node("Gather", [first.input[0], "bgr"], ["swapped"], axis=3)
    first.input[0] = "swapped"
    model.graph.node.insert(0, swap)


@pytest.mark.parametrize(
    ("edit", "metric", "found"),
    [
        (permute_classes, "top1", "logits: top-1 agreement"),
        (swap_channels, "cosine", "embedding: cosine"),
        (perturb_one_weight, "signal_to_noise_db", "logits: max relative error"),
    ],
    ids=["outputs permuted", "channels swapped", "one weight perturbed"],
)
def test_a_planted_fault_is_found(
    edit: Callable[[onnx.ModelProto], None], metric: str, found: str, bundle: Path, tmp_path: Path, capsys: Captured
) -> None:
    sound = answer(capsys, bundle, "--data", PHOTOS)
    report = answer(capsys, changed(bundle, tmp_path / "faulty", edit), "--data", PHOTOS)
    assert (sound["exit_code"], report["exit_code"]) == (0, 3)
    assert any(sentence.startswith(found) for sentence in report["failures"])
    output = found.split(":")[0]
    # Anything but rounding: a tenth less agreement, or 20 dB more noise.
    lost = sound["metrics"][output][metric] - report["metrics"][output][metric]
    assert lost > (20 if metric == "signal_to_noise_db" else 0.01)


def test_permuted_true_classes_are_found(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    images, labels = digits()
    data = save_digits(tmp_path / "rolled.npz", images, (labels + 1) % 10)
    report = answer(capsys, bundle, "--data", data)
    assert report["exit_code"] == 3
    assert "another order than the logits: even the reference takes class 0 for 9" in report["failures"][0]


def test_permuted_labels_of_the_bundle_are_found(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    report = answer(capsys, changed(bundle, tmp_path / "faulty", labels=list("1023456789")))
    assert report["exit_code"] == 3
    assert report["failures"] == [
        "labels: class 0 is '1' in the bundle and '0' in hamsa_nano: they are in another order"
    ]


def test_other_preprocessing_than_in_training_is_found(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    how = json.loads((bundle / "manifest.json").read_text())["preprocessing"]
    report = answer(capsys, changed(bundle, tmp_path / "faulty", preprocessing={**how, "resize": "bicubic"}))
    assert report["exit_code"] == 3
    assert "preprocessing: resize" in report["failures"][0]


def write_nan(model: onnx.ModelProto) -> None:
    weight = initializer(model, {10, 64})
    array = np.full_like(numpy_helper.to_array(weight), np.nan)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


def test_nan_never_passes(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    report = answer(capsys, changed(bundle, tmp_path / "nan", write_nan), "--max-error", "1e300")
    assert (report["verdict"], report["exit_code"]) == ("failed", 3)
    assert "NaN or infinite" in report["error"]["found"]


def test_no_images_never_pass(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    empty = save_digits(tmp_path / "empty.npz", np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int64))
    for data in (tmp_path / "empty", empty, tmp_path / "none"):
        assert answer(capsys, bundle, "--data", data)["verdict"] == "error"


def test_an_output_of_another_shape_never_passes(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    rest = [spec for spec in json.loads((bundle / "manifest.json").read_text())["outputs"] if spec["name"] != "logits"]

    def drop_logits(model: onnx.ModelProto) -> None:
        model.graph.output.remove(next(each for each in model.graph.output if each.name == "logits"))

    report = answer(capsys, changed(bundle, tmp_path / "less", drop_logits, outputs=rest))
    assert (report["verdict"], report["exit_code"]) == ("failed", 3)
    assert report["error"]["expected"].startswith("['embedding', 'logits']")


def test_a_changed_file_is_refused_before_it_is_read(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    with (tmp_path / "copy" / "model.onnx").open("ab") as file:
        file.write(b"x")
    assert answer(capsys, tmp_path / "copy")["exit_code"] == 2


def test_a_checkpoint_must_be_the_one_that_was_exported(bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    weights = MODELS["hamsa_nano"].weights
    assert weights is not None
    assert answer(capsys, bundle, "--reference", weights)["exit_code"] == 0
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights.read_bytes()[:-4] + b"1234")
    error = answer(capsys, bundle, "--reference", other)["error"]
    assert (sha256_of(other)[0] in error["found"], error["expected"]) == (True, sha256_of(weights)[0])


def test_a_model_of_arrays_from_the_user_s_module(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    name = user_model("Spectrum")
    assert export(["--model", name, "--input", "1x16x3", "--to", "onnx", "-o", "own", "--quiet"]) == 0
    np.savez("arrays.npz", x=np.random.default_rng(0).standard_normal((5, 16, 3)).astype(np.float32))
    found = answer(capsys, "own", "--model", name, "--data", "arrays.npz")
    assert (found["verdict"], found["images"]) == ("passed", 5)
    assert "accuracy" not in found["metrics"]["output"]
    again = answer(capsys, "own", "--model", name)  # those that the export was compared on
    assert (again["verdict"], again["images"], again["data"]) == ("passed", 3, "random arrays")
    for arguments, message in [
        (["--data", "arrays.npz"], "has to be imported"),
        (["--model", name, "--data", "arrays.npz", "--min-agreement", "0.9"], "without logits"),
    ]:
        refused = answer(capsys, "own", *arguments)
        assert (refused["exit_code"], message in refused["error"]["found"]) == (2, True)


def test_a_bundle_of_an_onnx_file_is_compared_with_the_file(workplace: Path, capsys: Captured) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 12, 1]) for name in ("signal", "y")]
    nodes = [
        helper.make_node("DFT", ["signal", ""], ["spectrum"], name="forward", axis=1, onesided=1),
        helper.make_node("DFT", ["spectrum", ""], ["y"], name="backward", axis=1, inverse=1, onesided=1),
    ]
    graph = helper.make_graph(nodes, "there and back", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "theirs.onnx")
    np.savez("arrays.npz", signal=np.random.default_rng(0).standard_normal((3, 12, 1)).astype(np.float32))
    assert export(["--onnx", "theirs.onnx", "--to", "onnx", "-o", "own", "--quiet"]) == 0
    found = answer(capsys, "own", "--data", "arrays.npz", "--reference", "theirs.onnx")
    assert (found["verdict"], found["reference"]) == ("passed", "theirs.onnx in float64")
    assert answer(capsys, "own", "--data", "arrays.npz")["exit_code"] == 2


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "no bundle"),
        (["BUNDLE", "--min-cosin", "0.9"], "did you mean '--min-cosine'?"),
        (["BUNDLE", "--min-cosine", "2"], "'2' is not a number from 0 to 1"),
        (["BUNDLE", "--max-error", "nan"], "'nan' is not a number of at least 0"),
        (["BUNDLE", "--max-error", "-1"], "'-1' is not a number of at least 0"),
        (["BUNDLE", "--max-drop", "half"], "'half' is not a number of percentage points"),
        (["BUNDLE", "--against", "a", "--reference", "b"], "--against with --reference"),
        (["BUNDLE", "--max-drop", "1", "--data", "PHOTOS"], "without the true classes"),
        (["BUNDLE", "--model", "os:system"], "for a bundle that was made from hamsa_nano"),
        (["nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_usage_exits_with_2(
    arguments: list[str], found: str, bundle: Path, workplace: Path, capsys: Captured
) -> None:
    places = {"BUNDLE": str(bundle), "PHOTOS": str(PHOTOS)}
    assert main([places.get(each, each) for each in arguments]) == 2
    assert found in capsys.readouterr().err


def test_layers_are_shown_drawn_and_part_of_the_verdict(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    drawing, model = workplace / "depth.svg", user_model("Wrapped")
    arguments = ["--model", model, "--image-dtype", "uint8", "--input", "1x3x8x8", "--to", "openvino", "--quiet"]
    assert export([*arguments, "-o", "bundle"]) == 0
    assert main(["bundle", "--model", model, "--layers", "--plot", str(drawing), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "passed"
    assert report["layers"]["divergence"] is None
    assert {row["module"] for row in report["layers"]["rows"]} == {"input", "body.head", "engine: logits"}
    assert drawing.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "x.svg"], "--plot without --layers"),
        (["--layers", "--plot", "x.png"], "does not end in .svg"),
        (["--layers", "--plot", "nowhere/x.svg"], "cannot be written"),
        (["--layers", "--against", "{bundle}"], "--layers with --against"),
    ],
)
def test_options_of_layers_that_do_not_fit(
    exported: Export, arguments: list[str], message: str, capsys: Captured
) -> None:
    assert main([str(exported.bundle), *(each.format(bundle=exported.bundle) for each in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_every_limit_has_an_option() -> None:
    names = set(vars(options_from(["bundle"])))
    assert {field.name for field in dataclasses.fields(Thresholds)} - names == {"tie", "ties", "equal", "unit"}
