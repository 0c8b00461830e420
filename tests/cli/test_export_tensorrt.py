"""hamsa-export --to tensorrt and --to tensorrt-rtx, as commands: on a machine without a GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamsa_deploy.cli import export as command
from hamsa_deploy.cli.export import main
from hamsa_deploy.cli.request import request_from_options
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_deploy.samples import digits
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.cli import build
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import AchievedTypes, EngineBuild
from hamsa_runtime.tensorrt.gpu import has_gpu
from hamsa_runtime.tensorrt.options import BuildOptions

from .conftest import USER_MODULE

# A model that takes a second, for what does not depend on the model.
SMALL = ["--model", f"{USER_MODULE}:Classifier", "--image-dtype", "uint8", "--input", "1x3x8x8"]


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)


@pytest.mark.usefixtures("no_tensorrt")
def test_without_tensorrt_the_bundle_is_whole_and_says_what_comes_next(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--to", "tensorrt", "--fp16", "--workspace", "512"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "not in this bundle: the package tensorrt cannot be imported" in text
    assert "built on the device by the command hamsa-build BUNDLE, or when it is first loaded" in text
    assert "its ONNX file run by ONNX Runtime: no GPU here runs the plan" in text
    assert "hamsa-runtime[tensorrt]" in text
    bundle = open_bundle(workplace / "out" / "Classifier-tensorrt-fp16")
    bundle.verify()
    manifest = bundle.manifest
    assert list(manifest.files) == ["model.onnx"]
    assert manifest.engine is not None
    assert manifest.engine.missing
    assert manifest.parity is not None
    assert (manifest.parity.engine, manifest.parity.passed) == ("onnxruntime", True)
    assert manifest.options["workspace_mib"] == 512
    assert manifest.islands


@pytest.mark.usefixtures("no_tensorrt")
def test_require_plan_exits_4_and_writes_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--to", "tensorrt", "--require-plan", "-o", "bundle", "--json"]) == 4
    report = json.loads(capsys.readouterr().out)
    assert "no plan can be built here: the package tensorrt cannot be imported" in report["error"]["found"]
    assert "--require-plan" in report["error"]["fix"]
    assert "pip install" in report["error"]["fix"]
    assert not (workplace / "bundle").exists()
    assert not [path for path in workplace.iterdir() if path.name.startswith(".bundle")]


@pytest.mark.skipif(has_gpu(), reason="a GPU is here: the plan itself is compared")
def test_rtx_builds_ahead_of_time_and_hamsa_build_has_nothing_to_do(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        THRESHOLDS, "int8", Thresholds(max_relative_error=1e9, cosine=-1, top1=0)
    )  # it need not hold it
    np.save("pixels.npy", digits()[0][:20])
    arguments = [*SMALL, "--to", "tensorrt-rtx", "--int8", "--calibration-method", "min-max", "--require-plan"]
    arguments += ["--calibration", "pixels.npy"]
    arguments += ["--batch", "2", "--compute-capability", "8.6", "--compute-capability", "8.9", "--json"]
    assert main([*arguments, "-o", "bundle"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["files"]) == {"model.onnx", "model.plan"}
    engine = report["engine"]
    assert (engine["missing"], engine["module"], engine["gpu"]) == ("", "tensorrt_rtx", None)
    assert engine["asked"]["i8"] == report["calibration"]["int8_layers"] == 3
    assert engine["achieved"]["layers"]["i8"] >= 1
    assert report["options"]["compute_capabilities"] == "8.6 8.9"
    assert [report["options"][f"{name}_batch"] for name in ("min", "opt", "max")] == [2, 2, 2]
    assert report["versions"]["tensorrt-rtx"] == engine["version"]
    assert [row["name"] for row in report["stages"]][-3:] == ["plan", "parity", "pack"]
    assert build.main(["bundle", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["plan"]) == ("found", str(Path("bundle", "model.plan")))


def test_what_fell_back_is_a_note(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from hamsa_deploy.targets import tensorrt_plan as target

    def built(*_: object) -> EngineBuild:
        achieved = AchievedTypes(layers={"f16": 3, "f32": 1}, fused=2, fell_back=("stages.0/node_add",))
        return EngineBuild("", "tensorrt", "10.3.0", "Linux aarch64", "Orin", "8.7", 61.0, {"f16": 9}, achieved)

    monkeypatch.setattr(target, "write_plan", built)
    assert main([*SMALL, "--to", "tensorrt", "--fp16", "-o", "bundle"]) == 0
    output = capsys.readouterr()
    text = " ".join(output.out.split())
    assert "1 layers of the plan compute in a wider type than asked for: stages.0/node_add" in output.err
    assert "built by tensorrt 10.3.0 in 61.0 s, for Orin (8.7) only" in text
    assert "3 float16, 1 float32; 2 of 4 do the work of several nodes" in text
    assert "fell back" in text


def test_every_option_of_the_builder_reaches_it() -> None:
    arguments = ["--to", "tensorrt", "--batch-profile", "2, 4,16", "--workspace", "64", "--optimization-level", "5"]
    arguments += ["--version-compatible", "--hardware-compatibility", "ampere+", "--refit", "--strip-weights"]
    arguments += ["--compute-capability", "8.9", "--require-plan"]
    request = request_from_options(_options(arguments))
    assert request.builder == BuildOptions(2, 4, 16, 64, 5, True, "ampere+", True, True, ("8.9",))
    assert request.require_plan
    assert request_from_options(_options(["--to", "tensorrt"])).builder is None


def _options(arguments: list[str]) -> Any:
    options = command.parser().options_from(arguments)
    command.check_one_model(options)
    return options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "tensort"], "did you mean 'tensorrt'?"),
        (["--to", "tensorrt", "--bf16", "--dry-run"], "precision bf16 for tensorrt"),
        (["--to", "tensorrt", "--batch-profile", "1,2"], "'1,2' is not MIN,OPT,MAX"),
        (["--to", "tensorrt", "--batch-profile", "4,2,1", "--dry-run"], "batch profile 4, 2, 1"),
        (["--to", "tensorrt", "--batch", "2", "--batch-profile", "1,2,4", "--dry-run"], "leave one of --batch and"),
        (["--to", "tensorrt", "--optimization-level", "6"], "'6' is not a level from 0 to 5"),
        (["--to", "tensorrt", "--hardware-compatibility", "ampere"], "did you mean 'ampere+'?"),
        (["--to", "tensorrt-rtx", "--compute-capability", "89", "--dry-run"], "compute capability '89'"),
        (["--to", "openvino", "--workspace", "64", "--dry-run"], "TensorRT's builder for the target openvino"),
        (["--require-plan", "--dry-run"], "TensorRT's builder for the target openvino"),
    ],
)
def test_bad_options_exit_2_before_anything_is_built(
    arguments: list[str], message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == InputError.exit_code
    assert message in capsys.readouterr().err
    assert not (workplace / "out").exists()


def test_a_compute_capability_that_rtx_lacks_fails_with_the_list(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--to", "tensorrt-rtx", "--compute-capability", "8.7", "-o", "bundle"]) == 2
    assert "expected: one of 7.5, 8.0, 8.6, 8.9, 12.0" in capsys.readouterr().err
    assert not (workplace / "bundle").exists()


def test_a_builder_that_fails_exits_5_and_keeps_the_old_bundle(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "bundle").mkdir()
    (workplace / "bundle" / "manifest.json").write_text("{}")
    assert main([*SMALL, "--to", "tensorrt-rtx", "--workspace", "1", "-o", "bundle"]) == 5
    error = capsys.readouterr().err
    assert "could not build a plan" in error
    assert "a larger --workspace" in error
    assert (workplace / "bundle" / "manifest.json").read_text() == "{}"
