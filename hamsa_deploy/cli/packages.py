"""The packages that hamsa-deploy works with, and the commands that install them. Nothing here does."""

from __future__ import annotations

from dataclasses import dataclass

from hamsa_deploy.cli.jetpack import APT_TENSORRT
from hamsa_runtime.errors import MissingError


@dataclass(frozen=True)
class Package:
    """A package that can be imported.

    Attributes:
        module: its name in Python.
        purpose: what it is for, in a few words.
        install: the command that installs it.
        needed: whether no export works without it.
        for_cuda_12: the command where the GPU's driver runs CUDA 12, but not 13.
        on_jetson: the command where JetPack has the package.
        distribution: its name for pip, if that is not the module's.
    """

    module: str
    purpose: str
    install: str
    needed: bool = False
    for_cuda_12: str = ""
    on_jetson: str = ""
    distribution: str = ""

    def command(self, *, cuda: int | None, jetson: bool) -> str:
        """The command that installs it on a certain machine."""
        if jetson and self.on_jetson:
            return self.on_jetson
        return self.for_cuda_12 if cuda == 12 and self.for_cuda_12 else self.install


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
        "builds and runs the target tensorrt, with a GPU",
        "pip install tensorrt",
        for_cuda_12="pip install tensorrt-cu12",
        on_jetson=APT_TENSORRT,
    ),
    Package("tensorrt_rtx", "builds the target tensorrt-rtx, also without a GPU", "pip install tensorrt-rtx"),
    Package(
        "cuda.bindings",
        "GPU memory and streams, for TensorRT",
        "pip install cuda-python",
        for_cuda_12="pip install 'cuda-python<13'",
        distribution="cuda-bindings",
    ),
)


def missing_package(error: ModuleNotFoundError) -> MissingError | None:
    """The error for an import that failed, if it is one of the packages that the user can install."""
    top = (error.name or "").partition(".")[0]
    for package in PACKAGES:
        if package.module.partition(".")[0] == top:
            return MissingError(
                f"the package {top} is not installed ({package.purpose})",
                fix=f"{package.install}; hamsa-doctor shows what else is missing",
            )
    return None
