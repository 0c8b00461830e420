"""The packages that hamsa-deploy works with, and the commands that install them. Nothing here does."""

from __future__ import annotations

from hamsa_deploy.targets import all_targets
from hamsa_deploy.targets.here import Package
from hamsa_runtime.errors import MissingError

# For all targets, those of each, and what more than one needs.
PACKAGES = (
    Package("torch", "the models, and their capture", "pip install torch", needed=True),
    Package("onnx", "the ONNX file format", "pip install onnx", needed=True),
    Package("onnx_ir", "edits ONNX graphs", "pip install onnx-ir", needed=True),
    Package("onnxscript", "PyTorch's ONNX exporter", "pip install onnxscript", needed=True),
    Package("onnxruntime", "runs ONNX bundles", "pip install onnxruntime", needed=True),
    Package("safetensors", "reads checkpoints", "pip install safetensors", needed=True),
    *(package for target in all_targets() for package in target.packages),
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
