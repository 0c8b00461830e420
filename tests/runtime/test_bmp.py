"""Which BMP files are taken, and which pixels they have."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image

from ..odd_bmp_webp import BITS, bmp, odd_bmps
from ..odd_images import changed, noise
from .test_image_files import is_taken


def by_definition(data: bytes) -> np.ndarray:
    """(H, W, 3): of rows that are filled up to four bytes, from the last to the first or the other way."""
    [start] = struct.unpack_from("<I", data, 10)
    header, width, height, _, bits = struct.unpack_from("<IiiHH", data, 14)
    row = (width * bits + 31) // 32 * 4
    rows = np.frombuffer(data, np.uint8, row * abs(height), start).reshape(abs(height), row)
    rows = rows if height < 0 else rows[::-1]
    if bits > 8:
        pixels: np.ndarray = rows[:, : width * bits // 8].reshape(abs(height), width, bits // 8)[..., 2::-1]
        return pixels
    digits = np.unpackbits(rows, axis=1)[:, : width * bits].reshape(abs(height), width, bits)
    colours = np.zeros((256, 3), np.uint8)
    table = np.frombuffer(data[14 + header : start], np.uint8).reshape(-1, 4)[: 1 << bits, 2::-1]
    colours[: len(table)] = table
    return colours[digits @ (1 << np.arange(bits)[::-1])]


def test_what_is_said_to_be_taken_is_and_no_more() -> None:
    odds = list(odd_bmps())
    assert {odd.name: is_taken(odd.data) for odd in odds} == {odd.name: odd.seen != 0 for odd in odds}


@pytest.mark.parametrize("height", [9, -9])
@pytest.mark.parametrize("width", [1, 8, 21])
@pytest.mark.parametrize("bits", BITS)
def test_pixels_are_those_of_the_definition(bits: int, width: int, height: int) -> None:
    for colours in (0, 2, 11, 300) if bits <= 8 else (0,):
        data = bmp(bits, width, height, header=124, colours=colours)
        expected = by_definition(data)
        np.testing.assert_array_equal(np.asarray(load_image(data)), expected)
        grey = np.asarray(Image.fromarray(expected).convert("L"))
        np.testing.assert_array_equal(np.asarray(load_image(data, channels=1)), grey)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_what_pillow_writes_is_read_as_pillow_reads_it(mode: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(noise(13, 21, 3)).convert(mode).save(stream, "BMP")
    with Image.open(stream) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(load_image(stream.getvalue())), expected)


def test_colours_that_are_missing_are_black() -> None:
    data = bmp(8, colours=3)
    at = data[10] + (data[11] << 8)
    data = changed(data, at, b"\x02\x03\xff")
    np.testing.assert_array_equal(np.asarray(load_image(data))[-1, 1:3], np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (bmp(8, packing=1), "a BMP image of 8 bits, compression 1"),
        (bmp(16), "a BMP image of 16 bits, compression 0"),
        (bmp(32, packing=3, masks=(0xFF, 0xFF00, 0xFF0000)), "a BMP image of 32 bits, compression 3"),
        (bmp(header=12), "a BMP image with a header of 12 bytes"),
    ],
)
def test_another_kind_is_called_by_its_name_and_not_damaged(data: bytes, found: str) -> None:
    with pytest.raises(InputError, match=found) as caught:
        load_image(data)
    assert caught.value.fix == "convert it to PNG"


def test_a_picture_that_is_too_large_is_said_to_be() -> None:
    with pytest.raises(InputError, match="too large to decode: 8193 x 6144"):
        load_image(bmp(1, 8193, -6144))
