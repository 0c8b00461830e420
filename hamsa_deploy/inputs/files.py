"""Images and arrays from the files that a user names: for the parity check and for calibration."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import listed

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
IMAGES_KEY, CLASSES_KEY = "images", "labels"
EXPECTED_IMAGES = "a folder of images, or an .npz or .npy file with uint8 images (N, H, W, C)"


def read_images(path: Path) -> list[Any]:
    """Images for a model of images: paths from a folder, sorted, or uint8 arrays from a file.

    A folder holds images, or one folder of images for each class.
    """
    if path.is_dir():
        return [image for folder in _image_folders(path) for image in _images_in(folder)]
    arrays = _read_arrays(path, EXPECTED_IMAGES)
    fitting = {name: a for name, a in arrays.items() if a.dtype == np.uint8 and a.ndim in (3, 4)}
    chosen = fitting.get(IMAGES_KEY) if len(fitting) > 1 else next(iter(fitting.values()), None)
    if chosen is None or not len(chosen):
        found = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays.items()) or "no arrays"
        raise InputError(f"{path} holds {found}", expected=f"uint8 (N, H, W, C), under {IMAGES_KEY!r} if several")
    return list(chosen)


def read_classes(path: Path, names: Sequence[str] | None) -> list[int] | None:
    """The true class of each image that `read_images` finds, or None where nothing tells it.

    Args:
        path: a folder with a folder for each class, or an .npz file with whole numbers under "labels".
        names: of the classes, in order of the logits; without them, folders count in order of their names.

    Raises:
        InputError: a folder that is no class, or labels that are no classes.
    """
    if path.is_dir():
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
    images = "for a model of images: preprocessing= in Python, --preprocessing FILE on the command line"
    arrays = _read_arrays(path, "an .npz file with one array per input of the model", images)
    return arrays if path.suffix == ".npz" else next(iter(arrays.values()))


def read_data(data: Any, *, images: bool) -> Any:
    """What a path names, for a model of images or of arrays; anything else is the data themselves.

    Raises:
        InputError: there is nothing of the kind.
    """
    if not isinstance(data, str | os.PathLike):
        return data
    return read_images(Path(data)) if images else read_arrays(Path(data))


def _image_folders(path: Path) -> list[Path]:
    """The folder itself if it holds images, or else the folders in it."""
    found = listed(path)
    inner = [each for each in found if each.is_dir() and not each.name.startswith(".")]
    has_images = any(each.suffix.lower() in IMAGE_SUFFIXES for each in found)
    return [path] if has_images or not inner else inner


def _images_in(folder: Path) -> list[Path]:
    images = [path for path in listed(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise InputError(f"{folder}: no images in this folder", expected=f"files in {', '.join(IMAGE_SUFFIXES)}")
    return images


def _read_arrays(path: Path, expected: str, fix: str = "") -> dict[str, np.ndarray]:
    if not path.is_file() or path.suffix not in (".npz", ".npy"):
        found = "a file of another type" if path.is_file() else "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {found}", expected=expected, fix=fix)
    try:
        content = np.load(path, allow_pickle=False)
        return {name: content[name] for name in content.files} if path.suffix == ".npz" else {"": content}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read ({error})", expected=expected, cause="a damaged file, or pickled objects"
        ) from error
