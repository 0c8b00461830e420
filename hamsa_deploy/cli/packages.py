"""The packages that hamsa-deploy works with, and the commands that install them. Nothing here does."""

from __future__ import annotations

from dataclasses import dataclass

from hamsa_runtime.errors import MissingError


@dataclass(frozen=True)
class Package:
    """A package that can be imported.

    Attributes:
        module: its name in Python.
        purpose: what it is for, in a few words.
        install: the command that installs it.
        needed: whether no export works without it.
    """

    module: str
    purpose: str
    install: str
    needed: bool = False


PACKAGES = (
    Package("torch", "the models, and their capture", "pip install torch", needed=True),
    Package("onnx", "the ONNX file format", "pip install onnx", needed=True),
    Package("onnx_ir", "edits ONNX graphs", "pip install onnx-ir", needed=True),
    Package("onnxscript", "PyTorch's ONNX exporter", "pip install onnxscript", needed=True),
    Package("onnxruntime", "runs ONNX bundles", "pip install onnxruntime", needed=True),
    Package("safetensors", "reads checkpoints", "pip install safetensors", needed=True),
    Package("openvino", "the target openvino", "pip install openvino"),
    Package("nncf", "int8 for the target openvino", "pip install 'hamsa-deploy[int8]'"),
    Package(
        "tensorrt",
        "NVIDIA GPUs; no target yet",
        "pip install tensorrt --extra-index-url https://pypi.nvidia.com",
    ),
    Package("tensorrt_rtx", "NVIDIA RTX GPUs; no target yet", "pip install tensorrt-rtx"),
)


def missing_package(error: ModuleNotFoundError) -> MissingError | None:
    """The error for an import that failed, if it is one of the packages that the user can install."""
    top = (error.name or "").partition(".")[0]
    for package in PACKAGES:
        if package.module == top:
            return MissingError(
                f"the package {top} is not installed ({package.purpose})",
                fix=f"{package.install}; hamsa-doctor shows what else is missing",
            )
    return None
