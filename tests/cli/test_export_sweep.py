"""hamsa-export --sweep: the matrix is built, compared, timed and shown; an interrupted one goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hamsa_deploy.cli.export import main
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_deploy.pipeline import run
from hamsa_runtime import open_bundle
from hamsa_runtime.tensorrt.gpu import has_gpu

from .conftest import Run, UserModel

UserModel = UserModel
Captured = pytest.CaptureFixture[str]
SHAPE = ("--input", "2x16x3")
ONNX = ("--sweep", "precisions=fp32,fp16", "targets=onnx")


@pytest.fixture(autouse=True)
def short_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hamsa_deploy.sweep.run.SECONDS", 0.05)


@pytest.fixture
def model(workplace: Path, user_model: UserModel) -> list[str]:
    return ["--model", user_model("Spectrum"), *SHAPE]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that are exported, as they are."""
    export, names = run.export, []

    def counted(*arguments: Any, **options: Any) -> Any:
        names.append(f"{options['to']} {options['precision']}")
        return export(*arguments, **options)

    monkeypatch.setattr(run, "export", counted)
    return names


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "sweep.json").read_text())


def test_the_matrix_is_built_compared_timed_and_kept(
    workplace: Path, model: list[str], built: list[str], capsys: Captured
) -> None:
    arguments = [*model, "--sweep", "precisions=fp32,bf16,fp16", "targets=onnx", "--device", "HETERO:CPU", "--json"]
    assert main(arguments) == 2  # no bf16 for onnx
    out, err = capsys.readouterr()
    folder = workplace / "out" / "Spectrum-sweep"
    report = json.loads(out)
    assert report == record(folder)
    assert [cell["status"] for cell in report["cells"]] == ["built", "failed", "built"]
    assert [cell["exit_code"] for cell in report["cells"]] == [0, 2, 0]
    assert "bf16" in report["cells"][1]["error"]["found"]
    assert "onnx bf16 failed, exit code 2: precision bf16 for onnx; expected: one of fp32, fp16, int8" in err
    names = {"Spectrum-onnx-fp32", "Spectrum-onnx-fp16"}
    assert {path.name for path in folder.iterdir()} == names | {"sweep.json", "pareto.svg"}
    (bench,) = report["benchmark"]["tables"]
    assert {row["name"] for row in bench["rows"]} == names
    assert {row["engine"] for row in bench["rows"]} == {"ONNX Runtime on HETERO:CPU"}
    for cell in report["cells"][::2]:
        parity = open_bundle(folder / cell["bundle"]).manifest.parity
        assert parity is not None
        assert cell["parity"]["metrics"] == parity.metrics
        assert parity.device == "HETERO:CPU"
        assert cell["agreement_db"] == parity.metrics["output"]["signal_to_noise_db"]
        assert cell["latency_ms"] > 0
    assert any(cell["pareto"] for cell in report["cells"])
    assert "onnx fp16" in (folder / "pareto.svg").read_text()

    before = {path: path.read_bytes() for name in names for path in (folder / name).iterdir()}
    built.clear()
    assert main([*arguments[:-1]]) == 2
    assert built == ["onnx bf16"]  # what failed is tried again
    assert [cell["status"] for cell in record(folder)["cells"]] == ["kept", "failed", "kept"]
    assert {path: path.read_bytes() for path in before} == before
    text = " ".join(capsys.readouterr().out.split())
    assert "exit 2" in text
    assert "agreement" in text
    assert "pareto.svg" in text


def test_another_request_or_a_damaged_bundle_is_built_again(
    workplace: Path, model: list[str], built: list[str], capsys: Captured
) -> None:
    assert main([*model, *ONNX, "-o", "s", "--quiet"]) == 0
    built.clear()
    assert main([*model, "--sweep", "targets=onnx", "-o", "s", "--batch", "3", "--quiet"]) == 0
    assert built == ["onnx fp32"]
    weights = workplace / "s" / "Spectrum-onnx-fp32" / "model.onnx"
    weights.write_bytes(weights.read_bytes() + b"x")
    built.clear()
    capsys.readouterr()
    assert main([*model, *ONNX, "-o", "s", "--batch", "3"]) == 0
    err = capsys.readouterr().err
    assert built == ["onnx fp32", "onnx fp16"]  # one is damaged, the other of another batch
    assert "model.onnx" in err
    assert "made from another request" in err
    built.clear()
    assert main([*model, *ONNX, "-o", "s", "--batch", "3", "--quiet"]) == 0
    assert built == []


