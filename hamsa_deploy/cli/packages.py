"""The packages that hamsa-deploy works with, how old they may be, and what installs them. Nothing here does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata

from hamsa_deploy.targets import all_targets
from hamsa_deploy.targets.here import Package, numbers
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


def too_old(package: Package) -> MissingError | None:
    """The error for a package that is here in a version older than those that were tested; None if it will do.

    pip sees to it when it installs hamsa-deploy, and only warns where something else asks for another version later.
    """
    name = _name_for_pip(package.pip_name)
    oldest = _oldest().get(name)
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:  # not here, or a system package
        return None
    if oldest is None or numbers(found) >= numbers(oldest):
        return None
    return MissingError(
        f"{name} {found} is installed",
        expected=f"{name} {oldest}, the oldest version that hamsa-deploy was tested with, or a newer one",
        fix=f"pip install '{name}>={oldest}'",
    )


@cache
def _oldest() -> Mapping[str, str]:
    """Distribution -> the lower bound that pyproject.toml states, as pip has kept it."""
    try:
        requirements = metadata.requires("hamsa-deploy") or []
    except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        return {}
    # Extras, which follow, may need newer versions than exports do without them; what tests need says nothing.
    found = (re.match(r"([\w.-]+)[^;]*?>=\s*([\d.]+)(?!.*\btest\b)", each) for each in requirements)
    return {_name_for_pip(match[1]): match[2] for match in reversed([each for each in found if each])}


def _name_for_pip(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
