"""Image files that say their orientation oddly, that decoders disagree about, or that are too large: both languages."""

from __future__ import annotations

import resource
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image
from tests.cpp.building import Probe, built
from tests.cpp.test_odd_images import disagreements
from tests.odd_bmp_webp import odd_bmps, odd_webps, part, webp
from tests.odd_images import (
    IEND,
    changed,
    chunk,
    encoded,
    frame_of,
    header,
    jpeg_metadata,
    jpeg_scans,
    picture,
    png,
    png_chunks,
    png_metadata,
    png_palettes,
    png_pixels,
)

from .conftest import Did


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """The test program, running."""
    program = Probe(built() / "tests/hamsa_probe")
    yield program
    program.close()


def test_row_53_an_orientation_of_any_type_and_place_is_read_by_one_rule(
    probe: Probe, tmp_path: Path, did: Did
) -> None:
    odds = [odd for odd in (*jpeg_metadata(), *png_metadata()) if "cut at" not in odd.name and "CRC" not in odd.name][
        ::4
    ]
    assert disagreements(probe, odds, tmp_path)[0] == {}
    for odd in odds:
        if odd.seen:
            shape = np.asarray(load_image(odd.data)).shape
            assert shape == (picture() if odd.seen < 5 else picture().swapaxes(0, 1)).shape, odd.name
    did(f"{len(odds)} files, turned alike in Python and C++")


def test_row_54_odd_files_give_the_same_pixels_or_are_refused_by_both(probe: Probe, tmp_path: Path, did: Did) -> None:
    odds = [*png_chunks(), *png_pixels(), *png_palettes(), *jpeg_scans(), *odd_bmps(), *odd_webps()][::6]
    wrong, fates = disagreements(probe, odds, tmp_path)
    assert wrong == {}
    did(f"{fates['taken']} the same in Python and C++, {fates['refused']} refused by both")


def test_row_55_files_of_gigabytes_and_bombs_are_refused_unread(probe: Probe, tmp_path: Path, did: Did) -> None:
    before, before_cpp = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, probe.most_memory()
    for path in bombs(tmp_path):
        with pytest.raises(InputError, match=r"too large|an image file of|scans") as caught:
            load_image(path)
        assert probe.ask("decode", path, 3, tmp_path / "out.npy")["found"] == caught.value.found
    spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before, probe.most_memory() - before_cpp
    assert max(spent) < 50e6, spent
    did("3 GB behind a PNG's and a JPEG's first bytes, 81 million pixels in 10 kB, 67 million in 30 bytes, 5000 scans")


def bombs(folder: Path) -> list[Path]:
    for name, start in {"large.png": b"\x89PNG\r\n\x1a\n", "large.jpg": b"\xff\xd8\xff\xe0"}.items():
        with (folder / name).open("wb") as stream:
            stream.write(start)
            stream.truncate(3 << 30)
    jpeg, rows = encoded(picture(), "JPEG"), zlib.compress(bytes((1 + 9000 // 8) * 9000), 9)
    (folder / "bomb.jpg").write_bytes(changed(jpeg, frame_of(jpeg) + 5, struct.pack(">HH", 9000, 9000)))
    (folder / "bomb.png").write_bytes(png(chunk(b"IHDR", header(1, 0, 9000, 9000)), chunk(b"IDAT", rows), IEND))
    bits = 8191 | 8191 << 14
    (folder / "bomb.webp").write_bytes(webp(part(b"VP8L", b"\x2f" + bits.to_bytes(4, "little") + bytes(8))))
    coarse = encoded(picture(), "JPEG", progressive=True)
    (folder / "scans.jpg").write_bytes(coarse[:-2] + coarse[coarse.rindex(b"\xff\xda") : -2] * 5000 + b"\xff\xd9")
    return sorted(folder.iterdir())
