"""Decoding by whitelist and within limits; resizing as torchvision rounds it."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamsa_runtime.errors import InputError
from hamsa_runtime.images import image_from_pixels, load_image, resized, upright
from hamsa_runtime.manifest import Preprocessing


def how(size: tuple[int, int], crop: float = 1.0, resize: Any = "bicubic", channels: int = 3) -> Preprocessing:
    return Preprocessing(size, channels, resize, crop, (0.5,) * channels, (0.5,) * channels, "graph")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, with no pixels behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return start + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize("given", ["bytes", "bytearray", "memoryview", "BytesIO", "file"])
def test_an_image_file_may_come_as_its_bytes_or_open(tmp_path: Path, given: str) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(8, 9)).save(path)
    data = path.read_bytes()
    with path.open("rb") as stream:
        file: Any = {
            "bytes": data, "bytearray": bytearray(data), "memoryview": memoryview(data), "BytesIO": io.BytesIO(data),
            "file": stream,
        }[given]  # fmt: skip
        np.testing.assert_array_equal(np.asarray(load_image(file)), noise(8, 9))


def test_what_is_no_image_file_is_said(tmp_path: Path) -> None:
    text = tmp_path / "a.png"
    text.write_text("not an image")
    with pytest.raises(InputError, match="the bytes of an image: not an image"):
        load_image(b"x")
    with text.open() as stream, pytest.raises(InputError, match=r"a\.png: opened as text"):
        load_image(stream)  # type: ignore[arg-type]
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(InputError, match="cannot be looked at"):
            load_image(tmp_path / name)


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as stream:
        stream.write(png_header(8, 8))
        stream.truncate(3 * 2**30)
    for file in (path, path.open("rb")):
        with pytest.raises(InputError, match="an image file of"):
            load_image(file)


def test_pil_images_that_cannot_be_read_any_more_are_said(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(noise(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    closed = Image.new("RGB", (4, 4))
    closed.close()
    for image in (Image.open(path), closed):
        with pytest.raises(InputError, match="the image is damaged"):
            upright(image, 3, "a PIL image")
    with pytest.raises(InputError, match="0 x 5 pixels"):
        upright(Image.new("RGB", (0, 5)), 3, "a PIL image")


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "jpg"])
def test_the_listed_formats_load(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mit Leerzeichen ü.{suffix}"
    flat = np.full((8, 8, 3), 128, np.uint8)
    Image.fromarray(flat).save(path)
    assert np.abs(np.asarray(load_image(path)).astype(int) - flat).max() <= 2  # lossy formats, one flat block
    assert load_image(str(path), channels=1).mode == "L"


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "EPS", "PPM", "ICO"])
def test_another_format_behind_a_known_name_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(noise(16, 16)).save(path, format=kind)
    with pytest.raises(InputError, match="not an image in a known format"):
        load_image(path)


def test_fits_behind_a_known_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"SIMPLE  =                    T".ljust(2880))
    with pytest.raises(InputError, match="not an image in a known format"):
        load_image(path)


@pytest.mark.parametrize("size", [(50_000, 50_000), (2**31 - 1, 1), (10_000, 9_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_pixel_bomb_is_found_in_the_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    with pytest.raises(InputError, match="too large to decode") as caught:
        load_image(path)
    assert str(path) in caught.value.found


@pytest.mark.parametrize("keep", [0, 1, 20, 33, 60, 200, 400])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_a_cut_image_is_an_error_that_names_the_file(tmp_path: Path, suffix: str, keep: int) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise(32, 32)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert str(path) in caught.value.found


def test_random_damage_never_gives_an_untyped_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    outcomes = set()
    for suffix in ("png", "jpg", "bmp", "webp"):
        path = tmp_path / f"damaged.{suffix}"
        Image.fromarray(noise(24, 24)).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            broken = whole.copy()
            broken[rng.integers(0, min(len(broken), 200), 6)] = rng.integers(0, 256, 6)
            path.write_bytes(broken.tobytes())
            try:
                outcomes.add(load_image(path).mode)
            except InputError:
                outcomes.add("InputError")
    assert outcomes == {"RGB", "InputError"}


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image file"):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="no such image file"):
        load_image(tmp_path)


def test_sixteen_bits_are_refused_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(path)
    with pytest.raises(InputError, match="more than 8 bits"):
        load_image(path)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    pixels = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(path, exif=exif)
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.rot90(pixels, -1))


def test_alpha_and_palettes_become_rgb(tmp_path: Path) -> None:
    path = tmp_path / "alpha.png"
    pixels = noise(4, 6)
    Image.fromarray(np.dstack([pixels, np.full((4, 6), 7, np.uint8)])).save(path)
    np.testing.assert_array_equal(np.asarray(load_image(path)), pixels)
    Image.fromarray(pixels).convert("P").save(path)
    assert load_image(path).mode == "RGB"


def test_an_image_of_the_models_size_is_untouched() -> None:
    pixels = noise(9, 13)
    np.testing.assert_array_equal(resized(Image.fromarray(pixels), how((9, 13))), pixels)


@pytest.mark.parametrize(
    ("given", "scaled", "corner"),
    # given (width, height), crop 0.8 to 8 x 8: shorter side to 10, the longer one rounded down, centre cut
    [
        ((20, 10), (20, 10), (6, 1)),
        ((10, 20), (10, 20), (1, 6)),
        ((33, 20), (16, 10), (4, 1)),
        ((7, 7), (10, 10), (1, 1)),
    ],
)
@pytest.mark.parametrize("resize", ["bicubic", "bilinear"])
def test_resize_then_centre_crop(
    given: tuple[int, int], scaled: tuple[int, int], corner: tuple[int, int], resize: str
) -> None:
    image = Image.fromarray(noise(given[1], given[0]))
    resampling = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[resize]
    left, top = corner
    expected = np.asarray(image.resize(scaled, resampling))[top : top + 8, left : left + 8]
    np.testing.assert_array_equal(resized(image, how((8, 8), 0.8, resize)), expected)


def test_the_width_is_scaled_before_the_height_whatever_pillow_prefers() -> None:
    image = Image.fromarray(noise(90, 20))  # Pillow 13 begins with the height of this one, if it is asked for both
    expected = image.resize((16, 90), Image.Resampling.BICUBIC).resize((16, 72), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized(image, how((16, 16))), np.asarray(expected)[28:44])


def test_a_model_that_is_not_square_is_covered() -> None:
    image = Image.fromarray(noise(30, 30))
    expected = np.asarray(image.resize((12, 12), Image.Resampling.BICUBIC))[2:10]
    np.testing.assert_array_equal(resized(image, how((8, 12))), expected)


def test_an_image_may_be_stretched_before_it_is_cropped() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 70, 3), dtype=np.uint8))
    stretched = np.asarray(image.resize((40, 30), Image.Resampling.BICUBIC).resize((40, 40), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resized(image, replace(how((40, 40)), fit="stretch")), stretched)
    cropped = resized(image, replace(how((32, 32), crop=0.8), fit="stretch"))
    np.testing.assert_array_equal(cropped, stretched[4:36, 4:36])


def test_an_extreme_aspect_ratio_is_no_bomb() -> None:
    with pytest.raises(InputError, match="too large"):
        resized(Image.new("RGB", (1, 60_000)), how((224, 224)))


def test_grey_is_replicated_and_colour_becomes_grey() -> None:
    grey = noise(5, 5)[..., 0]
    for array in (grey, grey[..., None]):
        np.testing.assert_array_equal(np.asarray(image_from_pixels(array, 3)), np.dstack([grey] * 3))
        np.testing.assert_array_equal(np.asarray(image_from_pixels(array, 1)), grey)
    assert resized(image_from_pixels(noise(5, 5), 1), how((5, 5), channels=1)).shape == (5, 5, 1)


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((5, 5, 4), ":3"),
        ((3, 5, 5), "transpose"),
        ((5, 5, 2), ""),
        ((5,), ""),
        ((0, 5, 3), ""),
        ((1, 5, 5, 3), ""),
    ],
)
def test_another_shape_is_an_error_with_the_way_out(shape: tuple[int, ...], fix: str) -> None:
    with pytest.raises(InputError, match=r"array of shape") as caught:
        image_from_pixels(np.zeros(shape, np.uint8), 3)
    assert fix in caught.value.fix
