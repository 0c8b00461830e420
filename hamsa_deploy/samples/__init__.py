"""Built-in images and clips, so that exports, parity and calibration run offline on a fresh machine.

- digits_heldout.npz: 360 handwritten digits that no built-in model was trained on, written by examples/train_digits.py
- photos/: crops of two photographs, written by examples/make_samples.py; see photos/LICENSE
- clips/: voices and chords that `synthesis` makes, written by examples/make_clips.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(__file__).parent
DIGIT_MODELS = ("hamsa_nano", "vim_nano")

Images = list[NDArray[np.uint8]]


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The held-out digits: images (360, 8, 8, 3) of equal channels, 0..255, and labels (360,), 0..9."""
    with np.load(FOLDER / "digits_heldout.npz", allow_pickle=False) as data:
        grey, labels = data["images"], data["labels"]
    return np.repeat(grey[..., None], 3, axis=-1), labels.astype(np.int64)


def photos() -> Images:
    """The photograph crops, RGB (H, W, 3), 0..255, in order of their file names."""
    return [_decoded(path) for path in sorted((FOLDER / "photos").glob("*.jpg"))]


def sample_images(model_name: str) -> Images:
    """The images that fit a model, each (H, W, 3): digits for models trained on digits, photographs for all others."""
    if model_name in DIGIT_MODELS:
        images, _ = digits()
        return list(images)
    return photos()


def sample_classes(model_name: str) -> list[int] | None:
    """The true classes of `sample_images`, where they are known."""
    return digits()[1].tolist() if model_name in DIGIT_MODELS else None


def _decoded(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
