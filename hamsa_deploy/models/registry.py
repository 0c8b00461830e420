"""The built-in models: one table, one line per model, and `load_model`, which reads it.

A new model is one line in MODELS: its factory, the factory's default configuration, preprocessing, labels and
bundled weights if it has them.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hamsa_deploy.models.checkpoint import load_weights
from hamsa_deploy.models.hamsa import HAMSA
from hamsa_deploy.models.hubs import HubModel, found_in_hub
from hamsa_deploy.models.preprocessing import DIGITS, IMAGENET
from hamsa_deploy.models.vim import Vim
from hamsa_deploy.models.vmamba import VMamba
from hamsa_deploy.models.vminet import VMINet
from hamsa_deploy.scan.extensions import without_extensions
from hamsa_runtime.errors import InputError, nearest
from hamsa_runtime.manifest import Preprocessing
from hamsa_runtime.vocabulary import is_of_hub

logger = logging.getLogger("hamsa_deploy")

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
INIT_SEED = 0
# Options that change neither what the weights mean nor how many there are: bundled weights still fit.
WEIGHT_NEUTRAL = frozenset({"features"})


@dataclass(frozen=True)
class ModelEntry:
    """One model that `load_model` can build.

    Attributes:
        description: one line for listings.
        factory: called with the configuration as keywords; returns the module.
        config: default configuration, overriding the factory's own defaults.
        preprocessing: what the model's input expects; None where it is not known (a user's factory).
        labels: class names in order of the logits, or None.
        weights: bundled trained weights, or None.
    """

    description: str
    factory: Callable[..., nn.Module]
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    weights: Path | None = None


def _stages(widths: str, depths: str, ffn_ratios: str) -> dict[str, Any]:
    """'64 128 320 512' and so on -> the three stage lists of HAMSA."""
    lists = {"widths": widths, "depths": depths, "ffn_ratios": ffn_ratios}
    return {name: tuple(int(n) for n in text.split()) for name, text in lists.items()}


def _vminet(base: int, mlp_ratio: int) -> dict[str, Any]:
    return {"base": base, "depths": (2, 2, 18, 2), "mlp_ratio": mlp_ratio}


_NANO = _stages("16 32 48 64", "1 1 2 1", "4 4 4 4") | {"image_size": 32, "num_classes": 10, "stem": (3, 2)}
_TEN_DIGITS = tuple("0123456789")
_VIM_NANO = {"width": 48, "depth": 4, "states": 8, "patch": 4, "image_size": 32, "num_classes": 10}
_NANO_WEIGHTS = WEIGHTS_FOLDER / "hamsa_nano.safetensors"

# fmt: off
MODELS: dict[str, ModelEntry] = {
    "hamsa_nano": ModelEntry("0.2 M parameters, 32 x 32, trained on UCI digits", HAMSA, _NANO, DIGITS, _TEN_DIGITS, _NANO_WEIGHTS),  # noqa: E501
    "hamsa_tiny": ModelEntry("5 M parameters, for small devices", HAMSA, _stages("32 64 160 256", "2 2 4 2", "4 4 4 4"), IMAGENET),  # noqa: E501
    "hamsa_s": ModelEntry("HAMSA-S of the paper, 28 M", HAMSA, _stages("64 128 320 512", "2 4 6 3", "8 8 4 4"), IMAGENET),  # noqa: E501
    "hamsa_b": ModelEntry("HAMSA-B of the paper, 43 M", HAMSA, _stages("64 128 320 512", "3 5 12 4", "8 8 4 4"), IMAGENET),  # noqa: E501
    "hamsa_l": ModelEntry("HAMSA-L of the paper, 72 M", HAMSA, _stages("96 192 384 640", "2 4 18 3", "8 8 4 4"), IMAGENET),  # noqa: E501
    "vim_nano": ModelEntry("0.1 M parameters, 32 x 32, trained on UCI digits", Vim, _VIM_NANO, DIGITS, _TEN_DIGITS, WEIGHTS_FOLDER / "vim_nano.safetensors"),  # noqa: E501
    "vim_tiny": ModelEntry("Vim-Ti of the paper, 7 M", Vim, {"width": 192}, IMAGENET),
    "vmamba_t": ModelEntry("VMamba-T of the paper, 30 M", VMamba, {"base": 96, "depths": (2, 2, 8, 2)}, IMAGENET),
    "vminet_ti": ModelEntry("VMINet-Ti", VMINet, _vminet(base=24, mlp_ratio=2), IMAGENET),
    "vminet_xs": ModelEntry("VMINet-XS", VMINet, _vminet(base=48, mlp_ratio=2), IMAGENET),
    "vminet_s": ModelEntry("VMINet-S", VMINet, _vminet(base=48, mlp_ratio=4), IMAGENET),
    "vminet_b": ModelEntry("VMINet-B", VMINet, _vminet(base=96, mlp_ratio=2), IMAGENET),
}
# fmt: on


def load_model(name: str, weights: str | PathLike[str] | None = None, **config: Any) -> nn.Module:
    """Build a model in eval mode.

    Args:
        name: a key of MODELS; `package.module:factory`, which is imported and called with **config; or timm:NAME or
            hf:ID, see hubs.py.
        weights: a checkpoint for `load_weights`. Without it the hub's, or the bundled weights, are taken if the model
            has some and **config leaves its architecture alone; else the initialisation is random with a fixed seed, so
            that two exports are equal. The global random state is left as it was.
        **config: overrides of the model's configuration, such as num_classes=10 or image_size=448.

    Raises:
        InputError: unknown name or option, a factory that cannot be imported or that returns no module,
            bad weights.
        MissingError: a factory that imports what is not installed, and has no stand-in; the hub's library is not.
    """
    entry = model_entry(name, **(config if is_of_hub(name) else {}))
    _check_options(name, entry, config)
    with contextlib.nullcontext() if name in MODELS else without_extensions():
        model = _built(entry, config | ({"pretrained": weights is None} if is_of_hub(name) else {}))
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{name} returned {type(model).__name__}",
            expected="a torch.nn.Module",
            fix="name a factory or class whose call returns the model, such as package.module:MyNet",
        )
    source = Path(weights) if weights is not None else bundled_weights(entry, config)
    if source is not None:
        load_weights(model.model if isinstance(model, HubModel) else model, source)
    elif name in MODELS:
        logger.info("%s: no weights given, random initialisation with seed %d", name, INIT_SEED)
    return model.eval()


def model_entry(name: str, **config: Any) -> ModelEntry:
    """The entry, with preprocessing and labels adapted to **config; a bare one for `module:factory`.

    Raises:
        InputError: unknown name, or a factory that cannot be imported.
        MissingError: the library of a hub is not installed.
    """
    if is_of_hub(name):
        found = found_in_hub(name, **config)
        return ModelEntry(f"{name} of a hub", found.build, {}, found.preprocessing, found.labels)
    if ":" in name:
        return ModelEntry(f"{name} of the user", _imported_factory(name))
    if name not in MODELS:
        raise InputError(
            f"no model is called {name!r}",
            expected=f"one of {', '.join(MODELS)}, timm:NAME, hf:ID or package.module:factory",
            fix=nearest(name, MODELS),
        )
    return _adapted(MODELS[name], config)


def _adapted(entry: ModelEntry, config: Mapping[str, Any]) -> ModelEntry:
    """The entry as it is when **config overrides the size, channels or classes."""
    preprocessing, labels = entry.preprocessing, entry.labels
    if preprocessing is not None and "image_size" in config:
        size = config["image_size"]
        preprocessing = preprocessing.resized_to((size, size) if isinstance(size, int) else tuple(size))
    if preprocessing is not None and "in_channels" in config:
        preprocessing = preprocessing.with_channels(config["in_channels"])
    if labels is not None and config.get("num_classes", len(labels)) != len(labels):
        labels = None
    return replace(entry, preprocessing=preprocessing, labels=labels)


def _built(entry: ModelEntry, config: Mapping[str, Any]) -> Any:
    """Call the factory under a fixed seed. Only the CPU generator is used, saved and restored."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(INIT_SEED)
        return entry.factory(**{**entry.config, **config})


