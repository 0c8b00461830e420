"""The model that a bundle was made from, built again from what its manifest says.

    built-in name, bundled or random weights      built at once
    built-in name, a checkpoint                   the file, by the same sha256
    package.module:factory                        imported only if the user names it, too
    an ONNX file                                  the file and its external data, by the same sha256

A bundle may come from elsewhere: it never chooses what is imported here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from hamsa_deploy.models import ModelEntry, load_model, model_entry
from hamsa_deploy.models.catalogue import OTHER_WAYS, check_trusted, check_weights
from hamsa_deploy.models.registry import bundled_weights
from hamsa_deploy.onnx_import import OnnxFile, load_onnx
from hamsa_runtime.bundle import sha256_of
from hamsa_runtime.errors import HamsaError, InputError
from hamsa_runtime.manifest import Manifest, Model


def original_of(manifest: Manifest, checkpoint: Path | None = None, trusted: str | None = None) -> nn.Module | OnnxFile:
    """Build or read the original.

    Args:
        manifest: of the bundle.
        checkpoint: the file that the manifest names with its sha256, the weights or the ONNX file; not needed for
            bundled and random weights.
        trusted: the `package.module:factory` that may be imported.

    Returns:
        The model in eval mode, or the ONNX file.

    Raises:
        InputError: the checkpoint is needed and not there, or is another one; the factory is not the trusted one, or
            builds another model than the bundle's.
    """
    if manifest.model.is_onnx_file:
        return _onnx_file(manifest.model, checkpoint)
    check_trusted(manifest.model, trusted)
    model = _built(manifest.model, _weights_of(manifest.model, checkpoint))
    parameters = sum(each.numel() for each in model.parameters())
    if parameters != manifest.model.parameters:
        raise InputError(
            f"{manifest.model.reference} has {parameters:,} parameters",
            expected=f"{manifest.model.parameters:,}, as when the bundle was made",
            cause="its code has changed since, or the bundle was exported from Python without saying its options",
            fix=OTHER_WAYS,
        )
    return model


def declared_faults(manifest: Manifest) -> list[str]:
    """What the manifest says otherwise than the training of bundled weights: preprocessing, and the order of classes.

    The outputs of bundle and reference cannot tell, because both get what the manifest says.
    """
    model = manifest.model
    if ":" in model.reference or model.is_onnx_file:
        return []
    entry = model_entry(model.reference, **model.config)
    if not _has_bundled_weights(model, entry):
        return []
    faults = []
    if manifest.preprocessing is not None and entry.preprocessing is not None:
        found, trained = (dataclasses.asdict(each) for each in (manifest.preprocessing, entry.preprocessing))
        # Where pixels are normalised is the export's choice, not the training's.
        different = [name for name in trained if name != "normalise" and found[name] != trained[name]]
        faults += [f"preprocessing: {name} {found[name]}, trained with {trained[name]}" for name in different]
    return faults + order_faults(manifest.labels, entry.labels, model.reference)


def order_faults(names: tuple[str, ...] | None, others: tuple[str, ...] | None, who: str) -> list[str]:
    """A sentence if two lists hold the same class names in different orders; other names are no fault."""
    if names is None or others is None or names == others or sorted(names) != sorted(others):
        return []
    i = next(i for i, (one, other) in enumerate(zip(names, others, strict=True)) if one != other)
    return [f"labels: class {i} is {names[i]!r} in the bundle and {others[i]!r} in {who}: they are in another order"]


def _has_bundled_weights(model: Model, entry: ModelEntry) -> bool:
    bundled = bundled_weights(entry, model.config)
    return bundled is not None and model.weights is not None and sha256_of(bundled)[0] == model.weights.sha256


def _weights_of(model: Model, checkpoint: Path | None) -> Path | None:
    """The file that holds the weights; None for those that the factory makes."""
    if model.weights is None:
        if checkpoint is not None:
            raise InputError(
                f"--reference {checkpoint} for a bundle without a checkpoint",
                expected="no --reference: the weights are those that the factory makes",
                cause="the bundle was exported without --weights, or from Python, which says nothing of a weights file",
                fix=f"export with --weights; {OTHER_WAYS}",
            )
        return None
    if checkpoint is not None:
        check_weights(checkpoint)
        _check_same(checkpoint.name, sha256_of(checkpoint)[0], model.weights.sha256)
        return checkpoint
    entry = model_entry(model.reference)
    if _has_bundled_weights(model, entry):
        return entry.weights
    raise _needed(model)


def _onnx_file(model: Model, path: Path | None) -> OnnxFile:
    if path is None:
        raise _needed(model)
    file = load_onnx(path)
    assert model.weights is not None
    (name, digest), *data = file.sha256.items()
    _check_same(name, digest, model.weights.sha256)
    expected = model.config.get("external_data", {})
    for name, digest in data:
        _check_same(name, digest, expected.get(name, "none"))
    return file


def _needed(model: Model) -> InputError:
    assert model.weights is not None
    return InputError(
        f"the bundle was made from {model.weights.file}, which is not part of it",
        expected=f"that file, sha256 {model.weights.sha256}",
        fix=f"--reference path/to/{model.weights.file}; or --against OTHER_BUNDLE",
    )


def _check_same(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"{name} is not the file that the bundle was made from: its sha256 is {found}",
            expected=expected,
            cause="another checkpoint, perhaps a later epoch, or a file that was saved again",
            fix="the file that was exported; to compare with another one on purpose, export that, too: --against",
        )


def _built(model: Model, weights: Path | None) -> nn.Module:
    try:
        return load_model(model.reference, weights, model.weights.key if model.weights else None, **model.config)
    except HamsaError:
        raise
    except Exception as error:  # whatever a factory raises for options that it does not know
        raise InputError(
            f"{model.reference} cannot be built: {type(error).__name__}: {error}",
            expected=f"the model of the bundle, with the options {dict(model.config)}",
            cause="its code has changed since, or the bundle was exported from Python without saying its options",
            fix=OTHER_WAYS,
        ) from error
