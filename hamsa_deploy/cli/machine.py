"""What this machine has: processor, packages, devices, and from them which bundles it can build and run."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata

from hamsa_deploy.cli.jetpack import OLDEST_TENSORRT, Jetson, Misfit, misfits, numbers
from hamsa_deploy.cli.nvidia import (
    Gpu,
    bindings_misfit,
    cuda_major,
    system_has_tensorrt,
    this_cuda,
    this_gpus,
    this_jetson,
)
from hamsa_deploy.cli.packages import PACKAGES, Package
from hamsa_deploy.measure.processor import cpuinfo, processor_name, values
from hamsa_runtime.backends import TARGETS
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.manifest import PRECISIONS
from hamsa_runtime.tensorrt.modules import MODULES

# Instruction sets that decide how fast, and in which types, engines run; as Linux names them.
INSTRUCTIONS = (
    "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni",
    "amx_tile", "amx_bf16", "amx_int8", "amx_fp16",
    "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip
# Of TensorRT-RTX 1.x, by its support matrix; GPUs of servers are not among them.
RTX_CAPABILITIES = ("7.5", "8.6", "8.9", "12.0", "12.1")
# Where an engine is built and run.
HERE, ON_THE_DEVICE, ON_ANOTHER = "here", "on the device", "here; on an RTX card"


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
    """Whether a bundle can be exported here; if not, why; if so, where its engine is built and run."""

    yes: bool
    why: str = ""
    engine: str = ""


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
        """The command that installs a package here."""
        return package.command(cuda=cuda_major(self.gpus, self.jetson), jetson=self.jetson is not None)


def this_machine() -> Machine:
    """Look at everything; imports every package, because one that is installed may still be broken."""
    packages = {package.module: found_package(package.module, package.distribution) for package in PACKAGES}
    devices = (*_openvino_devices(packages), *_onnxruntime_devices(packages))
    jetson, cuda = this_jetson(), this_cuda()
    gpus = this_gpus(jetson)
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
    return {
        target: {precision: _answer(target, precision, packages, devices, gpus) for precision in PRECISIONS}
        for target in TARGETS
    }


def _answer(
    target: str, precision: str, packages: Mapping[str, Found], devices: tuple[Device, ...], gpus: tuple[Gpu, ...]
) -> Answer:
    engine = "" if target in MODULES else target
    needed = [package.module for package in PACKAGES if package.needed or package.module == engine]
    missing = [module for module in needed if packages[module].version is None]
    if missing:
        return Answer(False, f"{', '.join(missing)} missing")
    from hamsa_deploy.form.request import PRECISIONS  # imports torch, which is here

    if precision not in PRECISIONS[target]:
        return Answer(False, f"{target} has no {precision}")
    if target == "openvino":
        return _openvino_answer(precision, devices)
    if target in MODULES:
        return _tensorrt_answer(target, packages, gpus)
    return Answer(True, engine=HERE)


def _tensorrt_answer(target: str, packages: Mapping[str, Found], gpus: tuple[Gpu, ...]) -> Answer:
    """TensorRT builds on the GPU that the plan is for, TensorRT-RTX anywhere."""
    is_rtx = target == "tensorrt-rtx"
    version = packages[MODULES[target]].version
    if version is None or not (is_rtx or numbers(version) >= OLDEST_TENSORRT):
        return Answer(True, engine=ON_THE_DEVICE)
    fitting = [gpu for gpu in gpus if not is_rtx or gpu.compute_capability in RTX_CAPABILITIES]
    bindings = packages["cuda.bindings"].version
    if fitting and bindings is not None and bindings_misfit(bindings, cuda_major(gpus, None)) is None:
        return Answer(True, engine=HERE)
    return Answer(True, engine=ON_ANOTHER if is_rtx else ON_THE_DEVICE)


def _openvino_answer(precision: str, devices: tuple[Device, ...]) -> Answer:
    from hamsa_runtime.backends.openvino import PRECISIONS as CAPABILITIES

    _, _, capability = CAPABILITIES[precision]
    cpus = [device for device in devices if device.engine == "openvino" and device.name == "CPU"]
    if any(capability in cpu.capabilities for cpu in cpus):
        return Answer(True, engine=HERE)
    return Answer(False, f"this CPU has no {capability}" if cpus else "OpenVINO finds no CPU")


def _misfits(
    jetson: Jetson | None, gpus: tuple[Gpu, ...], packages: Mapping[str, Found], cuda: str | None
) -> list[Misfit]:
    bindings = bindings_misfit(packages["cuda.bindings"].version, cuda_major(gpus, jetson))
    found = [bindings] if bindings else []
    if jetson is None:
        return found
    python, tensorrt = platform.python_version(), packages["tensorrt"].version
    return misfits(jetson, python=python, tensorrt=tensorrt, cuda=cuda, in_system=system_has_tensorrt()) + found


def found_package(module: str, distribution: str = "") -> Found:
    try:
        with no_usage_reports():  # openvino and nncf report their import to an analytics service
            imported = importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        return Found(None, "" if missing else f"{error}")
    except OSError as error:  # a library that it links to is missing
        return Found(None, str(error))
    return Found(_version_of(distribution or module, getattr(imported, "__version__", "")))


def _version_of(distribution: str, declared: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # a system package, such as tensorrt on a Jetson
        return declared or "unknown version"


def _openvino_devices(packages: Mapping[str, Found]) -> list[Device]:
    if packages["openvino"].version is None:
        return []
    with no_usage_reports():
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


def instructions_from(cpuinfo: str) -> tuple[str, ...]:
    lines = values("flags", cpuinfo) or values("Features", cpuinfo)  # x86, ARM
    has = set(lines[0].split()) if lines else set()
    return tuple(name for name in INSTRUCTIONS if name in has)
