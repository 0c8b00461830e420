"""Which way up a picture is: the rule, on files that say it in every way."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image, upright

from ..odd_images import (
    IDAT,
    IEND,
    IHDR,
    Odd,
    encoded,
    international,
    jpeg_metadata,
    picture,
    png,
    png_metadata,
    turn,
    xmp,
)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """From the definition: where the first row and the first column of what is stored belong."""
    swapped = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    upside_down = swapped[::-1] if orientation in (3, 4, 7, 8) else swapped
    return upside_down[:, ::-1] if orientation in (2, 3, 6, 7) else upside_down


def outcome(odd: Odd) -> int:
    """The orientation that it was read with; 0 for a refusal."""
    base = picture() if odd.data.startswith(b"\x89PNG") else np.asarray(load_image(encoded(picture(), "JPEG")))
    try:
        pixels = np.asarray(load_image(odd.data))
    except InputError:
        return 0
    [found] = [i for i in range(1, 9) if np.array_equal(pixels, turned(base, i))]
    return found


@pytest.mark.parametrize("cases", [jpeg_metadata, png_metadata])
def test_the_rule_holds_for_every_type_count_and_order(cases: Callable[[], Iterator[Odd]]) -> None:
    odds = list(cases())
    assert {odd.name: outcome(odd) for odd in odds} == {odd.name: odd.seen for odd in odds}
    assert {odd.seen for odd in odds} >= set(range(1, 9))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("said", ["EXIF", "XMP"])
def test_a_pil_image_is_turned_as_its_file_is_and_only_once(kind: str, said: str) -> None:
    options: dict[str, Any] = {"exif": b"Exif\0\0" + turn(6)} if said == "EXIF" else {"xmp": xmp(6)}
    data = encoded(picture(), kind, **options)
    if kind == "PNG" and said == "XMP":  # which Pillow does not write
        data = png(IHDR, international(xmp(6)), IDAT, IEND)
    once = load_image(data)
    assert np.asarray(once).shape[:2] == picture().shape[1::-1]
    given = Image.open(io.BytesIO(data))
    for image in (upright(given, 3, "x"), upright(once, 3, "x"), upright(upright(given, 3, "x"), 3, "x")):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(once))
    assert given.info  # the caller's own image is as it was


def test_pillows_own_turning_is_not_repeated() -> None:
    given = Image.open(io.BytesIO(encoded(picture(), "PNG", exif=turn(6))))
    np.testing.assert_array_equal(np.asarray(upright(ImageOps.exif_transpose(given), 3, "x")), turned(picture(), 6))
