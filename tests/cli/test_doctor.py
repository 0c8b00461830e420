"""hamsa-doctor: what it finds, what it answers, and its exit codes."""

from __future__ import annotations

import json

import pytest

from hamsa_deploy import pipeline
from hamsa_deploy.cli import machine
from hamsa_deploy.cli.doctor import main
from hamsa_deploy.cli.machine import Device, Found, answers
from hamsa_deploy.cli.packages import PACKAGES
from hamsa_deploy.processor import processor_from

ALL_HERE = {package.module: Found("1.0") for package in PACKAGES}
CPU = Device("openvino", "CPU", "a processor", ("FP32", "BF16", "INT8"))


def test_a_machine_with_everything_needed_exits_0_and_shows_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quiet", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["missing"] == []
    assert report["packages"]["torch"]["version"]
    assert report["answers"]["onnx"]["fp32"] == {"yes": True, "why": ""}
    assert {device["engine"] for device in report["devices"]} == {"openvino", "onnxruntime"}
    assert main([]) == 0
    text = capsys.readouterr().out
    for expected in ("torch", "--to openvino", "--fp32", "CPUExecutionProvider"):
        assert expected in text


def test_missing_torch_exits_4_and_names_the_command(run_hamsa) -> None:
    done = run_hamsa("doctor", before="sys.modules['torch'] = None")
    assert done.code == 4
    assert "pip install torch" in done.out
    assert "Nothing can be exported: torch missing" in done.out


def test_missing_openvino_is_a_no_for_its_target_only(run_hamsa) -> None:
    done = run_hamsa("doctor", "--json", before="sys.modules['openvino'] = None")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["packages"]["openvino"] == {"version": None, "problem": ""}
    assert report["answers"]["openvino"]["fp32"] == {"yes": False, "why": "openvino missing"}
    assert report["answers"]["onnx"]["fp32"]["yes"]


def test_answers_agree_with_what_the_pipeline_accepts() -> None:
    all_types = Device("openvino", "CPU", "", ("FP32", "FP16", "BF16", "INT8"))
    found = answers(ALL_HERE, (all_types,))
    yes = {target: tuple(p for p, a in row.items() if a.yes) for target, row in found.items()}
    assert yes == pipeline.PRECISIONS


def test_a_precision_that_the_cpu_lacks_is_a_no_and_says_why() -> None:
    row = answers(ALL_HERE, (CPU,))["openvino"]
    assert row["bf16"].yes
    assert (row["fp16"].yes, row["fp16"].why) == (False, "this CPU has no FP16")


def test_a_package_that_is_installed_but_broken_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libfoo.so: cannot open shared object file")

    monkeypatch.setattr(machine.importlib, "import_module", broken)
    assert machine._found("onnx") == Found(None, "libfoo.so: cannot open shared object file")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor : 0\nmodel name : X\nflags : fpu avx2 amx_tile\n", ("avx2", "amx_tile")),
        ("processor : 0\nFeatures : fp asimd bf16\n", ("asimd", "bf16")),
        ("", ()),
    ],
    ids=["x86", "arm", "no cpuinfo"],
)
def test_instruction_sets_are_read_from_cpuinfo(cpuinfo: str, expected: tuple[str, ...]) -> None:
    assert machine._instructions_from(cpuinfo) == expected


def test_processor_name_and_cores_are_read_from_cpuinfo() -> None:
    text = "processor : 0\nmodel name : Fast One\n\nprocessor : 1\nmodel name : Fast One\n"
    assert processor_from(text) == "Fast One, 2 logical cores"