def bundled_weights(entry: ModelEntry, config: Mapping[str, Any]) -> Path | None:
    """The entry's weights, unless an option differs from what they were trained with."""
    if entry.weights is None:
        return None
    parameters = inspect.signature(entry.factory).parameters
    trained = {key: p.default for key, p in parameters.items()} | dict(entry.config)
    changed = {key for key, value in config.items() if value != trained[key]} - WEIGHT_NEUTRAL
    return None if changed else entry.weights


def _check_options(name: str, entry: ModelEntry, config: Mapping[str, Any]) -> None:
    parameters = inspect.signature(entry.factory).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not inspect.Parameter.POSITIONAL_ONLY]
    for key in config:
        if key not in known:
            raise InputError(
                f"{name} has no option {key!r}",
                expected=f"one of {', '.join(known)}" if known else "no options",
                fix=nearest(key, known),
            )


def _imported_factory(name: str) -> Callable[..., Any]:
    """The object that 'package.module:attribute' names."""
    module_name, _, attribute = name.partition(":")
    with without_extensions():
        try:
            factory = getattr(import_module(module_name), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            if isinstance(error, ImportError) and not f"{module_name}.".startswith(f"{error.name}."):
                raise  # of something that it imports itself
            raise _not_found(name, error) from error
    if not callable(factory):
        raise InputError(f"{name} is a {type(factory).__name__}", expected="a function or class that builds a model")
    return factory


def _not_found(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name} cannot be imported: {error}",
        expected="package.module:factory, importable from here",
        cause="a misspelt name, or a folder that is not on the import path",
        fix="run from the folder that holds the package, or add it to PYTHONPATH",
    )