def test_a_cell_outside_its_limits_exits_3_and_stops_nobody(
    workplace: Path, model: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(THRESHOLDS, "fp32", Thresholds(max_relative_error=0.0, cosine=1.0, top1=1.0))
    assert main([*model, *ONNX, "-o", "s", "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["exit_code"]) == ("failed", 3)
    assert [(cell["status"], cell["exit_code"]) for cell in report["cells"]] == [("failed", 3), ("built", 0)]
    assert "max relative error" in report["cells"][0]["error"]["found"]
    assert not (workplace / "s" / "Spectrum-onnx-fp32").exists()


def test_a_missing_package_fails_its_cells_only(model: list[str], run_hamsa: Run, workplace: Path) -> None:
    before = "sys.modules['openvino'] = None\nfrom hamsa_deploy.sweep import run\nrun.SECONDS = 0.05"
    before = f"import sys\n{before}"
    done = run_hamsa("export", *model, "--sweep", "targets=openvino,onnx", "-o", "s", before=before)
    assert done.code == 4, done.err
    assert "openvino fp32 failed, exit code 4" in " ".join(done.out.split())
    assert "hamsa-runtime[openvino]" in done.out.replace("\n", "")
    assert [cell["status"] for cell in record(workplace / "s")["cells"]] == ["failed", "built"]


@pytest.mark.skipif(has_gpu(), reason="has the GPU that is missing elsewhere")
def test_what_has_no_engine_here_is_built_and_not_timed(workplace: Path, model: list[str], capsys: Captured) -> None:
    assert main([*model, "--sweep", "targets=tensorrt,onnx", "-o", "s"]) == 0
    first, second = record(workplace / "s")["cells"]
    assert (first["status"], first["latency_ms"], first["pareto"]) == ("built", None, False)
    assert "no NVIDIA GPU" in first["not_timed"]
    assert first["agreement_db"] > 100
    assert second["latency_ms"] > 0
    assert "tensorrt fp32 was not timed: made for TensorRT, and there is no NVIDIA GPU here" in " ".join(
        capsys.readouterr().out.split()
    )


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    workplace: Path, model: list[str], built: list[str]
) -> None:
    program = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from hamsa_deploy.cli.export import main\nsys.exit(main())"
    )
    arguments = [*model, *ONNX, "-o", "s"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=workplace, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "[2/2]" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "the same command goes on from there" in err.splitlines()[-1]
    assert [cell["status"] for cell in record(workplace / "s")["cells"]] == ["built", "waiting"]
    assert record(workplace / "s")["verdict"] == "unfinished"
    assert {path.name for path in (workplace / "s").iterdir()} == {"sweep.json", "Spectrum-onnx-fp32"}
    assert main([*arguments, "--quiet"]) == 0
    assert built == ["onnx fp16"]
    assert [cell["status"] for cell in record(workplace / "s")["cells"]] == ["kept", "built"]


def test_a_dry_run_writes_nothing_and_says_what_is_there(workplace: Path, model: list[str], capsys: Captured) -> None:
    before = sorted(workplace.rglob("*"))
    assert main([*model, *ONNX, "-o", "s", "--dry-run"]) == 0
    assert capsys.readouterr().out.count("would be built") == 2
    assert sorted(workplace.rglob("*")) == before
    assert main([*model, "--sweep", "targets=onnx", "-o", "s", "--quiet"]) == 0
    assert main([*model, *ONNX, "-o", "s", "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "planned"
    assert [cell["status"] for cell in report["cells"]] == ["kept", "waiting"]


def test_a_recipe_holds_a_sweep(workplace: Path, model: list[str], capsys: Captured) -> None:
    Path("all.toml").write_text('sweep = ["precisions=fp32,fp16", "targets=onnx"]\n')
    assert main([*model, "--recipe", "all.toml", "--dry-run"]) == 0
    assert "Spectrum-onnx-fp16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sweep", "precisions=fp32,f16"], "did you mean 'fp16'"),
        (["--sweep", "targets=openvin"], "did you mean 'openvino'"),
        (["--sweep", "target=onnx"], "did you mean 'targets'"),
        (["--sweep", "onnx"], "is not KEY=NAME,NAME,..."),
        (["--sweep", "targets="], "unknown target ''"),
        (["--sweep", "targets=onnx", "targets=openvino"], "targets twice"),
        (["--sweep", "targets=onnx", "--to", "tensorrt"], "--to for tensorrt"),
        (["--sweep", "precisions=fp32", "--to", "triton"], "--sweep with --to triton"),
        (["--sweep", "precisions=fp32", "--int8"], "--fp16 and its like for int8"),
        (["--sweep", "targets=onnx", "--max-drop", "1"], "--max-drop in a sweep over onnx fp32"),
        (["--sweep", "targets=onnx", "-o", "."], "a bundle"),
    ],
)
def test_bad_usage_is_noticed_before_anything_is_built(
    workplace: Path, model: list[str], built: list[str], arguments: list[str], message: str, capsys: Captured
) -> None:
    Path("manifest.json").write_text("{}")
    assert main([*model, *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert built == []
    assert {path.name for path in workplace.iterdir() if path.suffix != ".py"} == {"manifest.json"}
