"""Which WebP files are taken, and which way up they are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import features

from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.images import load_image

from ..odd_bmp_webp import canvas, frame, odd_webps, part, pictures, webp
from ..odd_images import Odd, encoded, picture
from .test_orientation import turned


def orientation(odd: Odd, bases: list[np.ndarray]) -> int:
    """That it was read with; 0 for a refusal, -1 for pixels that are none of these."""
    try:
        pixels = np.asarray(load_image(odd.data))
    except InputError:
        return 0
    found = [i for base in bases for i in range(1, 9) if np.array_equal(pixels, turned(base, i))]
    return found[0] if found else -1


def test_what_is_said_to_be_taken_is_and_no_more_and_which_way_up() -> None:
    bases = [np.asarray(load_image(webp(each))) for each in pictures().values()]
    odds = [odd for odd in odd_webps() if odd.seen is not None and "Pillow" not in odd.name]
    assert {odd.name: orientation(odd, bases) for odd in odds} == {odd.name: odd.seen for odd in odds}


def test_what_is_lossless_keeps_its_pixels() -> None:
    np.testing.assert_array_equal(np.asarray(load_image(encoded(picture(), "WEBP", lossless=True))), picture())


@pytest.mark.parametrize("size", [(8192, 3073), (16384, 16384), (1 << 14, 1537)])
def test_a_picture_that_is_too_large_is_found_in_the_header(size: tuple[int, int]) -> None:
    """Pillow's decoder takes 16 bytes for a pixel: it may have half as many as in another format."""
    width, height = size
    bits = (width - 1) | (height - 1) << 14
    small = part(b"VP8L", b"\x2f" + bits.to_bytes(4, "little") + bytes(20))
    for data in (webp(small), webp(canvas(0, *size), small)):
        with pytest.raises(InputError, match=f"too large to decode: {width} x {height}") as caught:
            load_image(data)
        assert caught.value.expected == "at most 25165824 pixels"


def test_a_part_of_an_animation_is_said_to_be_one() -> None:
    data = webp(canvas(2, 100, 100), frame(pictures()["lossy"]))
    with pytest.raises(InputError, match="an animated WebP image whose first frame is a part of it") as caught:
        load_image(data)
    assert caught.value.fix == "convert it to PNG"


def test_a_pillow_without_libwebp_is_said_to_be_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(MissingError, match="Pillow was built without libwebp"):
        load_image(encoded(picture(), "WEBP"))
    with pytest.raises(InputError, match="truncated"):
        load_image(encoded(picture(), "WEBP")[:-8])
