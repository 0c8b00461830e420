"""ONNX Runtime's execution providers: what each is called as a device, where it comes from, and how it is asked to run.

A provider of a build of its own (onnxruntime-gpu) is in the package or not; a plug-in is a package beside onnxruntime,
registered when it is asked for. Left alone, ONNX Runtime puts the CPU in the place of a provider that is not there, or
does not start, with a warning at most: who runs what is read back, by backends/onnxruntime.py.

Options keep float32 as it was when the bundle was compared on a CPU: providers compute it in fewer bits by default.
Only WEBGPU, on a software adapter, and OPENVINO, on a CPU, have been run by this package's authors; the others are as
their documentation says.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import onnxruntime

from hamsa_runtime.devices import Name
from hamsa_runtime.errors import InputError, MissingError, nearest
from hamsa_runtime.interrupts import interruptible

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    Attributes:
        name: as ONNX Runtime calls it.
        package: that has it, for pip; what else has it, in words, where `is_installable` is false.
        reason: for its options.
        options: it is always given.
        which: the option that takes what stands behind the dot of a name; none where nothing may stand there.
        parts: what may; empty for numbers.
        plugin: the module of a plug-in; empty where a build of onnxruntime has the provider in it.
        hardware: of a plug-in's devices, those of this type; empty for any.
        environment: what has to be set before the process starts for products of float32 in all their bits, where the
            provider has no option for it.
        is_installable: by pip.
    """

    name: str
    package: str
    reason: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    which: str = ""
    parts: tuple[str, ...] = ()
    plugin: str = ""
    hardware: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    is_installable: bool = True


NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}
TF32 = "TensorRT computes products of float32 in TF32, of 10 bits of significand, and the provider has no option for it"

PROVIDERS: dict[str, Provider] = {
    "CPU": Provider("CPUExecutionProvider", "onnxruntime", "computes in the types of the file"),
    "CUDA": Provider(
        "CUDAExecutionProvider",
        "onnxruntime-gpu",
        "products of float32 in TF32, with 10 bits of significand, by default",
        options={"use_tf32": "0"},
        which="device_id",
    ),
    "TENSORRT": Provider("TensorrtExecutionProvider", "onnxruntime-gpu", TF32, which="device_id", environment=NO_TF32),
    "NVTENSORRTRTX": Provider(
        "NvTensorRTRTXExecutionProvider",
        "onnxruntime-ep-nv-tensorrt-rtx",
        TF32,
        which="device_id",
        plugin="onnxruntime_ep_nv_tensorrt_rtx",
        hardware="GPU",
        environment=NO_TF32,
    ),
    "COREML": Provider(
        "CoreMLExecutionProvider",
        "onnxruntime on macOS",
        "NeuralNetwork, the default, has no types and runs in float16 on GPU and Neural Engine; an MLProgram has types",
        options={"ModelFormat": "MLProgram"},
        is_installable=False,
    ),
    "XNNPACK": Provider(
        "XnnpackExecutionProvider",
        "ONNX Runtime's packages for Android and iOS, or a build with --use_xnnpack",
        "computes in the types of the file",
        is_installable=False,
    ),
    "QNN": Provider(
        "QNNExecutionProvider",
        "onnxruntime-qnn",
        "float32 in float16 on the HTP, Qualcomm's NPU, by default",
        options={"backend_type": "htp", "enable_htp_fp16_precision": "0"},
        plugin="onnxruntime_qnn",
        hardware="NPU",
    ),
    "WEBGPU": Provider(
        "WebGpuExecutionProvider",
        "onnxruntime-ep-webgpu",
        "computes in the types of the file",
        plugin="onnxruntime_ep_webgpu",
    ),
    "OPENVINO": Provider(
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        "float32 in float16 on GPUs by default; ACCURACY keeps the types of the file",
        options={"precision": "ACCURACY", "device_type": "CPU"},
        which="device_type",
        parts=("CPU", "GPU", "NPU"),
    ),
}
# What OpenVINO calls one; its name is nearest to that of a provider which few want.
GPUS = "CUDA or TENSORRT on a GPU of NVIDIA, COREML on one of Apple, OPENVINO.GPU on one of Intel"


