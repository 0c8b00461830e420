"""What this machine has: processor, packages, devices, and from them which bundles it can build and run."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata

from hamsa_deploy.cli.jetpack import Jetson, Misfit, misfits
from hamsa_deploy.cli.nvidia import (
    Gpu,
    bindings_misfit,
    cuda_major,
    system_has_tensorrt,
    this_cuda,
    this_gpus,
    this_jetson,
)
from hamsa_deploy.cli.packages import PACKAGES, too_old
from hamsa_deploy.measure.processor import cpuinfo, processor_name, values
from hamsa_deploy.targets import all_targets
from hamsa_deploy.targets.here import Answer, Package
from hamsa_deploy.targets.record import Target
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.vocabulary import PRECISIONS

# Instruction sets that decide how fast, and in which types, engines run; as Linux names them.
INSTRUCTIONS = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni",
    "amx_tile", "amx_bf16", "amx_int8", "amx_fp16",
    "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A package: its version, or why it cannot be used, though it is installed."""

    version: str | None
    problem: str = ""


@dataclass(frozen=True)
class Device:
    """A device of an engine, by the name that --device takes.

    Attributes:
        engine, name: as an option calls them.
        description: what it is, or ONNX Runtime's name of the provider.
        capabilities: the number types that it computes in, where the engine tells.
        missing: why it cannot be used here, or what installs it; empty if it can.
    """

    engine: str
    name: str
    description: str
    capabilities: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Machine:
    """Everything that hamsa-doctor tells."""

    system: str
    python: str
    processor: str
    instructions: tuple[str, ...]
    packages: Mapping[str, Found]
    devices: tuple[Device, ...]
    gpus: tuple[Gpu, ...] = ()
    jetson: Jetson | None = None
    cuda: str | None = None
    misfits: tuple[Misfit, ...] = ()
    answers: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Needed packages that are not here."""
        return [p.module for p in PACKAGES if p.needed and self.packages[p.module].version is None]

    def install(self, package: Package) -> str:
        """The command that installs a package here, or a newer version of it."""
        if old := too_old(package):
            return old.fix
        return package.command(cuda=cuda_major(self.gpus, self.jetson), jetson=self.jetson is not None)


def this_machine() -> Machine:
    """Look at everything; imports every package, because one that is installed may still be broken."""
    packages = {package.module: usable_package(package) for package in PACKAGES}
    jetson, cuda = this_jetson(), this_cuda()
    gpus = this_gpus(jetson)
    devices = (*_openvino_devices(packages), *_onnxruntime_devices(packages), *_tensorrt_devices(gpus))
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        processor=processor_name(),
        instructions=instructions_from(cpuinfo()),
        packages=packages,
        devices=devices,
        gpus=gpus,
        jetson=jetson,
        cuda=cuda,
        misfits=tuple(_misfits(jetson, gpus, packages, cuda)),
        answers=answers(packages, devices, gpus),
    )


def answers(
    packages: Mapping[str, Found], devices: tuple[Device, ...], gpus: tuple[Gpu, ...] = ()
) -> dict[str, dict[str, Answer]]:
    """target -> precision -> whether it can be exported here.

    That includes running it, because parity does; but a bundle for TensorRT is whole, and compared, without its plan.
    """
    asked = _Asked(packages, devices, gpus)
    return {
        target.name: {precision: _answer(target, precision, asked) for precision in PRECISIONS}
        for target in all_targets()
    }


@dataclass(frozen=True)
class _Asked:
    """What records ask; see `hamsa_deploy.targets.here.Machine`."""

    packages: Mapping[str, Found]
    devices: tuple[Device, ...]
    cards: tuple[Gpu, ...]

    def version(self, module: str) -> str | None:
        return self.packages[module].version

    def cpu_types(self, engine: str) -> tuple[str, ...] | None:
        cpus = [device for device in self.devices if device.engine == engine and device.name == "CPU"]
        return cpus[0].capabilities if cpus else None

    def gpus(self) -> tuple[str, ...]:
        bindings = self.version("cuda.bindings")
        if bindings is None or bindings_misfit(bindings, cuda_major(self.cards, None)) is not None:
            return ()
        return tuple(card.compute_capability for card in self.cards)


def _answer(target: Target, precision: str, asked: _Asked) -> Answer:
    needed = [package.module for package in PACKAGES if package.needed or package.module in target.needs]
    missing = [module for module in needed if asked.version(module) is None]
    if missing:
        return Answer(False, f"{', '.join(missing)} missing")
    if precision not in target.precisions:
        return Answer(False, f"{target.name} has no {precision}")
    return target.answer(precision, asked)


def _misfits(
    jetson: Jetson | None, gpus: tuple[Gpu, ...], packages: Mapping[str, Found], cuda: str | None
) -> list[Misfit]:
    bindings = bindings_misfit(packages["cuda.bindings"].version, cuda_major(gpus, jetson))
    found = [bindings] if bindings else []
    if jetson is None:
        return found
    python, tensorrt = platform.python_version(), packages["tensorrt"].version
    return misfits(jetson, python=python, tensorrt=tensorrt, cuda=cuda, in_system=system_has_tensorrt()) + found


def usable_package(package: Package) -> Found:
    """A package in a version that will do."""
    if old := too_old(package):
        return Found(None, f"too old: {old.found.removesuffix(' is installed')}")
    return found_package(package.module, package.distribution)


def found_package(module: str, distribution: str = "") -> Found:
    """A package in any version."""
    try:
        with no_usage_reports():  # openvino and nncf report their import to an analytics service
            imported = importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        return Found(None, "" if missing else f"broken: {error}")
    except Exception as error:  # noqa: BLE001  # a library that it links to is missing, or another package too old for it
        return Found(None, f"broken: {error}")
    return Found(_version_of(distribution or module, getattr(imported, "__version__", "")))


def _version_of(distribution: str, declared: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # a system package, such as tensorrt on a Jetson
        return declared or "unknown version"


def _openvino_devices(packages: Mapping[str, Found]) -> list[Device]:
    if packages["openvino"].version is None:
        return []
    from hamsa_runtime.backends.openvino import ACCELERATORS, absent, shared_core

    core = shared_core()
    missing = [kind for kind in ACCELERATORS if not any(each.split(".")[0] == kind for each in core.available_devices)]
    return [
        Device(
            "openvino",
            name,
            core.get_property(name, "FULL_DEVICE_NAME"),
            tuple(core.get_property(name, "OPTIMIZATION_CAPABILITIES")),
        )
        for name in core.available_devices
    ] + [Device("openvino", kind, "", missing=absent(kind)) for kind in missing]


def _onnxruntime_devices(packages: Mapping[str, Found]) -> list[Device]:
    if packages["onnxruntime"].version is None:
        return []
    from hamsa_runtime.backends.providers import PROVIDERS, problem_of

    found = []
    for kind, provider in PROVIDERS.items():
        problem, install = problem_of(kind)
        missing = install or (problem if provider.is_installable else f"{provider.package}") if problem else ""
        found.append(Device("onnxruntime", kind, provider.name, missing=missing))
    return found


def _tensorrt_devices(gpus: tuple[Gpu, ...]) -> list[Device]:
    return [
        Device("tensorrt", f"GPU.{index}", f"{gpu.name}, compute capability {gpu.compute_capability}")
        for index, gpu in enumerate(gpus)
    ]


def instructions_from(cpuinfo: str) -> tuple[str, ...]:
    lines = values("flags", cpuinfo) or values("Features", cpuinfo)  # x86, ARM
    has = set(lines[0].split()) if lines else set()
    return tuple(name for name in INSTRUCTIONS if name in has)
