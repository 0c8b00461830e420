"""What of a JPEG or PNG file is taken, and within which limits."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hamsa_runtime import image_files
from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image

from ..odd_images import (
    IDAT,
    IEND,
    IHDR,
    Odd,
    adam7,
    chunk,
    encoded,
    header,
    jpeg_colours,
    jpeg_scans,
    jpeg_structure,
    picture,
    png,
    png_chunks,
    png_headers,
    png_palettes,
    png_pixels,
    segment,
    with_segments,
)


def is_taken(data: bytes) -> bool:
    try:
        load_image(data)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(
    "cases", [png_chunks, png_headers, png_pixels, png_palettes, jpeg_structure, jpeg_colours, jpeg_scans]
)
def test_what_is_said_to_be_taken_is_and_no_more(cases: Callable[[], Iterator[Odd]]) -> None:
    odds = [odd for odd in cases() if odd.seen is not None]
    assert {odd.name: is_taken(odd.data) for odd in odds} == {odd.name: odd.seen != 0 for odd in odds}


@pytest.mark.parametrize(("bits", "width", "height"), [(1, 1, 1), (4, 7, 9), (24, 5, 3), (64, 17, 16)])
def test_rows_are_counted_as_they_are_written(bits: int, width: int, height: int) -> None:
    assert image_files.bytes_of_rows(width, height, bits, True) == len(adam7(bits, 1, height, width))
    assert image_files.bytes_of_rows(width, height, bits, False) == height * (1 + -(-width * bits // 8))


def test_a_bomb_is_unpacked_no_further_than_its_rows() -> None:
    bomb = zlib.compress(bytes(50 << 20))
    packed = zlib.compressobj()
    layers = packed.compress(bomb * 400) + packed.flush()  # 20 GB, in two layers
    with pytest.raises(InputError, match="more packed pixels"):
        load_image(png(IHDR, chunk(b"IDAT", bomb), IEND))
    with pytest.raises(InputError, match="more packed pixels"):
        load_image(png(IHDR, chunk(b"IDAT", layers), IEND))


def test_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PARTS", 20)
    with pytest.raises(InputError, match="more than 20 chunks"):
        load_image(png(IHDR, *([chunk(b"abCd")] * 20), IDAT, IEND))
    with pytest.raises(InputError, match="more than 20 segments"):
        load_image(with_segments(encoded(picture(), "JPEG"), *([segment(0xFE)] * 20)))


def test_scans_of_a_large_picture_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = encoded(picture(), "JPEG", progressive=True)
    monkeypatch.setattr(image_files, "MAX_SCANNED", 5 * picture().shape[0] * picture().shape[1])
    with pytest.raises(InputError, match="pixels in scans"):
        load_image(coarse)


# 9000 x 9000 pixels in some kB, and what a PNG or JPEG of gigabytes begins with: refused before memory is taken.
REFUSE = """
import resource, sys
from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        load_image(name)
    except InputError as error:
        print(error.found)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_large_files_and_large_pictures_cost_no_memory(tmp_path: Path) -> None:
    rows = zlib.compress(bytes((1 + 9000 // 8) * 9000), 9)
    large = chunk(b"IHDR", header(1, 0, 9000, 9000))
    (tmp_path / "bomb.png").write_bytes(png(large, chunk(b"IDAT", rows), IEND))
    for name, start in {"large.png": b"\x89PNG\r\n\x1a\n", "large.jpg": b"\xff\xd8\xff\xe0"}.items():
        with (tmp_path / name).open("wb") as stream:
            stream.write(start)
            stream.truncate(3 << 30)
    names = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([sys.executable, "-c", REFUSE, *names], capture_output=True, text=True, check=True)
    *found, megabytes = done.stdout.splitlines()
    assert ["too large" in found[0], *("an image file of" in each for each in found[1:])] == [True] * 3
    assert int(megabytes) < 50
