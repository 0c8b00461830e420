"""hamsa-fix: what it prints, its exit codes, and that it needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

from hamsa_runtime.cli.fix import main

from ..fix.files import FLOAT, dft_model, graph_model, saved


def test_a_file_is_fixed_and_the_table_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(saved(dft_model(["N", 3, 196, 1], axis=2, onesided=1, dtype=FLOAT), tmp_path))
    output = str(tmp_path / "fixed.onnx")
    assert main([path, "--check"]) == 1
    assert "spectrum  DFT of ?x3x196x1 to 196 along axis 2, onesided\n" in capsys.readouterr().out
    assert not Path(output).exists()
    assert main([path, "-o", output]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["node", "computes", "as", "error"]
    assert lines[1].startswith("spectrum  DFT of ?x3x196x1 to 196 along axis 2, onesided  ")
    assert float(lines[1].split()[-1]) < 1e-6
    assert any(line.startswith("on ONNX Runtime the outputs of both files differ by ") for line in lines)
    nodes = len(onnx.load(output).graph.node)
    assert lines[-1].startswith(f"{output}: 1 node replaced; 1 -> {nodes} nodes, ")
    assert main([output, "--check"]) == 0
    assert capsys.readouterr().out == f"{output}: no DFT, no STFT\n"
    assert main([output, "-o", str(tmp_path / "again.onnx")]) == 0
    assert "a copy of" in capsys.readouterr().out


def test_what_cannot_be_replaced_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(saved(dft_model(["N", "L", 1], axis=1, dtype=FLOAT), tmp_path))
    for options in (["--check"], ["-o", str(tmp_path / "fixed.onnx")]):
        assert main([path, *options]) == 2
        found = capsys.readouterr()
        assert found.out == ""
        assert found.err.startswith("error  DFT node 'spectrum': a transform along axis 1, whose length is dynamic")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no file to write"),
        (["-o", "{path}"], "is the file that is read"),
        (["--chek"], "unknown option '--chek'"),
        (["-o"], "expected one argument"),
    ],
)
def test_bad_usage_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    path = str(saved(graph_model([helper.make_node("Relu", ["x"], ["y"])], [2], 1, dtype=FLOAT), tmp_path))
    assert main([path, *(option.format(path=path) for option in options)]) == 2
    assert message in capsys.readouterr().err


def test_names_from_a_file_cannot_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = dft_model(["N", 8, 1], axis=1, dtype=FLOAT)
    proto.graph.node[0].name = "a\x1b[2Jb"
    assert main([str(saved(proto, tmp_path)), "--check"]) == 1
    assert "a\\x1b[2Jb" in capsys.readouterr().out


# Whatever is imported of these ends the import as if it were not installed.
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from hamsa_runtime.cli.fix import main
sys.exit(main(sys.argv[2:]))
"""


def without(packages: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, packages, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_it_needs_neither_torch_nor_the_toolkit(tmp_path: Path) -> None:
    path = saved(dft_model(["N", 12, 1], axis=1, dtype=FLOAT), tmp_path)
    output = tmp_path / "fixed.onnx"
    result = without("torch,hamsa_deploy,onnxscript,openvino", path, "-o", output)
    assert result.returncode == 0, result.stderr
    assert "on ONNX Runtime the outputs of both files differ" in result.stdout
    assert output.exists()


def test_without_onnx_runtime_each_node_is_checked_and_that_is_said(tmp_path: Path) -> None:
    path = saved(dft_model(["N", 12, 1], axis=1, dtype=FLOAT), tmp_path)
    result = without("torch,onnxruntime", path, "-o", tmp_path / "fixed.onnx")
    assert result.returncode == 0, result.stderr
    assert "not compared as a whole: onnxruntime is not installed" in result.stdout


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path) -> None:
    result = without("onnx_ir", saved(dft_model(["N", 12, 1], axis=1), tmp_path), "--check")
    assert result.returncode == 4
    assert "onnx_ir is not installed" in result.stderr
    assert "hamsa-runtime[fix]" in result.stderr
