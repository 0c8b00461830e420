"""The built-in models, their size presets, and safe checkpoint loading."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hamsa_deploy.models.checkpoint import load_checkpoint, load_weights
    from hamsa_deploy.models.hamsa import HAMSA
    from hamsa_deploy.models.macs import count_macs, count_parameters
    from hamsa_deploy.models.registry import MODELS, ModelEntry, load_model, model_entry
    from hamsa_deploy.models.sass import SASS
    from hamsa_deploy.models.vim import Vim
    from hamsa_deploy.models.vmamba import VMamba
    from hamsa_deploy.models.vminet import VMINet
    from hamsa_runtime.manifest import Preprocessing

# Imported at first use: the catalogue of names must not wait for torch.
_HOMES = {
    "load_checkpoint": "hamsa_deploy.models.checkpoint",
    "load_weights": "hamsa_deploy.models.checkpoint",
    "HAMSA": "hamsa_deploy.models.hamsa",
    "count_macs": "hamsa_deploy.models.macs",
    "count_parameters": "hamsa_deploy.models.macs",
    "MODELS": "hamsa_deploy.models.registry",
    "ModelEntry": "hamsa_deploy.models.registry",
    "load_model": "hamsa_deploy.models.registry",
    "model_entry": "hamsa_deploy.models.registry",
    "SASS": "hamsa_deploy.models.sass",
    "Vim": "hamsa_deploy.models.vim",
    "VMamba": "hamsa_deploy.models.vmamba",
    "VMINet": "hamsa_deploy.models.vminet",
    "Preprocessing": "hamsa_runtime.manifest",
}

__all__ = [
    "HAMSA",
    "MODELS",
    "SASS",
    "ModelEntry",
    "Preprocessing",
    "VMINet",
    "VMamba",
    "Vim",
    "count_macs",
    "count_parameters",
    "load_checkpoint",
    "load_model",
    "load_weights",
    "model_entry",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
