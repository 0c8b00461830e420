"""Images and arrays from the files that a user names: for the parity check and for calibration."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_runtime.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
IMAGES_KEY = "images"
EXPECTED_IMAGES = "a folder of images, or an .npz or .npy file with uint8 images (N, H, W, C)"


def read_images(path: Path) -> list[Any]:
    """Images for a model of images: paths from a folder, sorted, or uint8 arrays from a file."""
    if path.is_dir():
        return _images_in(path)
    arrays = _read_arrays(path, EXPECTED_IMAGES)
    fitting = {name: a for name, a in arrays.items() if a.dtype == np.uint8 and a.ndim in (3, 4)}
    chosen = fitting.get(IMAGES_KEY) if len(fitting) > 1 else next(iter(fitting.values()), None)
    if chosen is None or not len(chosen):
        found = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays.items()) or "no arrays"
        raise InputError(f"{path} holds {found}", expected=f"uint8 (N, H, W, C), under {IMAGES_KEY!r} if several")
    return list(chosen)


def read_arrays(path: Path) -> dict[str, np.ndarray] | np.ndarray:
    """Inputs for any other model: arrays by input name from an .npz, or the one array of an .npy."""
    arrays = _read_arrays(path, "an .npz file with one array per input of the model")
    return arrays if path.suffix == ".npz" else next(iter(arrays.values()))


def _images_in(folder: Path) -> list[Path]:
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"{folder}: no images in this folder", expected=f"files in {', '.join(IMAGE_SUFFIXES)}")
    return images


def _read_arrays(path: Path, expected: str) -> dict[str, np.ndarray]:
    if not path.is_file() or path.suffix not in (".npz", ".npy"):
        found = "a file of another type" if path.is_file() else "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {found}", expected=expected)
    try:
        content = np.load(path, allow_pickle=False)
        return {name: content[name] for name in content.files} if path.suffix == ".npz" else {"": content}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read ({error})", expected=expected, cause="a damaged file, or pickled objects"
        ) from error
