"""GPUs, driver and CUDA toolkit from what the system tells; the texts are as drivers and toolkits write them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hamsa_deploy.cli import nvidia
from hamsa_deploy.cli.jetpack import jetson_from
from hamsa_deploy.cli.nvidia import (
    Gpu,
    bindings_misfit,
    cuda_from,
    cuda_major,
    gpu_of_jetson,
    gpu_text,
    gpus_from_driver,
    gpus_from_smi,
    system_has_tensorrt,
)

VERSION = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024
GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)
"""
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U16)\n"
ARM = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.00  Release Build\n"
CARD = "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 139\nGPU UUID: \t GPU-1f\nVideo BIOS: \t 95.02\n"
ORIN = jetson_from("# R36 (release), REVISION: 4.3", "NVIDIA Jetson Orin Nano Developer Kit\0")
MEMINFO = "MemTotal:        7802076 kB\nMemFree:         1204340 kB\n"


def test_nvidia_smi_tells_all() -> None:
    text = "NVIDIA H200, 9.0, 570.86.15, 143771\nNVIDIA GeForce RTX 4090, 8.9, 570.86.15, 24564\n"
    assert gpus_from_smi(text) == (
        Gpu("NVIDIA H200", "9.0", "570.86.15", 143771),
        Gpu("NVIDIA GeForce RTX 4090", "8.9", "570.86.15", 24564),
    )


@pytest.mark.parametrize(
    "text",
    ["", "No devices were found\n", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"],
)
def test_nvidia_smi_without_a_gpu(text: str) -> None:
    assert gpus_from_smi(text) == ()


def test_what_nvidia_smi_does_not_know_is_left_out() -> None:
    (gpu,) = gpus_from_smi("NVIDIA Thor, 11.0, [N/A], [N/A]\n")
    assert gpu == Gpu("NVIDIA Thor", "11.0", "", None)
    assert gpu_text(gpu) == "NVIDIA Thor, compute capability 11.0"


@pytest.mark.parametrize(
    ("version", "driver"), [(VERSION, "535.183.01"), (OPEN, "570.86.15"), (ARM, "580.00"), ("", "")]
)
def test_the_driver_tells_names_and_its_version(version: str, driver: str) -> None:
    assert gpus_from_driver(version, [CARD]) == (Gpu("NVIDIA GeForce RTX 4090", driver=driver),)
    assert gpus_from_driver(version, []) == ()


@pytest.mark.parametrize("told", [(), (Gpu("Orin (nvgpu)", "", "540.4.0"),)])
def test_a_jetson_shares_its_memory_and_its_capability_is_known(told: tuple[Gpu, ...]) -> None:
    assert ORIN is not None
    gpu = gpu_of_jetson(ORIN, told, MEMINFO)
    assert (gpu.compute_capability, gpu.memory_mib, gpu.shared) == ("8.7", 7619, True)
    assert gpu.name == (told[0].name if told else "NVIDIA Jetson Orin Nano Developer Kit")
    assert gpu_text(gpu).endswith("7619 MiB shared with the CPU")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}, "cuda_nvcc": {"version": "12.6.68"}}', "12.6.11"),
        ("", None),
        ("{", None),
        ("[]", None),
        ("{}", None),
    ],
)
def test_the_toolkits_version(text: str, expected: str | None) -> None:
    assert cuda_from(text) == expected


@pytest.mark.parametrize(
    ("driver", "expected"), [("580.65.06", 13), ("570.86.15", 12), ("525.60.13", 12), ("470.256.02", None), ("", None)]
)
def test_the_newest_cuda_that_a_driver_runs(driver: str, expected: int | None) -> None:
    assert cuda_major((Gpu("a card", driver=driver),), None) == expected


def test_the_oldest_driver_counts_and_a_jetpack_more_than_it() -> None:
    assert cuda_major((Gpu("a", driver="580.1"), Gpu("b", driver="535.1")), None) == 12
    assert cuda_major((Gpu("Orin", driver="999.0"),), ORIN) == 12
    assert cuda_major((), None) is None


def test_cuda_python_for_a_newer_cuda_than_the_drivers() -> None:
    misfit = bindings_misfit("13.4.4", 12)
    assert misfit is not None
    assert misfit.found == "cuda-python 13.4.4; the driver runs CUDA 12"
    assert misfit.fix == "pip install 'cuda-python<13'"
    for bindings, cuda in (("12.9.10", 12), ("12.9.10", 13), (None, 12), ("13.4.4", None)):
        assert bindings_misfit(bindings, cuda) is None


def test_tensorrt_of_the_system_is_found(tmp_path: Path) -> None:
    assert not system_has_tensorrt(tmp_path)
    (tmp_path / "python3.10/dist-packages/tensorrt").mkdir(parents=True)
    assert system_has_tensorrt(tmp_path)


@pytest.fixture
def fake_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of nvidia-smi."""

    def put(script: str) -> None:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return put


def test_nvidia_smi_is_asked(fake_smi: Callable[[str], None]) -> None:
    fake_smi('case "$*" in *compute_cap*csv*) echo "NVIDIA L4, 8.9, 550.54.15, 23034";; esac')
    assert nvidia.this_gpus(None) == (Gpu("NVIDIA L4", "8.9", "550.54.15", 23034),)


@pytest.mark.parametrize("script", ["echo NVIDIA L4, 8.9, 550.54.15, 23034; exit 9", "exec sleep 20"])
def test_an_nvidia_smi_that_fails_or_hangs_leaves_the_driver(
    fake_smi: Callable[[str], None], script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_smi(script)
    card = tmp_path / "driver/gpus/0000:01:00.0/information"
    card.parent.mkdir(parents=True)
    card.write_text(CARD)
    (tmp_path / "driver/version").write_text(VERSION)
    monkeypatch.setattr(nvidia, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(nvidia, "DRIVER", tmp_path / "driver")
    assert nvidia.this_gpus(None) == (Gpu("NVIDIA GeForce RTX 4090", driver="535.183.01"),)
