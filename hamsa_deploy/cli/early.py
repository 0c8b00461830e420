"""What can be known of a command's names and files before PyTorch is loaded: mistakes in them are found at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hamsa_deploy.cli.files import import_from_here, read_labels
from hamsa_deploy.cli.images import knows_its_images, preprocessing_said
from hamsa_deploy.inputs.calibration_set import check_images_of
from hamsa_deploy.inputs.files import read_images
from hamsa_deploy.models.catalogue import BUILT_IN, check_name, check_options, check_weights, not_found
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.file_checks import check_received
from hamsa_runtime.folders import is_folder, is_there
from hamsa_runtime.images import check_images
from hamsa_runtime.vocabulary import HUBS, is_of_hub

COLOUR = 3


def check_model(name: str, config: Mapping[str, Any] | None = None) -> None:
    """Whether a model can have this name and, if it is built in, these options, and what it names is here; nothing is
    imported.

    Raises:
        InputError: no such model, or no such module.
        MissingError: the library of a hub is not installed.
    """
    check_name(name)
    if name in BUILT_IN:
        check_options(name, config or {})
    first, _, rest = name.partition(":")
    if is_of_hub(name):
        if find_spec(HUBS[first]) is None:
            raise MissingError(
                f"{name} needs the package {HUBS[first]}, which is not installed", fix=f"pip install {HUBS[first]}"
            )
    elif rest:
        import_from_here()
        top = first.partition(".")[0]
        if find_spec(top) is None:
            raise not_found(name, f"there is no module {top!r} here")


def check_files(options: Any) -> None:
    """Whether the files that options of hamsa-export name are there, and hold what their names say.

    Raises:
        InputError: one is not, or is something else.
    """
    if options.weights is not None:
        check_weights(options.weights)
    if options.onnx is not None:
        check_received(options.onnx, "ONNX file", "an ONNX file")
    if options.labels is not None:
        read_labels(options.labels)
    for option, path in (("--data", options.data), ("--calibration", options.calibration)):
        check_there(option, path)


def check_there(option: str, path: Path | None) -> None:
    """Raise InputError if an option names what is not there."""
    if path is not None and not is_there(path):
        raise InputError(f"{option} {path}: no such file or folder", expected="a folder, or an .npz or .npy file")


def check_data(options: Any) -> None:
    """Decode the images that hamsa-export is to compare and calibrate with; all that cannot be read, are named.

    Comparing takes longer for each image than this does.

    Raises:
        InputError: some of --data, or more than a tenth of --calibration, cannot be read.
    """
    if options.onnx is not None:
        return
    channels = _channels(options)
    if channels is not None:
        check_folder(options.data, channels)
        if options.calibration is not None:
            check_images_of(options.calibration, channels)


def check_folder(folder: Path | None, channels: int) -> None:
    """Decode all images of a folder, if it is one."""
    if folder is not None and is_folder(folder):
        check_images(read_images(folder), channels)


def _channels(options: Any) -> int | None:
    """Of the model's images; None for a model of arrays. Of a hub's models colour is taken for granted here."""
    if knows_its_images(options):
        known = BUILT_IN.get(options.model)
        channels = dict(options.set).get("in_channels", known.preprocessing.channels if known else COLOUR)
        return channels if channels in (1, COLOUR) else None
    how = preprocessing_said(options)
    return None if how is None else how.channels
