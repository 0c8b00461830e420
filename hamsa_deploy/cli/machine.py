"""What this machine has: processor, packages, devices, and from them which bundles it can build and run."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata

from hamsa_deploy.cli.packages import PACKAGES
from hamsa_deploy.processor import cpuinfo, processor_name, values
from hamsa_runtime.backends import TARGETS
from hamsa_runtime.manifest import PRECISIONS

# Instruction sets that decide how fast, and in which types, engines run; as Linux names them.
INSTRUCTIONS = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni",
    "amx_tile", "amx_bf16", "amx_int8", "amx_fp16",
    "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A package: its version, or why it cannot be imported."""

    version: str | None
    problem: str = ""


@dataclass(frozen=True)
class Device:
    """A device of an engine, and the number types that it computes in, where the engine tells."""

    engine: str
    name: str
    description: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Whether a bundle can be exported and run here, and if not, why."""

    yes: bool
    why: str = ""


@dataclass(frozen=True)
class Machine:
    """Everything that hamsa-doctor tells."""

    system: str
    python: str
    processor: str
    instructions: tuple[str, ...]
    packages: Mapping[str, Found]
    devices: tuple[Device, ...]
    answers: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Needed packages that are not here."""
        return [p.module for p in PACKAGES if p.needed and self.packages[p.module].version is None]


def this_machine() -> Machine:
    """Look at everything; imports every package, because one that is installed may still be broken."""
    packages = {package.module: _found(package.module) for package in PACKAGES}
    devices = (*_openvino_devices(packages), *_onnxruntime_devices(packages))
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        processor=processor_name(),
        instructions=_instructions_from(cpuinfo()),
        packages=packages,
        devices=devices,
        answers=answers(packages, devices),
    )


def answers(packages: Mapping[str, Found], devices: tuple[Device, ...]) -> dict[str, dict[str, Answer]]:
    """target -> precision -> whether it can be exported here, which includes running it: parity does."""
    return {
        target: {precision: _answer(target, precision, packages, devices) for precision in PRECISIONS}
        for target in TARGETS
    }


def _answer(target: str, precision: str, packages: Mapping[str, Found], devices: tuple[Device, ...]) -> Answer:
    needed = [package.module for package in PACKAGES if package.needed or package.module == target]
    missing = [module for module in needed if packages[module].version is None]
    if missing:
        return Answer(False, f"{', '.join(missing)} missing")
    from hamsa_deploy import pipeline  # imports torch, which is here

    if precision not in pipeline.PRECISIONS[target]:
        return Answer(False, f"{target} has no {precision}")
    if target == "openvino":
        return _openvino_answer(precision, devices)
    return Answer(True)


def _openvino_answer(precision: str, devices: tuple[Device, ...]) -> Answer:
    from hamsa_runtime.backends.openvino import PRECISIONS as CAPABILITIES

    _, _, capability = CAPABILITIES[precision]
    cpus = [device for device in devices if device.engine == "openvino" and device.name == "CPU"]
    if any(capability in cpu.capabilities for cpu in cpus):
        return Answer(True)
    return Answer(False, f"this CPU has no {capability}" if cpus else "OpenVINO finds no CPU")


def _found(module: str) -> Found:
    try:
        if module == "openvino":  # its backend keeps it from reporting the import to an analytics service
            importlib.import_module("hamsa_runtime.backends.openvino")
        imported = importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        return Found(None, "" if missing else f"{error}")
    except OSError as error:  # a library that it links to is missing
        return Found(None, str(error))
    return Found(_version_of(module, getattr(imported, "__version__", "")))


def _version_of(module: str, declared: str) -> str:
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:  # a system package, such as tensorrt on a Jetson
        return declared or "unknown version"


def _openvino_devices(packages: Mapping[str, Found]) -> list[Device]:
    if packages["openvino"].version is None:
        return []
    import openvino

    core = openvino.Core()
    return [
        Device(
            "openvino",
            name,
            core.get_property(name, "FULL_DEVICE_NAME"),
            tuple(core.get_property(name, "OPTIMIZATION_CAPABILITIES")),
        )
        for name in core.available_devices
    ]


def _onnxruntime_devices(packages: Mapping[str, Found]) -> list[Device]:
    if packages["onnxruntime"].version is None:
        return []
    import onnxruntime

    return [Device("onnxruntime", name, "") for name in onnxruntime.get_available_providers()]


def _instructions_from(cpuinfo: str) -> tuple[str, ...]:
    lines = values("flags", cpuinfo) or values("Features", cpuinfo)  # x86, ARM
    has = set(lines[0].split()) if lines else set()
    return tuple(name for name in INSTRUCTIONS if name in has)