def provider_of(name: Name) -> Provider:
    """The provider that a device is.

    Raises:
        MissingError: ONNX Runtime has none of that kind.
        InputError: there is, but not that one.
    """
    if name.kind not in PROVIDERS:
        raise MissingError(
            f"ONNX Runtime has no device {str(name)!r}",
            expected="one of " + ", ".join(PROVIDERS),
            fix=GPUS if name.kind == "GPU" else nearest(name.kind, PROVIDERS),
        )
    provider = PROVIDERS[name.kind]
    allowed = name.which in provider.parts if provider.parts else bool(provider.which) and name.which.isdecimal()
    if name.which and not allowed:
        parts = [f"{name.kind}.{part}" for part in provider.parts or ("1",) * bool(provider.which)]
        raise InputError(f"device is {str(name)!r}", expected=" or ".join([name.kind, *parts]))
    return provider


def problem_of(kind: str) -> tuple[str, str]:
    """Why a provider cannot be used in this process, and what installs it; both empty if it can."""
    provider = PROVIDERS[kind]
    install = f"pip install {provider.package}" if provider.is_installable else ""
    if not provider.plugin:
        here = provider.name in onnxruntime.get_available_providers()
        return ("", "") if here else ("it is not in this build of onnxruntime", install)
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        return f"onnxruntime {onnxruntime.__version__} takes no plug-ins", "pip install --upgrade onnxruntime"
    if importlib.util.find_spec(provider.plugin) is None:
        return f"{provider.package} is not installed", install
    return problem_of_plugin(kind), ""


def add_provider(options: onnxruntime.SessionOptions, name: Name, precision: str) -> None:
    """Ask for a provider, behind those that were asked for before.

    Args:
        options: of a session.
        name: of the device.
        precision: of the bundle.

    Raises:
        MissingError: it is not here; says which package has it.
        InputError: see `provider_of`.
    """
    provider = provider_of(name)
    check_here(name)
    _check_environment(name, provider, precision)
    chosen = {**provider.options, **({provider.which: name.which} if name.which else {})}
    if _devices(provider):  # a plug-in's, also of one that is in the package, as CUDA is in builds of 1.31
        chosen.pop(provider.which, None)  # the device itself says it
        options.add_provider_for_devices([_device(name, provider)], chosen)
        return
    try:
        options.add_provider(provider.name, chosen)
    except Exception as error:
        raise not_here(name, f"the provider does not start\n{error}") from error


def check_here(name: Name) -> None:
    """Raise the error for a device that this process cannot use."""
    problem, fix = problem_of(name.kind)
    if problem:
        raise not_here(name, problem, fix)


def not_here(name: Name, problem: str, fix: str = "") -> MissingError:
    """The error for a device that this machine does not have."""
    provider = PROVIDERS[name.kind]
    return MissingError(
        f"ONNX Runtime has no device {str(name)!r} here: {problem}",
        expected=f"{provider.name}, of {provider.package}, and the hardware and driver that it runs on",
        fix=fix,
    )


def _device(name: Name, provider: Provider) -> onnxruntime.OrtEpDevice:
    devices, number = _devices(provider), 0 if provider.parts else int(name.which or 0)
    if provider.parts:
        kind = name.which or provider.parts[0]
        devices = [each for each in devices if each.device.type.name == kind]
    if number < len(devices):
        return devices[number]
    raise not_here(name, f"it finds {len(devices)} of them, counted from 0")


def _check_environment(name: Name, provider: Provider, precision: str) -> None:
    wanted = {key: value for key, value in provider.environment.items() if os.environ.get(key) != value}
    if wanted and precision == "fp32":
        raise MissingError(
            f"{name} would not compute in float32",
            expected="products of float32 in all their bits, which the bundle was compared in",
            cause=provider.reason,
            fix="start with " + " ".join(f"{key}={value}" for key, value in wanted.items()),
        )


@functools.cache
def problem_of_plugin(kind: str) -> str:
    """Registers the plug-in of a provider, once in a process; says why it cannot be used, if so."""
    provider = PROVIDERS[kind]
    try:
        with interruptible():
            module = importlib.import_module(provider.plugin)
        onnxruntime.register_execution_provider_library(provider.name, module.get_library_path())
    except Exception as error:  # noqa: BLE001  # of any kind, from its library or ONNX Runtime
        return f"the plug-in cannot be registered\n{error}"
    return "" if _devices(provider) else "the plug-in finds no hardware that it runs on, or no driver"


def _devices(provider: Provider) -> list[onnxruntime.OrtEpDevice]:
    found = [each for each in onnxruntime.get_ep_devices() if each.ep_name == provider.name]
    return [each for each in found if provider.hardware in ("", each.device.type.name)]
