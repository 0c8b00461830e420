"""What the options of hamsa-export say of a model's images. Imports no torch, so that mistakes are found at once.

--image-size, --mean, --std, --resize     of a model of one's own
--preprocessing FILE                      the same and the rest in TOML; options go before what it says
--image-dtype, with --input               ImageNet's, of that size
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_deploy.form.values import GivenInput
from hamsa_deploy.models.preprocessing import IMAGENET, check_preprocessing
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import small_file
from hamsa_runtime.manifest import Preprocessing, preprocessing_from
from hamsa_runtime.vocabulary import is_of_hub

if TYPE_CHECKING:
    from hamsa_deploy.models import ModelEntry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXPECTED_FILE, MAX_BYTES = "a TOML file with lines such as size = [224, 224]", 2**20
# Options, and the keys of a file and of the manifest that they are.
KEYS = {"--image-size": "size", "--mean": "mean", "--std": "std", "--resize": "resize"}
NEEDED = ("--image-size", "--mean", "--std")
USUAL = {"channels": 3, "resize": "bicubic", "crop_fraction": 1.0, "normalise": "graph"}


def preprocessing_of(options: Any, entry: ModelEntry) -> Preprocessing | None:
    """A built-in model and one of a hub know their own; a user's factory becomes a model of images by what the options
    say."""
    return entry.preprocessing if knows_its_images(options) else preprocessing_said(options)


def knows_its_images(options: Any) -> bool:
    """Whether the model is one whose images are known by its name.

    Raises:
        InputError: it is, and options say otherwise.
    """
    if ":" in options.model and not is_of_hub(options.model):
        return False
    said = [*_given(options), *(["--input"] if options.input else []), *(["--dynamic"] if options.dynamic else [])]
    if said:
        size = "--set image_size=N sets their size, " if "--image-size" in said else ""
        raise InputError(
            f"{said[0]} with {options.model}, whose images are known",
            expected=f"{said[0]} only with package.module:factory",
            fix=f"leave it away; {size}--batch N sets the batch, and --set the options of the model",
        )
    return True


def preprocessing_said(options: Any) -> Preprocessing | None:
    """Of a model of one's own; None if it is none of images.

    Raises:
        InputError: what is said is not enough, or does not go together.
    """
    given = _given(options)
    if not given:
        return None if options.image_dtype is None else _imagenet(options)
    if options.input or options.dynamic:
        other = "--input" if options.input else "--dynamic"
        raise InputError(
            f"{next(iter(given))} with {other}",
            expected="one of them: the size of the images says what the input is",
            fix="leave one of them away",
        )
    path = given.pop("--preprocessing", None)
    if path is not None:
        return read_preprocessing(path, {KEYS[option]: value for option, value in given.items()})
    missing = [option for option in NEEDED if option not in given]
    if missing:
        raise InputError(
            f"{', '.join(given)} without {' and '.join(missing)}",
            expected="--image-size, --mean and --std, as the model was trained; or --preprocessing FILE",
            fix="those of ImageNet are --image-size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
        )
    return _filled({KEYS[option]: value for option, value in given.items()}, ", ".join(given))


def read_preprocessing(path: Path, beside: dict[str, Any] | None = None) -> Preprocessing:
    """A TOML file with the keys of a manifest's `preprocessing`: size, mean and std; channels (3 by default), resize
    (bicubic) and crop_fraction (1). One number is both sides, or that of every channel.

    Args:
        path: of the file.
        beside: keys that go before those of the file.

    Raises:
        InputError: it cannot be read, or a key is missing, unknown or of another kind.
    """
    try:
        found = tomllib.loads(small_file(path, "the preprocessing", EXPECTED_FILE, MAX_BYTES).decode())
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: the preprocessing cannot be read ({error})",
            expected=EXPECTED_FILE,
        ) from error
    return _filled(found | (beside or {}), str(path))


def _given(options: Any) -> dict[str, Any]:
    """The options that say what an image is, by name, as far as they were given."""
    names = ("--preprocessing", *KEYS)
    given = {name: getattr(options, name.lstrip("-").replace("-", "_")) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _filled(found: dict[str, Any], where: str) -> Preprocessing:
    document = USUAL | found
    channels = document["channels"] if document["channels"] in (1, 3) else 1
    for name, times in (("size", 2), ("mean", channels), ("std", channels)):
        if type(document.get(name)) in (int, float):
            document[name] = [document[name]] * times
    how = preprocessing_from(document, where)
    check_preprocessing(how)
    return how


def _imagenet(options: Any) -> Preprocessing:
    given: Sequence[GivenInput] = options.input
    if len(given) != 1 or len(given[0].shape) != 4 or given[0].shape[1] not in (1, 3):
        raise InputError(
            f"--image-dtype {options.image_dtype} with the input {', '.join(x.text for x in given) or 'not said'}",
            expected="one shape NxCxHxW with 1 or 3 channels: a model of images",
            fix="--input 1x3x224x224; --image-size, --mean and --std, where they are not ImageNet's; or leave "
            "--image-dtype away to pass arrays through",
        )
    _, channels, height, width = given[0].shape
    return IMAGENET.resized_to((height, width)).with_channels(channels)
