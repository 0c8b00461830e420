"""The built-in models, their size presets, and safe checkpoint loading."""

from hamsa_deploy.models.checkpoint import load_checkpoint, load_weights
from hamsa_deploy.models.hamsa import HAMSA
from hamsa_deploy.models.macs import count_macs, count_parameters
from hamsa_deploy.models.registry import MODELS, ModelEntry, load_model, model_entry
from hamsa_deploy.models.sass import SASS
from hamsa_deploy.models.vim import Vim
from hamsa_deploy.models.vmamba import VMamba
from hamsa_deploy.models.vminet import VMINet
from hamsa_runtime.manifest import Preprocessing

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
