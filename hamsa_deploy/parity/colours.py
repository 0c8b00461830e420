"""Red and blue in the wrong order, where the true classes of the images show it.

OpenCV reads images as blue, green, red; a bundle takes red, green, blue. Nothing in an array tells its order, and a
model that gets the wrong one still gives classes, only worse ones. So where the reference is often wrong, it sees some
of the images again with both swapped. It is right on k of n images as they are and not swapped, or the other way round;
by chance, at least so many of them are the second kind with the probability

    p = P[X >= gained],   X binomial with n = lost + gained and 1/2

A p below P_VALUE is said. Nothing is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hamsa_runtime.images import is_encoded, load_image
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import Images

MOST = 64  # images that are looked at again
GOOD = 0.9  # of the images right: nobody doubts their colours
P_VALUE = 0.001
COLOUR = 3


def colour_doubt(
    data: Any, classes: Sequence[int] | None, manifest: Manifest, logits_of: Callable[[list[Images]], np.ndarray | None]
) -> str:
    """A sentence if the reference recognises more with red and blue swapped; empty if not, or if nobody can tell.

    Args:
        data: the images, as `Engine` takes many of them.
        classes: the true class of each, or None.
        manifest: of the bundle.
        logits_of: the reference's logits for images, (N, C); None if it has none.
    """
    how = manifest.preprocessing
    if classes is None or how is None or how.channels != COLOUR or manifest.states or len(classes) != len(data):
        return ""
    chosen = np.linspace(0, len(classes) - 1, min(MOST, len(classes))).round().astype(int)
    images = [_pixels(data[i]) for i in chosen]
    if any(image is None for image in images) or all(map(_is_grey, images)):
        return ""
    expected = logits_of(images)
    if expected is None or expected.ndim != 2:
        return ""
    true = np.asarray(classes)[chosen]
    before = expected.argmax(axis=1) == true
    if before.mean() >= GOOD:
        return ""
    swapped = logits_of([np.ascontiguousarray(image[..., ::-1]) for image in images])
    assert swapped is not None
    after = swapped.argmax(axis=1) == true
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    if gained <= lost or _chance(lost, gained) >= P_VALUE:
        return ""
    are_files = all(is_encoded(data[i]) for i in chosen)
    cause = (
        "the model was trained on BGR images, as OpenCV reads them, and is given RGB: swap them in forward, x.flip(1)"
        if are_files
        else "these arrays are BGR, as OpenCV reads them: array[..., ::-1]; or the model was trained on such"
    )
    return (
        f"colours: the reference recognises {int(before.sum())} of {len(chosen)} images as they are, and "
        f"{int(after.sum())} with red and blue swapped; {cause}"
    )


def _pixels(image: Any) -> Any:
    """uint8 (H, W, 3), or None."""
    pixels = np.asarray(load_image(image, COLOUR) if is_encoded(image) else image)
    return pixels if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == COLOUR else None


def _is_grey(pixels: np.ndarray) -> bool:
    return np.array_equal(pixels[..., 0], pixels[..., 2])


def _chance(lost: int, gained: int) -> float:
    """P[X >= gained]."""
    n = lost + gained
    return sum(math.comb(n, k) for k in range(gained, n + 1)) / 2**n
