"""Spectral vision models from PyTorch to the device.

load_model(name, weights=None, **config) -> nn.Module
to_real(model, example_inputs) -> ExportedProgram without complex tensors and FFTs
export(model, to=..., output=...) -> a checked bundle, which hamsa_runtime.Engine runs
check_parity(bundle, model, data) -> ParityReport
layer_report(bundle, model, data) -> LayerReport: the first layer that differs
with without_extensions(): -> import and build Mamba models without the CUDA extensions and kernels they want
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import hamsa_runtime  # noqa: F401  # before onnxruntime, whose usage reports it turns off

if TYPE_CHECKING:
    from hamsa_deploy.models import load_model
    from hamsa_deploy.parity import ParityReport, check_parity
    from hamsa_deploy.parity.layers import layer_report
    from hamsa_deploy.pipeline.run import export
    from hamsa_deploy.scan.extensions import without_extensions
    from hamsa_deploy.targets.to_real import to_real

__version__ = "0.1.0"

# Imported at first use: `hamsa-export --help` must not wait for torch.
_HOMES = {
    "load_model": "hamsa_deploy.models",
    "to_real": "hamsa_deploy.targets.to_real",
    "export": "hamsa_deploy.pipeline.run",
    "check_parity": "hamsa_deploy.parity",
    "ParityReport": "hamsa_deploy.parity",
    "layer_report": "hamsa_deploy.parity.layers",
    "without_extensions": "hamsa_deploy.scan.extensions",
}
__all__ = ["ParityReport", "check_parity", "export", "layer_report", "load_model", "to_real", "without_extensions"]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]  # what completion shows: names that are imported at first use are no variables


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hamsa_deploy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
