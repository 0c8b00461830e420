"""hamsa-build: what it prints, its exit codes, and that the second time it has nothing to do."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import onnx
import pytest

from hamsa_runtime.cli.build import main

from ..tiny_bundles import MakeBundle, write_files


@pytest.fixture
def bundle(make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_bundle("tensorrt-rtx", precision="fp16", folder=tmp_path / "Bündel mit Plan")


def test_it_builds_once(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(bundle)]) == 0
    first = capsys.readouterr()
    assert first.out.startswith("tiny, fp16: plan built in ")
    assert "by       tensorrt_rtx " in first.out
    assert re.search(r"^layers +\d+ f16.* do the work of several nodes$", first.out, re.MULTILINE)
    assert re.match(r" +\d+\.\d s  \w+", first.err)  # a line for each phase
    path = Path(first.out.splitlines()[-1].removeprefix("in       "))
    assert path.stat().st_size > 1000
    assert main([str(bundle), "--json", "--quiet"]) == 0
    second = capsys.readouterr()
    document = json.loads(second.out)
    assert second.err == ""
    assert (document["verdict"], document["plan"], document["gpu"]) == ("found", str(path), None)
    assert document["asked"]["f16"] > 1
    assert document["achieved"]["fell_back"] == []
    assert main([str(bundle), "--rebuild", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "BUNDLE"),
        (["nowhere"], 2, "nowhere: no such folder"),
        (["{bundle}", "--rebild"], 2, "did you mean '--rebuild'?"),
        (["{bundle}", "--workspace", "much"], 2, "--workspace"),
        (["{bundle}/model.onnx"], 2, "a file, not a bundle's folder"),
    ],
)
def test_bad_usage_exits_2(
    bundle: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([each.format(bundle=bundle) for each in arguments]) == code
    assert message in capsys.readouterr().err


def test_a_changed_file_is_found_before_anything_is_built(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert main([str(bundle), "--json"]) == 2
    output = capsys.readouterr()
    assert "sha256" in output.err
    assert json.loads(output.out)["exit_code"] == 2
    assert not (bundle.parent / "cache").exists()


def test_a_missing_package_exits_4_and_names_the_extra(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert main([str(bundle)]) == 4
    assert "hamsa-runtime[tensorrt-rtx]" in capsys.readouterr().err


def test_a_builder_that_fails_exits_5(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    model = onnx.load(bundle / "model.onnx")
    model.graph.node[0].op_type = "NoSuchOperator"
    (bundle / "model.onnx").write_bytes(model.SerializeToString())
    del manifest["files"]
    write_files(bundle, manifest)
    assert main([str(bundle)]) == 5
    assert "cannot read model.onnx" in capsys.readouterr().err


def test_a_bundle_for_another_engine_exits_2(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(make_bundle("onnx"))]) == 2
    assert "needs no plan" in capsys.readouterr().err


def test_ctrl_c_exits_130(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hamsa_runtime.tensorrt.engine_files.cached_plan", interrupted)
    assert main([str(bundle)]) == 130
    assert "nothing was written" in capsys.readouterr().err
