"""Images, clips and arrays from the files that a user names: for the parity check and for calibration."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from hamsa_deploy.inputs.npy_files import read_npy, read_npz
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_file, is_folder, listed, no_file
from hamsa_runtime.preprocess import described, is_pixels

Kind = Literal["images", "clips", "arrays"]
CLIP_SUFFIXES = (".wav", ".flac")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
IMAGES_KEY, CLASSES_KEY = "images", "labels"
EXPECTED_IMAGES = "a folder of images, or an .npz or .npy file with uint8 images (N, H, W, C), in RGB order"
# Names in one line.
MOST_NAMED = 5

logger = logging.getLogger("hamsa_deploy")


def read_images(path: Path) -> list[Any]:
    """Images for a model of images: paths from a folder, sorted, or uint8 arrays from a file.

    A folder holds images, or one folder of images for each class.
    """
    if is_folder(path):
        _name_left_out(path, IMAGE_SUFFIXES, _image_folders(path))
        return image_paths(path)
    arrays = _read_arrays(path, EXPECTED_IMAGES)
    fitting = {name: a for name, a in arrays.items() if a.dtype == np.uint8 and a.ndim in (3, 4)}
    chosen = fitting.get(IMAGES_KEY) if len(fitting) > 1 else next(iter(fitting.values()), None)
    if chosen is None or not len(chosen):
        found = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays.items()) or "no arrays"
        raise InputError(f"{path} holds {found}", expected=f"uint8 (N, H, W, C), under {IMAGES_KEY!r} if several")
    return list(chosen)


def image_paths(folder: Path) -> list[Path]:
    """The images of a folder, as `read_images` takes them.

    Raises:
        InputError: there are none.
    """
    return [image for inner in _image_folders(folder) for image in _images_in(inner)]


def _name_left_out(folder: Path, suffixes: Sequence[str], inner: Sequence[Path] = ()) -> None:
    """Say of which files and folders nothing is read."""
    seen = [each for one in {folder, *inner} for each in listed(one) if not each.name.startswith(".")]
    left = sorted(each for each in seen if each.suffix.lower() not in suffixes and each not in inner)
    if left:
        names = ", ".join(str(each.relative_to(folder)) for each in left[:MOST_NAMED])
        more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
        logger.warning("%s: %d left out, as none of %s: %s%s", folder, len(left), ", ".join(suffixes), names, more)


def read_classes(path: Path, names: Sequence[str] | None) -> list[int] | None:
    """The true class of each image that `read_images` finds, or None where nothing tells it.

    Args:
        path: a folder with a folder for each class, or an .npz file with whole numbers under "labels".
        names: of the classes, in order of the logits; without them, folders count in order of their names.

    Raises:
        InputError: a folder that is no class, or labels that are no classes.
    """
    if is_folder(path):
        folders = _image_folders(path)
        if folders == [path]:
            return None
        classes = list(names) if names is not None else [folder.name for folder in folders]
        unknown = [folder.name for folder in folders if folder.name not in classes]
        if unknown:
            raise InputError(
                f"{path}: the folders {', '.join(unknown)} are no classes of the model",
                expected=f"folders called {', '.join(classes[:5])}{' ...' if len(classes) > 5 else ''}",
                fix="--labels FILE, with the names of the folders in order of the logits",
            )
        return [classes.index(folder.name) for folder in folders for _ in _images_in(folder)]
    labels = _read_arrays(path, EXPECTED_IMAGES).get(CLASSES_KEY)
    if labels is None:
        return None
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or (labels.size and labels.min() < 0):
        raise InputError(
            f"{path}: {CLASSES_KEY!r} holds {labels.dtype} {labels.shape}",
            expected="whole numbers (N,), the class of each image",
        )
    return [int(label) for label in labels]


def read_arrays(path: Path) -> dict[str, np.ndarray] | np.ndarray:
    """Inputs for any other model: arrays by input name from an .npz, or the one array of an .npy."""
    fix = "for a model of images: preprocessing= in Python, --preprocessing FILE on the command line"
    if holds_clips(path):
        fix = "for a model of clips: sample_rate= in Python, --sample-rate HZ on the command line"
    arrays = _read_arrays(path, "an .npz file with one array per input of the model", fix)
    return arrays if path.suffix == ".npz" else next(iter(arrays.values()))


def read_clips(path: Path) -> list[Path] | dict[str, np.ndarray] | np.ndarray:
    """For a model of clips: the WAV and FLAC files of a folder, sorted, or one such file; or arrays, as for any other.

    Raises:
        InputError: there is nothing of the kind.
    """
    if is_folder(path):
        found = [each for each in listed(path) if each.suffix.lower() in CLIP_SUFFIXES]
        if not found:
            raise InputError(f"{path}: no clips in this folder", expected=f"files in {', '.join(CLIP_SUFFIXES)}")
        _name_left_out(path, CLIP_SUFFIXES)
        return found
    if path.suffix in (".npz", ".npy"):
        return read_arrays(path)
    if not is_file(path) or not holds_clips(path):
        what = "a file of another type" if is_file(path) else no_file(path)
        raise InputError(f"{path}: {what}", expected=f"a folder of clips, or a file in {', '.join(CLIP_SUFFIXES)}")
    return [path]


def holds_clips(path: Path) -> bool:
    """Whether a path is a clip, or a folder with one in it."""
    paths = listed(path) if is_folder(path) else [path]
    return any(each.suffix.lower() in CLIP_SUFFIXES for each in paths)


def kind_of_data(preprocessing: object, audio: object) -> Kind:
    """What a model takes, by what a request or a manifest has."""
    return "images" if preprocessing is not None else "clips" if audio is not None else "arrays"


def read_data(data: Any, kind: Kind) -> Any:
    """What a path names, for a model of this kind; anything else is the data themselves.

    Raises:
        InputError: there is nothing of the kind.
    """
    if not isinstance(data, str | os.PathLike):
        return data
    return {"images": read_images, "clips": read_clips, "arrays": read_arrays}[kind](Path(data))


def check_several(data: Any) -> None:
    """Refuse one image where a list of them is wanted: its rows would be taken for images.

    Raises:
        InputError: that is what the data are.
    """
    if isinstance(data, Image.Image) or is_pixels(data):
        raise InputError(
            f"images given as {described(data)}, which is one",
            expected="a list of images, or a uint8 array (N, H, W, C)",
            fix="[image]",
        )


def _image_folders(path: Path) -> list[Path]:
    """The folder itself if it holds images, or else the folders in it."""
    found = listed(path)
    inner = [each for each in found if is_folder(each) and not each.name.startswith(".")]
    has_images = any(each.suffix.lower() in IMAGE_SUFFIXES for each in found)
    return [path] if has_images or not inner else inner


def _images_in(folder: Path) -> list[Path]:
    images = [path for path in listed(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise InputError(f"{folder}: no images in this folder", expected=f"files in {', '.join(IMAGE_SUFFIXES)}")
    return images


def _read_arrays(path: Path, expected: str, fix: str = "") -> dict[str, np.ndarray]:
    if not is_file(path) or path.suffix not in (".npz", ".npy"):
        found = "a file of another type" if is_file(path) else no_file(path)
        raise InputError(f"{path}: {found}", expected=expected, fix=fix)
    return read_npz(path) if path.suffix == ".npz" else {"": read_npy(path)}
