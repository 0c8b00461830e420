"""hamsa-export: the shared export of the bundled model, and small exports of a user's models."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import onnx
import pytest

from hamsa_deploy.cli import export as command
from hamsa_deploy.cli import request
from hamsa_deploy.cli.export import main
from hamsa_deploy.cli.parity import main as parity
from hamsa_deploy.models import MODELS
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_deploy.pipeline import files, manifest, run
from hamsa_deploy.pipeline.trials import Task
from hamsa_deploy.samples import FOLDER as SAMPLES
from hamsa_deploy.samples import digits
from hamsa_deploy.scan.forms import Way
from hamsa_deploy.targets import all_targets
from hamsa_runtime import Engine, open_bundle
from hamsa_runtime.backends.onnxruntime import has_native_transforms
from hamsa_runtime.bundle import sha256_of

from .conftest import Export, Run, UserModel, run_command

UserModel = UserModel
Captured = pytest.CaptureFixture[str]
SHAPES = ("--input", "2x16,2x3", "--to", "onnx")


def test_json_of_the_default_export_holds_stages_files_parity_and_verdict(exported: Export) -> None:
    assert exported.finished.code == 0, exported.finished.err
    report = json.loads(exported.finished.out)
    assert report["verdict"] == "passed"
    assert [stage["name"] for stage in report["stages"]] == ["load", *run.stages_of("openvino", "fp32")]
    assert all(stage["seconds"] >= 0 for stage in report["stages"])
    assert set(report["files"]) == {"model.xml", "model.bin"}
    for name, entry in report["files"].items():
        assert (entry["sha256"], entry["bytes"]) == sha256_of(exported.bundle / name)
    assert report["parity"]["images"] == 360
    assert report["parity"]["metrics"]["logits"]["max_relative_error"] < 5e-5  # the threshold of fp32
    assert report["parity"]["metrics"]["logits"]["top1_decided"] == 1.0


def test_default_export_shows_its_stages_on_stderr_and_no_warnings(exported: Export) -> None:
    assert "✓ real form" in exported.finished.err
    assert "warning" not in exported.finished.err.lower()
    assert "note" not in exported.finished.err  # nothing random about the trained model


def test_default_bundle_classifies_the_digits_that_the_model_never_saw(exported: Export) -> None:
    images, labels = digits()
    with Engine(exported.bundle) as engine:
        names = [best[0][0] for best in engine.classify(list(images), top=1)]
    accuracy = np.mean([name == str(label) for name, label in zip(names, labels, strict=True)])
    assert accuracy > 0.95  # the trained weights reach more; chance is 0.1


def test_manifest_of_the_default_export_says_where_the_model_came_from(exported: Export) -> None:
    model = open_bundle(exported.bundle).manifest.model
    weights = MODELS["hamsa_nano"].weights
    assert weights is not None
    assert model.weights is not None
    assert (model.reference, model.config) == ("hamsa_nano", {})
    assert (model.weights.file, model.weights.sha256) == (weights.name, sha256_of(weights)[0])


def test_export_leaves_nothing_beside_its_bundle(exported: Export) -> None:
    assert [path.name for path in exported.bundle.parent.iterdir()] == [exported.bundle.name]


def test_summary_names_verdict_metrics_bundle_and_next_step(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    assert main(["--model", user_model("Sharpening"), *SHAPES]) == 0
    text = capsys.readouterr().out
    for expected in ("PASSED", "max relative error", "model.onnx", "as the factory made them", "of length 16"):
        assert expected in text
    folder = Path("out") / "Sharpening-onnx-fp32"
    assert str(folder) in text
    assert f"hamsa_runtime.Engine({str(folder)!r})" in text
    assert open_bundle(workplace / folder).manifest.inputs[0].shape == ("batch", 16)


def test_quiet_prints_nothing(workplace: Path, user_model: UserModel, capfd: Captured) -> None:
    assert main(["--model", user_model("Sharpening"), *SHAPES, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert (workplace / "out").is_dir()


def test_dry_run_shows_the_plan_and_writes_nothing(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    before = sorted(workplace.rglob("*"))
    assert main(["--model", user_model("Sharpening"), *SHAPES, "--fp16", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert ", ".join(run.stages_of("onnx", "fp16")) in text
    assert "16" in text
    assert "dense" in text
    assert str(Path("out") / "Sharpening-onnx-fp16") in text
    assert sorted(workplace.rglob("*")) == before


SAY_WHAT_IS_IMPORTED = "import atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
HEAVY = {"torch", "sympy", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "openvino", "nncf"}


def test_a_typo_imports_nothing_heavy(workplace: Path) -> None:
    done = run_command("export", "--modl", "hamsa_nano", cwd=workplace, before=SAY_WHAT_IS_IMPORTED)
    assert done.code == 2
    assert HEAVY & set(done.err.split()) == set()


def test_a_dry_run_imports_no_translator(workplace: Path, user_model: UserModel) -> None:
    """Nor another engine than that of the bundle."""
    arguments = ["--model", user_model("Sharpening"), *SHAPES, "--dry-run"]
    done = run_command("export", *arguments, cwd=workplace, before=SAY_WHAT_IS_IMPORTED)
    assert done.code == 0, done.err
    assert {"onnxscript", "openvino", "nncf"} & set(done.err.split()) == set()


def test_tuning_is_a_stage_that_a_dry_run_names(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    assert main(["--model", user_model("Sharpening"), *SHAPES, "--tune", "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in report["stages"]] == run.stages_of("onnx", "fp32", tune=True)
    assert "tune" in run.stages_of("onnx", "fp32", tune=True)
    assert "tune" not in run.stages_of("onnx", "fp32")


def test_tune_reaches_the_bundle(
    workplace: Path, user_model: UserModel, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def timer(task: Task, ways: Sequence[Way]) -> list[float]:
        return [2.0 + number for number in range(len(ways))]

    monkeypatch.setattr(files, "engine_timer", lambda build, batch, device: timer)
    arguments = ["--model", user_model("Spectrum"), "--input", "1x64x3", "--to", "onnx", "-o", "b"]
    assert main([*arguments, "--tune", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in report["stages"]] == ["load", *run.stages_of("onnx", "fp32", tune=True)]
    (row,) = report["plan"]
    assert row["measured"][0] == {"factors": [64], "milliseconds": 2.0}
    assert open_bundle(workplace / "b").manifest.plan[0].measured[1].milliseconds == 3.0


def test_stages_of_a_float16_export_are_those_that_the_plan_names(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    assert main(["--model", user_model("Classifier"), "--input", "1x3x8x8", "--image-dtype", "uint8",
                 "--fp16", "--to", "onnx", "--json"]) == 0  # fmt: skip
    report = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in report["stages"]] == ["load", *run.stages_of("onnx", "fp16")]
    assert report["execution"]["products"] == {"f32": 3}  # ONNX Runtime's CPU: two transforms' and the head's
    assert any("do not run in fp16" in note for note in report["notes"])
    assert report["preprocessing"]["mean"] == [0.485, 0.456, 0.406]  # a user's model of images: ImageNet's
    assert report["inputs"][0]["dtype"] == "uint8"


def test_imagenet_normalisation_of_a_users_model_is_said(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    assert main(["--model", user_model("Classifier"), "--input", "1x3x8x8", "--image-dtype", "uint8",
                 "--dry-run"]) == 0  # fmt: skip
    assert "ImageNet's; --mean and --std say others" in " ".join(capsys.readouterr().out.split())


def test_fixed_batch_and_set_options_reach_the_bundle(workplace: Path, user_model: UserModel) -> None:
    (workplace / "labels.txt").write_text("a\nb\nc\n")
    np.savez(workplace / "data.npz", images=np.ones((3, 3, 8, 8), np.float32))
    model = ["--model", user_model("Classifier"), "--input", "1x3x8x8", "--set", "classes=3"]
    options = ["--batch", "3", "--to", "onnx", "--labels", "labels.txt", "--data", "data.npz", "-o", "b"]
    assert main([*model, *options, "--quiet"]) == 0
    manifest = open_bundle(workplace / "b").manifest
    assert manifest.inputs[0].shape == (3, 3, 8, 8)
    assert manifest.outputs[0].shape == (3, 3)
    assert manifest.labels == ("a", "b", "c")
    assert dict(manifest.model.config) == {"classes": 3}
    assert manifest.parity is not None
    assert manifest.parity.images == 3


USAGE_ERRORS = {
    "misspelt option": (["--modle", "hamsa_s"], "did you mean '--model'?"),
    "abbreviated option": (["--out", "x"], "unknown option '--out'"),
    "misspelt target": (["--to", "opnvino"], "did you mean 'openvino'?"),
    "two precisions": (["--fp16", "--bf16"], "not allowed with"),
    "precision of another library": (["--int4"], "unknown option '--int4'"),
    "stray argument": (["hamsa_s"], "unknown argument 'hamsa_s'"),
    "option without value": (["--to"], "expected one argument"),
    "set without value": (["--set", "image_size"], "not KEY=VALUE"),
    "shape": (["--input", "1x3x0"], "with a shape of positive sizes"),
    "batch": (["--batch", "0"], "at least 1"),
    "misspelt model": (["--model", "hamsa_nan"], "did you mean 'hamsa_nano'?"),
    "misspelt model option": (["--set", "image_sise=64"], "did you mean 'image_size'?"),
    "model option of the wrong kind": (["--set", "num_classes=ten"], "expected: a whole number"),
    "bf16 for onnx": (["--to", "onnx", "--bf16"], "ONNX Runtime's CPU has no products in bfloat16"),
    "bf16 for tensorrt": (["--to", "tensorrt", "--bf16"], "a plan is compared with PyTorch by ONNX Runtime"),
    "shape of a built-in model": (["--input", "1x3x8x8"], "only with package.module:factory"),
    "no such module": (["--model", "no_such_module:net"], "cannot be imported"),
    "no such weights": (["--weights", "gone.safetensors"], "gone.safetensors: no such file"),
    "misspelt calibration method": (["--calibration-method", "minmax"], "did you mean 'min-max'?"),
    "no such calibration": (["--fp16", "--calibration", "gone"], "gone: no such file"),
    "calibration without images": (["--fp16", "--to", "onnx", "--calibration", "."], "no images in this folder"),
    "calibration of fp32": (["--calibration", "pixels.npy"], "calibration inputs for precision fp32"),
    "method of fp32": (["--calibration-method", "mse"], "calibration method mse for precision fp32"),
    "method of fp16": (
        ["--fp16", "--to", "onnx", "--calibration-method", "mse"],
        "calibration method mse for precision fp16",
    ),
    "misspelt form of transforms": (["--fft", "nativ"], "did you mean 'native'?"),
    "native transforms for openvino": (["--fft", "native"], "OpenVINO 2026.4 reads the operator DFT wrongly"),
    "tuned native transforms": (["--to", "onnx", "--fft", "native", "--tune"], "tuning with native transforms"),
    "no such data": (["--data", "gone"], "gone: no such file"),
    "no such labels": (["--labels", "gone.txt"], "gone.txt: the labels cannot be read"),
}


@pytest.mark.parametrize(("arguments", "message"), USAGE_ERRORS.values(), ids=USAGE_ERRORS.keys())
def test_bad_usage_exits_2_and_says_the_way_out(
    arguments: list[str], message: str, workplace: Path, capsys: Captured
) -> None:
    np.save(workplace / "pixels.npy", np.zeros((1, 8, 8, 3), np.uint8))
    before = sorted(workplace.rglob("*"))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert sorted(workplace.rglob("*")) == before


MODEL_ERRORS = {
    "operator without a rule": ("Inverting", "2x4x4", ["linalg_inv", "return torch.linalg.inv("]),
    "transform across the batch": ("AcrossTheBatch", "2x4x4", ["a transform along an axis of dynamic length"]),
    "factory that raises": ("failing", "2x4", ["RuntimeError: no such luck"]),
    "misspelt factory": ("Doublin", "2x4", ["cannot be imported"]),
}


@pytest.mark.parametrize(("name", "shape", "messages"), MODEL_ERRORS.values(), ids=MODEL_ERRORS.keys())
def test_a_model_that_cannot_be_exported_exits_2_before_anything_is_written(
    name: str, shape: str, messages: list[str], workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    before = sorted(workplace.rglob("*"))
    assert main(["--model", user_model(name), "--input", shape, "--batch", "dynamic"]) == 2
    err = capsys.readouterr().err
    assert all(message in err for message in messages), err
    assert sorted(workplace.rglob("*")) == before


def test_a_model_that_fixes_its_batch_is_exported_with_it_and_the_summary_says_so(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    arguments = ["--model", user_model("AcrossTheBatch"), "--input", "2x4x4", "--to", "onnx", "-o", "bundle"]
    assert main([*arguments, "--json"]) == 0
    [note] = json.loads(capsys.readouterr().out)["notes"]
    assert "the batch is fixed, to that of the example inputs" in note
    assert open_bundle(workplace / "bundle").manifest.inputs[0].shape == (2, 4, 4)


def test_a_users_model_needs_an_input_shape(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    assert main(["--model", user_model("Sharpening")]) == 2
    assert "--input" in capsys.readouterr().err


def test_uint8_input_needs_one_image_shape(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    assert main(["--model", user_model("Sharpening"), "--input", "2x16", "--image-dtype", "uint8"]) == 2
    assert "one shape NxCxHxW with 1 or 3 channels" in capsys.readouterr().err


def test_labels_must_be_as_many_as_classes(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    (workplace / "labels.txt").write_text("one\ntwo\n")
    assert main(["--model", user_model("Classifier"), "--input", "1x3x8x8", "--labels", "labels.txt"]) == 2
    assert "2 labels for a model with 5 classes" in capsys.readouterr().err


def test_output_that_is_no_bundle_is_not_replaced(workplace: Path, user_model: UserModel, capsys: Captured) -> None:
    assert main(["--model", user_model("Sharpening"), *SHAPES, "-o", "."]) == 2
    assert "refusing to replace it" in capsys.readouterr().err
    assert [path.suffix for path in workplace.iterdir()] == [".py"]


def test_failed_parity_exits_3_and_leaves_the_older_bundle_untouched(
    workplace: Path, user_model: UserModel, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    arguments = ["--model", user_model("Sharpening"), *SHAPES, "-o", "bundle", "--json"]
    assert main(arguments) == 0
    before = {path: path.read_bytes() for path in (workplace / "bundle").iterdir()}
    capsys.readouterr()
    exact = Thresholds(max_relative_error=0.0, cosine=1.0, top1=1.0)
    monkeypatch.setitem(THRESHOLDS, "fp32", exact)
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    assert "parity failed: output: max relative error" in err
    assert json.loads(out)["verdict"] == "failed"
    assert {path: path.read_bytes() for path in (workplace / "bundle").iterdir()} == before
    assert {path.name for path in workplace.iterdir() if path.suffix != ".py"} == {"bundle"}


def test_missing_openvino_exits_4_before_anything_is_built(workplace: Path, run_hamsa: Run) -> None:
    done = run_hamsa("export", before="sys.modules['openvino'] = None")
    assert done.code == 4
    assert "hamsa-runtime[openvino]" in done.err
    assert "real form" not in done.err
    assert not (workplace / "out").exists()


def test_missing_needed_package_exits_4_and_names_the_command_that_installs_it(
    run_hamsa: Run,
) -> None:
    done = run_hamsa("export", before="sys.modules['onnx_ir'] = None")
    assert (done.code, done.out) == (4, "")
    assert "pip install onnx-ir" in done.err


@pytest.mark.skipif(not has_native_transforms(), reason="this ONNX Runtime has no inverse real DFT")
@pytest.mark.slow
def test_native_transforms_of_the_bundled_model(workplace: Path, capsys: Captured) -> None:
    assert main(["--to", "onnx", "--fft", "native", "-o", "b", "--json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["parity"]["note"]) == ("passed", "")
    assert {(row["kind"], row["length"], *row["factors"]) for row in report["plan"]} == {
        ("native", n, n) for n in (256, 64, 16, 4)
    }
    graph = onnx.load(workplace / "b" / "model.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    assert sum(node.op_type == "DFT" for node in graph.node) == 10  # forward and inverse in each of five blocks
    # A product with the constant on the left is a transform.
    assert not [node.name for node in graph.node if node.op_type == "MatMul" and node.input[0] in weights]


def test_versions_of_a_bundle_leave_out_a_target_that_is_not_installed(
    workplace: Path, user_model: UserModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        if package == "openvino":
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(manifest, "version", version)
    assert main(["--model", user_model("Sharpening"), *SHAPES, "-o", "bundle", "--quiet"]) == 0
    versions = open_bundle(workplace / "bundle").manifest.versions
    assert "openvino" not in versions
    assert versions["onnx"] == "1.0"


def test_ctrl_c_exits_130_and_leaves_nothing(workplace: Path) -> None:
    # A shell starts what it runs in the background with SIGINT ignored, and the tests may be such a thing.
    program = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from hamsa_deploy.cli.export import main\nsys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "load" in process.stderr.readline()  # the real form comes next, and takes seconds
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "interrupted; nothing was written"
    assert [path.suffix for path in workplace.iterdir()] == [".py"]


def test_help_does_not_wait_for_torch(workplace: Path) -> None:
    program = (
        "import sys\nfrom hamsa_deploy.cli.export import main\n"
        "try:\n    main(['--help'])\nfinally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in MODELS)


@pytest.mark.parametrize("source", [["--onnx", "x.onnx"], []])
def test_calibration_options_reach_the_request(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, source: list[str]
) -> None:
    monkeypatch.setattr(request, "load_onnx", lambda path: path)
    np.save(workplace / "pixels.npy", np.zeros((1, 8, 8, 3), np.uint8))
    arguments = [*source, "--calibration", "pixels.npy", "--calibration-method", "mse"]
    options = command.parser().options_from(arguments)
    command.check_one_model(options)
    made = request.request_from_options(options)
    assert (made.calibration, made.calibration_method) == (Path("pixels.npy"), "mse")


def test_the_command_describes_every_stage_of_the_pipeline() -> None:
    stages = {
        stage
        for each in all_targets()
        for precision in each.precisions
        for stage in run.stages_of(each.name, precision, tune=True, search=True, choice=True)
    }
    assert set(command.STAGES) == {"load"} | stages


def test_a_model_of_clips_is_exported_compared_and_run_on_files(
    workplace: Path, user_model: UserModel, capsys: Captured
) -> None:
    shutil.copytree(SAMPLES / "clips", workplace / "clips")
    model = ["--model", user_model("Echo")]
    arguments = [*model, "--sample-rate", "16000", "--data", "clips", "--dynamic", "x:1=samples", "--to", "onnx"]
    assert main([*arguments, "-o", "bundle"]) == 0
    shown = capsys.readouterr().out
    assert "x: 16000 Hz, mono; WAV and FLAC files" in shown
    assert "Compared with PyTorch on 8 inputs" in shown
    assert "Engine('bundle')('clip.wav')" in shown
    with Engine("bundle") as engine:
        assert engine("clips/voice_0.flac")["output"].shape == (1, 16000)
    for data, images in ((["--data", "clips"], 8), (["--data", "clips/chord_2.wav"], 1), ([], 8)):
        assert parity(["bundle", *model, *data, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["images"] == images
    assert main([*arguments[:-4], "--to", "onnx", "-o", "other"]) == 2
    assert "--dynamic x:1=samples" in capsys.readouterr().err
