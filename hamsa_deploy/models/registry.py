"""`load_model`: from a name to a module. Built-in models are lines of catalogue.py, their classes those of FAMILIES."""

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

from hamsa_deploy.models.catalogue import BUILT_IN, check_known, check_name, check_options, not_found
from hamsa_deploy.models.checkpoint import load_weights
from hamsa_deploy.models.hamsa import HAMSA
from hamsa_deploy.models.hubs import HubModel, found_in_hub
from hamsa_deploy.models.vim import Vim
from hamsa_deploy.models.vmamba import VMamba
from hamsa_deploy.models.vminet import VMINet
from hamsa_deploy.scan.extensions import without_extensions
from hamsa_runtime.errors import InputError, nearest
from hamsa_runtime.manifest import Preprocessing
from hamsa_runtime.vocabulary import is_of_hub

logger = logging.getLogger("hamsa_deploy")

INIT_SEED = 0
MOST_LISTED = 8
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


# The classes of the catalogue.
FAMILIES: dict[str, Callable[..., nn.Module]] = {"HAMSA": HAMSA, "Vim": Vim, "VMamba": VMamba, "VMINet": VMINet}
MODELS: dict[str, ModelEntry] = {
    name: ModelEntry(
        each.description, FAMILIES[each.family], each.config, each.preprocessing, each.labels, each.weights
    )
    for name, each in BUILT_IN.items()
}


def load_model(
    name: str, weights: str | PathLike[str] | None = None, weights_key: str | None = None, **config: Any
) -> nn.Module:
    """Build a model in eval mode.

    Args:
        name: a key of MODELS; `package.module:factory`, which is imported and called with **config; or timm:NAME or
            hf:ID, see hubs.py.
        weights: a checkpoint for `load_weights`. Without it the hub's, or the bundled weights, are taken if the model
            has some and **config leaves its architecture alone; else the initialisation is random with a fixed seed, so
            that two exports are equal. The global random state is left as it was.
        weights_key: where in the checkpoint the weights are, such as "ema"; see `load_checkpoint`.
        **config: overrides of the model's configuration, such as num_classes=10 or image_size=448.

    Raises:
        InputError: unknown name or option, a factory that cannot be imported or that returns no module,
            bad weights.
        MissingError: a factory that imports what is not installed, and has no stand-in; the hub's library is not.
    """
    return model_and_entry(name, weights, weights_key, config)[0]


def model_and_entry(
    name: str, weights: str | PathLike[str] | None, weights_key: str | None, config: Mapping[str, Any]
) -> tuple[nn.Module, ModelEntry]:
    """`load_model` and `model_entry` of one name, which is looked up once: hubs are asked over a network.

    Raises:
        InputError, MissingError: as those do.
    """
    entry = model_entry(name, **(config if is_of_hub(name) else {}))
    _check_options(name, entry, config)
    with contextlib.nullcontext() if name in MODELS else without_extensions():
        model = _built(entry, dict(config) | ({"pretrained": weights is None} if is_of_hub(name) else {}))
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{name} returned {type(model).__name__}",
            expected="a torch.nn.Module",
            fix="name a factory or class whose call returns the model, such as package.module:MyNet",
        )
    source = Path(weights) if weights is not None else bundled_weights(entry, config)
    if source is not None:
        load_weights(model.model if isinstance(model, HubModel) else model, source, weights_key if weights else None)
    elif name in MODELS:
        logger.info("%s: no weights given, random initialisation with seed %d", name, INIT_SEED)
    return model.eval(), _adapted(entry, config) if name in MODELS else entry


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
    check_name(name)
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
    if name in MODELS:
        check_options(name, config)
        return
    parameters = inspect.signature(entry.factory).parameters.values()
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        check_known(name, config, [p.name for p in parameters if p.kind is not inspect.Parameter.POSITIONAL_ONLY])


def _imported_factory(name: str) -> Callable[..., Any]:
    """The object that 'package.module:attribute' names."""
    module_name, _, attribute = name.partition(":")
    with without_extensions():
        try:
            module = import_module(module_name)
        except (ImportError, ValueError) as error:
            if isinstance(error, ImportError) and not f"{module_name}.".startswith(f"{error.name}."):
                raise  # of something that it imports itself
            raise not_found(name, error) from error
    factory = getattr(module, attribute, None)
    if not hasattr(module, attribute):
        own = [key for key, each in vars(module).items() if callable(each) and _is_of(each, module_name)]
        raise not_found(name, f"{module_name} has no {attribute!r}", nearest(attribute, own) or _listed(own))
    if isinstance(factory, nn.Module):
        raise InputError(
            f"{name} is a {type(factory).__name__} that is built already",
            expected="a function or class that builds a model",
            fix=f"in {module_name}.py: def make(): return {attribute}; and --model {module_name}:make",
        )
    if not callable(factory):
        raise InputError(f"{name} is a {type(factory).__name__}", expected="a function or class that builds a model")
    return factory


def _is_of(value: Any, module: str) -> bool:
    """Whether it is defined there, not imported."""
    return getattr(value, "__module__", None) == module


def _listed(names: list[str]) -> str:
    return f"one of {', '.join(names[:MOST_LISTED])}" if names else ""
