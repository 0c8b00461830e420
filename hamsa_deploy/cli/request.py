"""From the options of hamsa-export to a pipeline.Request.

Imports torch: it takes seconds, so this module is imported once the options are known to be good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hamsa_deploy.cli.files import import_from_here, read_labels
from hamsa_deploy.cli.images import preprocessing_of
from hamsa_deploy.cli.inputs import examples_for_file, inputs_of
from hamsa_deploy.form.options import Flag, flags_of
from hamsa_deploy.form.request import BUILDER_FLAGS, Request
from hamsa_deploy.inputs.files import kind_of_data, read_classes, read_data
from hamsa_deploy.models import ModelEntry, Preprocessing
from hamsa_deploy.models.hubs import name_in_hub
from hamsa_deploy.models.registry import bundled_weights, model_and_entry
from hamsa_deploy.onnx_import import load_onnx
from hamsa_deploy.samples import sample_classes, sample_images
from hamsa_runtime.bundle import sha256_of
from hamsa_runtime.errors import HamsaError, InputError
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.vocabulary import is_of_hub


def request_from_options(options: Any) -> Request:
    """Load the model and everything else that the options name.

    Raises:
        InputError: any of it does not exist, cannot be read, or does not fit together.
    """
    labels = None if options.labels is None else read_labels(options.labels)
    found = _found_in_model(options) if options.onnx is None else _found_in_file(options)
    how, labels = found["preprocessing"], labels or found["labels"]
    return Request(**{
        **_said(options, flags_of(Request)),
        **found,
        "to": options.to,
        "labels": labels,
        "data": _data(options, how),
        "calibration": _calibration(options, how),
        "classes": _classes(options, how, labels),
        "builder": _builder(options),
    })  # fmt: skip


def _said(options: Any, flags: Mapping[str, Flag]) -> dict[str, Any]:
    """The fields that flags set, as far as these were said."""
    given = {name: getattr(options, flag.dest) for name, flag in flags.items()}
    # by identity: a 0 is something that was said
    said = {name: value for name, value in given.items() if value is not None and value is not False and value != []}
    return {name: flags[name].value(value) for name, value in said.items()}


def _found_in_model(options: Any) -> dict[str, Any]:
    """What --model and its options settle: fields of a request."""
    config = dict(options.set)
    model, entry = _model_and_entry(options.model, options.weights, options.weights_key, config)
    how = preprocessing_of(options, entry)
    return {
        "model": model,
        "name": name_in_hub(options.model) if is_of_hub(options.model) else options.model.rpartition(":")[2],
        "preprocessing": how,
        **({} if how else inputs_of(options, model, entry)),
        "labels": entry.labels,
        "provenance": {
            "reference": options.model,
            "config": config,
            "weights": _weights_file(options.weights or bundled_weights(entry, config), options.weights_key),
        },
    }


def _found_in_file(options: Any) -> dict[str, Any]:
    """The same for --onnx."""
    file = load_onnx(options.onnx)
    return {
        "model": file,
        "name": options.onnx.stem,
        "example_inputs": examples_for_file(options, file),
        "preprocessing": None,
        "labels": None,
    }


def _model_and_entry(
    name: str, weights: Path | None, key: str | None, config: dict[str, Any]
) -> tuple[nn.Module, ModelEntry]:
    if ":" in name and not is_of_hub(name):
        import_from_here()
    try:
        return model_and_entry(name, weights, key, config)
    except HamsaError:
        raise
    except Exception as error:  # whatever a user's factory, or a built-in one with odd values, raises
        if ":" not in name and not config:
            raise
        is_factory = ":" in name and not is_of_hub(name)
        raise InputError(
            f"{name} cannot be built: {type(error).__name__}: {error}",
            expected="a factory that builds the model from its --set options",
            cause="an error in the factory's module" if is_factory else "a --set value of the wrong kind",
            fix="add --verbose to see where it happens",
        ) from error


def _data(options: Any, how: Preprocessing | None) -> Any:
    if options.data is not None:
        return read_data(options.data, kind_of_data(how, options.sample_rate))
    return sample_images(options.model) if how else None


def _classes(options: Any, how: Preprocessing | None, labels: Sequence[str] | None) -> list[int] | None:
    """The true classes of the images that the bundle is compared on."""
    if options.data is not None:
        return read_classes(options.data, labels) if how else None
    return sample_classes(options.model) if how else None


def _builder(options: Any) -> BuildOptions | None:
    """What was said about TensorRT's builder; None if nothing was."""
    said = _said(options, BUILDER_FLAGS)
    if "profile" in said:
        said |= zip(("min_batch", "opt_batch", "max_batch"), said.pop("profile"), strict=True)
    return BuildOptions(**said) if said else None


def _calibration(options: Any, how: Preprocessing | None) -> Path | None:
    """The path itself: the bundle names where its calibration came from. Read once here, so that it fails early; images
    were looked at before."""
    if options.calibration is not None and how is None:
        _ = read_data(options.calibration, kind_of_data(how, options.sample_rate))
    return options.calibration


def _weights_file(path: Path | None, key: str | None) -> dict[str, str] | None:
    if path is None:
        return None
    return {"file": path.name, "sha256": sha256_of(path)[0]} | ({} if key is None else {"key": key})
