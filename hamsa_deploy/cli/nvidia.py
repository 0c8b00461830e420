"""NVIDIA's GPUs, driver and CUDA toolkit, as far as the system tells without CUDA: nothing is loaded or initialised."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hamsa_deploy.cli.jetpack import Jetson, Misfit, jetson_from
from hamsa_deploy.targets.here import numbers

TIMEOUT_SECONDS = 10.0
DRIVER = Path("/proc/driver/nvidia")
CUDA = Path("/usr/local/cuda/version.json")
RELEASE, MODEL = Path("/etc/nv_tegra_release"), Path("/proc/device-tree/model")
MEMINFO = Path("/proc/meminfo")
SYSTEM_PACKAGES = Path("/usr/lib")
QUERY = ("--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader,nounits")
# CUDA -> the oldest driver for Linux that runs it: docs.nvidia.com/cuda, release notes.
DRIVERS = {13: (580,), 12: (525,)}


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: as its driver calls it.
        compute_capability: such as "8.9"; "" if nobody tells.
        driver: version; "" if nobody tells.
        memory_mib: its own, or on a Jetson the machine's; None if nobody tells.
        shared: whether the CPU has the same memory.
    """

    name: str
    compute_capability: str = ""
    driver: str = ""
    memory_mib: int | None = None
    shared: bool = False


def this_jetson() -> Jetson | None:
    """The Jetson that this machine is, if it is one."""
    return jetson_from(_text(RELEASE), _text(MODEL))


def this_gpus(jetson: Jetson | None) -> tuple[Gpu, ...]:
    """The GPUs of this machine."""
    if jetson is not None:
        return (gpu_of_jetson(jetson, gpus_from_smi(_smi()), _text(MEMINFO)),)
    cards = (_text(path) for path in sorted(DRIVER.glob("gpus/*/information")))
    return gpus_from_smi(_smi()) or gpus_from_driver(_text(DRIVER / "version"), cards)


def this_cuda() -> str | None:
    """The version of the CUDA toolkit."""
    return cuda_from(_text(CUDA))


def system_has_tensorrt(folder: Path = SYSTEM_PACKAGES) -> bool:
    """Whether the system's Python has TensorRT's package, as apt installs it."""
    return any(folder.glob("python3*/dist-packages/tensorrt"))


def gpus_from_smi(text: str) -> tuple[Gpu, ...]:
    """'NVIDIA H200, 9.0, 570.86.15, 143771' for each; what is not known stands there as [N/A]."""
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    return tuple(
        Gpu(row[0], _known(row[1]), _known(row[2]), int(row[3]) if row[3].isdecimal() else None)
        for row in rows
        if len(row) == len(("name", "compute_cap", "driver_version", "memory.total"))
    )


def gpus_from_driver(version: str, cards: Iterable[str]) -> tuple[Gpu, ...]:
    """From the files `version` and `gpus/*/information` below /proc/driver/nvidia."""
    driver = re.search(r"Kernel Module\D*?(?:x86_64|aarch64)?\s+(\d+(?:\.\d+)+)", version)
    models = [re.search(r"^Model:\s*(.+)$", card, re.MULTILINE) for card in cards]
    return tuple(Gpu(model.group(1).strip(), driver=driver.group(1) if driver else "") for model in models if model)


def gpu_of_jetson(jetson: Jetson, told: tuple[Gpu, ...], meminfo: str) -> Gpu:
    """A Jetson's GPU: its nvidia-smi, where there is one, knows neither memory nor, before JetPack 7, capability."""
    total = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    name, driver = (told[0].name, told[0].driver) if told else (jetson.model, "")
    memory = int(total.group(1)) // 1024 if total else None
    return Gpu(name, jetson.compute_capability, driver, memory, shared=True)


def cuda_from(version: str) -> str | None:
    """From the toolkit's version.json."""
    try:
        return str(json.loads(version)["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        return None


def cuda_major(gpus: tuple[Gpu, ...], jetson: Jetson | None) -> int | None:
    """The newest CUDA that the driver runs: 12 or 13; None if it is not known."""
    if jetson is not None and jetson.jetpack is not None:
        return numbers(jetson.jetpack.cuda)[0]
    drivers = [numbers(gpu.driver) for gpu in gpus if gpu.driver]
    return next((cuda for cuda, oldest in DRIVERS.items() if drivers and min(drivers) >= oldest), None)


def bindings_misfit(bindings: str | None, cuda: int | None) -> Misfit | None:
    """A version of cuda-python for a newer CUDA than the driver runs."""
    if bindings is None or cuda is None or numbers(bindings)[0] <= cuda:
        return None
    return Misfit(f"cuda-python {bindings}; the driver runs CUDA {cuda}", f"pip install 'cuda-python<{cuda + 1}'")


def gpu_text(gpu: Gpu) -> str:
    """'NVIDIA RTX 4090, compute capability 8.9, driver 580.65, 24564 MiB'."""
    memory = f"{gpu.memory_mib} MiB{' shared with the CPU' if gpu.shared else ''}" if gpu.memory_mib else ""
    capability = gpu.compute_capability and f"compute capability {gpu.compute_capability}"
    parts = (gpu.name, capability, gpu.driver and f"driver {gpu.driver}", memory)
    return ", ".join(part for part in parts if part)


def _smi() -> str:
    path = shutil.which("nvidia-smi")
    if path is None:
        return ""
    try:
        done = subprocess.run([path, *QUERY], capture_output=True, text=True, timeout=TIMEOUT_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _known(cell: str) -> str:
    return cell if numbers(cell) else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
