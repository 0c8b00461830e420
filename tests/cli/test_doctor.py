"""hamsa-doctor: what it finds, what it answers, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from hamsa_deploy.cli import doctor, machine
from hamsa_deploy.cli.doctor import main
from hamsa_deploy.cli.jetpack import jetson_from
from hamsa_deploy.cli.machine import Device, Found, Machine, answers
from hamsa_deploy.cli.nvidia import Gpu
from hamsa_deploy.cli.packages import PACKAGES, missing_package
from hamsa_deploy.measure.processor import processor_from
from hamsa_deploy.targets import all_targets
from hamsa_runtime.tensorrt.modules import MODULES

from .conftest import Older, Run

ALL_HERE = {package.module: Found("1.0") for package in PACKAGES}
CPU = Device("openvino", "CPU", "a processor", ("FP32", "BF16", "INT8"))


def test_a_machine_with_everything_needed_exits_0_and_shows_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # wide enough for any number of precisions
    assert main(["--quiet", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["missing"] == []
    assert report["packages"]["torch"]["version"]
    assert report["answers"]["onnx"]["fp32"] == {"yes": True, "why": "", "engine": "here"}
    here = [(each["engine"], each["name"]) for each in report["devices"] if not each["missing"]]
    assert {("openvino", "CPU"), ("onnxruntime", "CPU")} <= set(here)
    devices = {each["name"]: each for each in report["devices"] if each["engine"] == "onnxruntime"}
    assert devices["COREML"]["missing"] == "onnxruntime on macOS"
    assert devices["CUDA"]["missing"] in ("", "pip install onnxruntime-gpu")
    assert main([]) == 0
    text = capsys.readouterr().out
    for expected in ("torch", "--to openvino", "--fp32", "CPUExecutionProvider"):
        assert expected in text


def test_missing_torch_exits_4_and_names_the_command(run_hamsa: Run) -> None:
    done = run_hamsa("doctor", before="sys.modules['torch'] = None")
    assert done.code == 4
    assert "pip install torch" in done.out
    assert "Nothing can be exported: torch missing" in done.out


def test_missing_openvino_is_a_no_for_its_target_only(run_hamsa: Run) -> None:
    done = run_hamsa("doctor", "--json", before="sys.modules['openvino'] = None")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["packages"]["openvino"] == {"version": None, "problem": ""}
    assert report["answers"]["openvino"]["fp32"] == {"yes": False, "why": "openvino missing", "engine": ""}
    assert report["answers"]["onnx"]["fp32"]["yes"]


def test_answers_agree_with_what_the_pipeline_accepts() -> None:
    all_types = Device("openvino", "CPU", "", ("FP32", "FP16", "BF16", "INT8"))
    found = answers(ALL_HERE, (all_types,))
    yes = {target: tuple(p for p, a in row.items() if a.yes) for target, row in found.items()}
    assert yes == {target.name: target.precisions for target in all_targets()}


def test_a_precision_that_the_cpu_lacks_is_a_no_and_says_why() -> None:
    row = answers(ALL_HERE, (CPU,))["openvino"]
    assert row["bf16"].yes
    assert (row["fp16"].yes, row["fp16"].why) == (False, "this CPU has no FP16")


def test_int8_for_openvino_takes_nncf() -> None:
    row = answers(ALL_HERE | {"nncf": Found(None)}, (CPU,))["openvino"]
    assert row["fp32"].yes
    assert (row["int8"].yes, row["int8"].why) == (False, "nncf missing")


@pytest.mark.parametrize(
    "error",
    [OSError("libfoo.so: cannot open shared object file"), AttributeError("type object 'Type' has no attribute 'u2'")],
)
def test_a_package_that_is_installed_but_broken_says_so(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise error

    monkeypatch.setattr("importlib.import_module", broken)
    assert machine.found_package("onnx") == Found(None, f"broken: {error}")


def test_a_needed_package_that_is_too_old_exits_4_and_names_the_command(
    older: Older, capsys: pytest.CaptureFixture[str]
) -> None:
    older("torch", "2.5.1+cpu")
    assert main(["--quiet", "--json"]) == 4
    report = json.loads(capsys.readouterr().out)
    assert report["missing"] == ["torch"]
    assert report["packages"]["torch"]["problem"] == "too old: torch 2.5.1+cpu"
    assert main([]) == 4
    text = " ".join(capsys.readouterr().out.split())
    assert "torch: pip install 'torch>=2." in text
    assert "# installed, but too old: torch 2.5.1+cpu" in text


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
    assert machine.instructions_from(cpuinfo) == expected


def test_processor_name_and_cores_are_read_from_cpuinfo() -> None:
    text = "processor : 0\nmodel name : Fast One\n\nprocessor : 1\nmodel name : Fast One\n"
    assert processor_from(text) == "Fast One, 2 logical cores"


RTX = Gpu("NVIDIA GeForce RTX 4090", "8.9", "580.65.06", 24564)
H200 = Gpu("NVIDIA H200", "9.0", "580.65.06", 143771)
OLD_DRIVER = Gpu("NVIDIA GeForce RTX 4090", "8.9", "560.35.03", 24564)


def engines(gpus: tuple[Gpu, ...], **versions: str | None) -> tuple[str, str]:
    found = ALL_HERE | {name.replace("__", "."): Found(version) for name, version in versions.items()}
    table = answers(found, (), gpus)
    assert all(table[target]["fp16"].yes and not table[target]["bf16"].yes for target in MODULES)
    return table["tensorrt"]["fp16"].engine, table["tensorrt-rtx"]["fp16"].engine


@pytest.mark.parametrize(
    ("gpus", "versions", "expected"),
    [
        ((RTX,), {"tensorrt": "11.4.0.106"}, ("here", "here")),
        ((RTX,), {"tensorrt": "10.3.0"}, ("here", "here")),
        ((RTX,), {"tensorrt": "8.6.2"}, ("on the device", "here")),
        ((RTX,), {"tensorrt": None, "tensorrt_rtx": None}, ("on the device", "on the device")),
        ((RTX,), {"tensorrt": "11.4", "cuda__bindings": None}, ("on the device", "here; on an RTX card")),
        ((OLD_DRIVER,), {"tensorrt": "11.4", "cuda__bindings": "13.4.4"}, ("on the device", "here; on an RTX card")),
        ((OLD_DRIVER,), {"tensorrt": "11.4", "cuda__bindings": "12.9.10"}, ("here", "here")),
        ((H200,), {"tensorrt": "11.4"}, ("here", "here; on an RTX card")),
        ((), {"tensorrt": "11.4"}, ("on the device", "here; on an RTX card")),
    ],
)
def test_a_bundle_for_tensorrt_is_exported_anywhere_and_its_plan_built_where_it_can_be(
    gpus: tuple[Gpu, ...], versions: dict[str, str | None], expected: tuple[str, str]
) -> None:
    assert engines(gpus, **versions) == expected


@pytest.mark.parametrize(
    ("gpus", "release", "commands"),
    [
        ((RTX,), "", ("pip install tensorrt", "pip install cuda-python")),
        ((OLD_DRIVER,), "", ("pip install tensorrt-cu12", "pip install 'cuda-python<13'")),
        ((), "", ("pip install tensorrt", "pip install cuda-python")),
        ((), "# R36 (release), REVISION: 4.3", ("sudo apt install python3-libnvinfer", "pip install 'cuda-python<13'")),
        ((), "# R39 (release), REVISION: 2.1", ("sudo apt install python3-libnvinfer", "pip install cuda-python")),
    ],
)
def test_install_commands_fit_driver_and_jetpack(
    gpus: tuple[Gpu, ...], release: str, commands: tuple[str, str]
) -> None:
    here = Machine("", "", "", (), {}, (), gpus=gpus, jetson=jetson_from(release, ""))
    by_name = {package.module: here.install(package) for package in PACKAGES}
    assert (by_name["tensorrt"], by_name["cuda.bindings"]) == commands
    assert by_name["tensorrt_rtx"] == "pip install tensorrt-rtx"


def test_a_package_in_a_namespace_is_missing_and_not_broken() -> None:
    assert machine.found_package("no_such_namespace.bindings") == Found(None)
    assert machine.found_package("json.no_such_part") == Found(None)


def test_a_missing_import_of_cuda_names_its_command() -> None:
    error = missing_package(ModuleNotFoundError("No module named 'cuda'", name="cuda"))
    assert error is not None
    assert "pip install cuda-python" in error.fix


def jetson_machine(monkeypatch: pytest.MonkeyPatch, release: str, python: str, tensorrt: str | None) -> Machine:
    """This machine, as if it were an Orin Nano."""
    jetson = jetson_from(release, "NVIDIA Jetson Orin Nano Developer Kit\0")
    gpu = Gpu("Orin (nvgpu)", "8.7", "540.4.0", 7619, shared=True)
    found = {**ALL_HERE, "tensorrt": Found(tensorrt), "cuda.bindings": Found("12.9.10")}
    monkeypatch.setattr(machine, "this_jetson", lambda: jetson)
    monkeypatch.setattr(machine, "this_gpus", lambda jetson: (gpu,))
    monkeypatch.setattr(machine, "this_cuda", lambda: "12.6.68")
    monkeypatch.setattr(machine, "system_has_tensorrt", lambda: False)
    monkeypatch.setattr("platform.python_version", lambda: python)
    monkeypatch.setattr(machine, "found_package", lambda module, distribution="": found[module])
    return machine.this_machine()


def shown(here: Machine) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        doctor.show_machine(console, here)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 100
    return text


def test_a_jetson_shows_its_jetpack_and_that_all_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(jetson_machine(monkeypatch, "# R36 (release), REVISION: 4.3", "3.10.12", "10.3.0"))
    assert "NVIDIA Jetson Orin Nano Developer Kit" in text
    assert "6.2 (L4T 36.4.3): TensorRT 10.3, CUDA 12.6, Python 3.10" in text
    assert "Orin (nvgpu), compute capability 8.7, driver 540.4.0, 7619 MiB shared with the CPU" in text
    assert "Python, TensorRT and CUDA are those of this JetPack" in text
    assert "does not fit" not in text
    [row] = [line.split() for line in text.splitlines() if line.startswith("GPU.0")]
    assert row[:5] == ["GPU.0", "tensorrt", "yes:", "Orin", "(nvgpu),"]


def test_a_jetson_shows_what_does_not_fit_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    here = jetson_machine(monkeypatch, "# R36 (release), REVISION: 4.3", "3.10.12", None)
    text = shown(here)
    assert "does not fit  tensorrt is missing: sudo apt install python3-libnvinfer" in text
    assert "tensorrt: sudo apt install python3-libnvinfer" in text
    assert "on the device" in next(line for line in text.splitlines() if "--to tensorrt " in line)
    assert "are those of this JetPack" not in text
    newer = replace(here, misfits=(), jetson=jetson_from("# R41 (release), REVISION: 1.0", ""))
    assert "newer than the releases that are known here (L4T 41.1.0)" in shown(newer)


def test_a_machine_without_nvidia_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "this_gpus", lambda jetson: ())
    monkeypatch.setattr(machine, "this_jetson", lambda: None)
    text = shown(machine.this_machine())
    assert "no NVIDIA GPU found" in text
    assert "jetpack" not in text
