"""hamsa-export --onnx: a file that somebody else exported, through all stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hamsa_deploy
from hamsa_deploy.cli.export import main
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_runtime import Engine, open_bundle
from hamsa_runtime.bundle import sha256_of

Captured = pytest.CaptureFixture[str]
POINTS = 24
WEIGHT = np.random.default_rng(1).standard_normal((POINTS // 2 + 1, 2)).astype(np.float32)


def filter_model(batch: str | int = "N") -> onnx.ModelProto:
    """A gated filter: real DFT along the tokens, a real weight for each part, inverse DFT."""
    nodes = [
        helper.make_node("DFT", ["signal", ""], ["spectrum"], name="forward", axis=1, onesided=1),
        helper.make_node("Mul", ["spectrum", "weight"], ["filtered"]),
        helper.make_node("DFT", ["filtered", ""], ["y"], name="backward", axis=1, inverse=1, onesided=1),
    ]
    graph = helper.make_graph(
        nodes,
        "filter",
        [helper.make_tensor_value_info("signal", TensorProto.FLOAT, [batch, POINTS, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, POINTS, 1])],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(x: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(x[..., 0].astype(np.float64), axis=1)
    filtered = spectrum.real * WEIGHT[:, 0] + 1j * spectrum.imag * WEIGHT[:, 1]
    return np.fft.irfft(filtered, n=POINTS, axis=1)[..., None]


@pytest.fixture
def file(workplace: Path) -> str:
    """The name of a file in the workplace."""
    onnx.save(filter_model(), "gåtig filter.onnx")
    return "gåtig filter.onnx"


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_file_becomes_a_checked_bundle(target: str, file: str, workplace: Path, capsys: Captured) -> None:
    assert main(["--onnx", file, "--to", target, "-o", "bundle", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["verdict"]) == ("gåtig filter", "passed")
    manifest = open_bundle(workplace / "bundle").manifest
    assert manifest.model.reference == file
    assert manifest.model.weights is not None
    assert (manifest.model.weights.file, manifest.model.weights.sha256) == (file, sha256_of(workplace / file)[0])
    assert manifest.model.parameters == WEIGHT.size
    assert [(row.module, row.length) for row in manifest.plan] == [("forward", POINTS), ("backward", POINTS)]
    assert manifest.parity is not None
    assert manifest.parity.reference == f"{file} in float64"
    x = np.random.default_rng(0).standard_normal((3, POINTS, 1)).astype(np.float32)
    with Engine("bundle") as engine:
        y = engine(x)["y"]
    # float32 rounds to 6e-8, in two transforms of 24 terms
    assert np.abs(y - expected(x)).max() / np.abs(expected(x)).max() < 1e-6


def test_the_summary_names_the_file_as_what_was_compared_with(file: str, capsys: Captured) -> None:
    assert main(["--onnx", file, "--to", "onnx"]) == 0
    out, err = capsys.readouterr()
    text = " ".join(out.split())
    assert f"Compared with {file} in float64 on 3 inputs" in text
    assert f"PASSED the bundle computes what {file} computes" in text
    assert "Compared with PyTorch" not in text
    assert "replace DFT by real arithmetic" in err


def test_fp16_batch_and_data_go_through_as_for_a_module(file: str, workplace: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4, POINTS, 1)).astype(np.float32)
    np.savez("data.npz", signal=x)
    assert main(["--onnx", file, "--to", "onnx", "--fp16", "--batch", "4", "--data", "data.npz", "-o", "b"]) == 0
    manifest = open_bundle(workplace / "b").manifest
    assert (manifest.inputs[0].shape, manifest.precision) == ((4, POINTS, 1), "fp16")
    assert manifest.parity is not None
    assert manifest.parity.images == 4


def test_external_data_is_recorded_by_its_hash_and_packed(workplace: Path) -> None:
    onnx.save(filter_model(), "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    assert main(["--onnx", "big.onnx", "--to", "onnx", "-o", "b", "--quiet"]) == 0
    bundle = open_bundle(workplace / "b")
    assert bundle.manifest.model.config["external_data"] == {"big.data": sha256_of(workplace / "big.data")[0]}
    assert list(bundle.manifest.files) == ["model.onnx"]


def test_dry_run_shows_the_transforms_and_writes_nothing(file: str, workplace: Path, capsys: Captured) -> None:
    before = sorted(workplace.rglob("*"))
    assert main(["--onnx", file, "--dry-run"]) == 0
    assert "forward" in capsys.readouterr().out
    assert sorted(workplace.rglob("*")) == before


def test_python_takes_a_path_too(file: str, workplace: Path) -> None:
    bundle = hamsa_deploy.export(file, to="onnx", output="b")
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.passed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "hamsa_nano"], "--onnx with --model"),
        (["--weights", "w.safetensors", "--set", "a=1"], "--onnx with --weights, --set"),
        (["--image-dtype", "uint8"], "--onnx with --image-dtype"),
        (["--input", "1x5x1"], "the shape 1x5x1 for the input signal"),
        (["--data", "gone.npz"], "gone.npz: no such file"),
        (["--fft", "native"], "native transforms for"),
    ],
)
def test_what_does_not_go_with_a_file_exits_2(
    arguments: list[str], message: str, file: str, workplace: Path, capsys: Captured
) -> None:
    assert main(["--onnx", file, "--to", "onnx", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in workplace.iterdir() if path.suffix != ".py"] == [file]


def test_a_bad_file_exits_2_and_an_older_bundle_stays_as_it_was(file: str, workplace: Path, capsys: Captured) -> None:
    assert main(["--onnx", file, "--to", "onnx", "-o", "bundle", "--quiet"]) == 0
    before = {path: path.read_bytes() for path in (workplace / "bundle").iterdir()}
    (workplace / file).write_bytes((workplace / file).read_bytes()[:-40])
    assert main(["--onnx", file, "--to", "onnx", "-o", "bundle"]) == 2
    assert f"{file} is no valid ONNX file" in capsys.readouterr().err
    proto = filter_model()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "L"
    onnx.save(proto, file)
    assert main(["--onnx", file, "--to", "onnx", "-o", "bundle"]) == 2
    assert "DFT node 'forward'" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (workplace / "bundle").iterdir()} == before
    assert sorted(path.name for path in workplace.iterdir() if path.suffix != ".py") == sorted(["bundle", file])


def test_a_wrong_result_exits_3(file: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setitem(THRESHOLDS, "fp32", Thresholds(max_relative_error=0.0, cosine=1.0, top1=1.0))
    assert main(["--onnx", file, "--to", "onnx", "-o", "bundle"]) == 3
    assert "parity failed: y: max relative error" in capsys.readouterr().err
    assert not (workplace / "bundle").exists()
