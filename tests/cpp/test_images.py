"""The same file and the same pixels give the same input in both runtimes, bit for bit."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image
from hamsa_runtime.manifest import manifest_from_json
from hamsa_runtime.preprocess import inputs_from_images

from ..runtime.test_images import png_header
from ..runtime.tiny_bundles import manifest_for
from .building import ROOT, Probe

PHOTOS = sorted((ROOT / "hamsa_deploy/samples/photos").glob("*.jpg"))


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def picture(height: int, width: int) -> Image.Image:
    """Something that JPEG's filters have to work on: waves, with edges."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 3 + y / 7), np.cos(x * y / 50), np.sign(np.sin(x / 5))], axis=-1)
    return Image.fromarray(np.uint8(127.5 + 127 * waves))


def decoded(probe: Probe, path: Path, channels: int, tmp_path: Path) -> np.ndarray:
    assert probe.ask("decode", path, channels, tmp_path / "decoded.npy") == {}
    return np.load(tmp_path / "decoded.npy")


def assert_same_pixels(probe: Probe, path: Path, tmp_path: Path) -> None:
    for channels in (1, 3):
        expected = np.asarray(load_image(path, channels))
        found = decoded(probe, path, channels, tmp_path)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("path", PHOTOS[:3], ids=lambda path: path.name)
def test_photographs(probe: Probe, tmp_path: Path, path: Path) -> None:
    assert_same_pixels(probe, path, tmp_path)


JPEGS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True},
    "worst": {"quality": 1},
    "optimised": {"optimize": True, "quality": 100},
}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 48)])
def test_jpeg(probe: Probe, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    path = tmp_path / "mit Leerzeichen ü.jpg"
    picture(*size).save(path, **JPEGS[name])
    assert_same_pixels(probe, path, tmp_path)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_in_grey_and_in_inks(probe: Probe, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.jpg"
    picture(31, 45).convert(mode).save(path)
    assert_same_pixels(probe, path, tmp_path)
    if mode == "CMYK":
        Image.fromarray(noise(40, 50, 4), "CMYK").save(path, quality=95)
        assert_same_pixels(probe, path, tmp_path)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA"])
def test_png(probe: Probe, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    image = Image.fromarray(noise(23, 37, 4), "RGBA")
    image = image.convert("RGB").convert("P").convert("RGBA").convert("P") if mode == "PA" else image.convert(mode)
    image.save(path)
    assert_same_pixels(probe, path, tmp_path)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_colours(probe: Probe, tmp_path: Path, bits: int) -> None:
    path = tmp_path / "x.png"
    picture(23, 37).quantize(2**bits).save(path, bits=bits, transparency=1)
    assert_same_pixels(probe, path, tmp_path)


def png_of(width: int, height: int, bits: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG file from its parts, of kinds that Pillow does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("bits", "colour", "pixel"), [(2, 0, 0.25), (4, 0, 0.5), (16, 2, 6), (16, 4, 4), (16, 6, 8)])
def test_png_of_other_depths(probe: Probe, tmp_path: Path, bits: int, colour: int, pixel: float) -> None:
    path = tmp_path / "x.png"
    row = int(12 * pixel)
    rows = b"".join(b"\0" + noise(1, row, 1, seed).tobytes() for seed in range(7))
    path.write_bytes(png_of(12, 7, bits, colour, rows))
    assert_same_pixels(probe, path, tmp_path)


def test_sixteen_bits_of_grey_are_refused_as_in_python(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(path)
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert probe.ask("decode", path, 3, tmp_path / "out.npy")["found"] == caught.value.found


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation(probe: Probe, tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    picture(14, 23).save(path, exif=exif)
    assert_same_pixels(probe, path, tmp_path)


def test_orientation_in_xmp(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    picture(14, 23).save(path, xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>')
    assert np.asarray(load_image(path)).shape == (23, 14, 3)
    assert_same_pixels(probe, path, tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_damaged_file_is_rejected_where_python_rejects_it(probe: Probe, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"damaged.{suffix}"
    buffer = io.BytesIO()
    picture(40, 40).save(buffer, {"jpg": "JPEG", "png": "PNG"}[suffix])
    whole = buffer.getvalue()
    for keep in (0, 1, 3, 20, 33, 60, 200, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError):
            load_image(path)
        answer = probe.ask("decode", path, 3, tmp_path / "out.npy")
        assert answer["kind"] == "InputError", keep
        assert str(path) in answer["found"]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_random_damage_gives_pixels_or_an_error(probe: Probe, tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / f"damaged.{suffix}"
    picture(24, 24).save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    kinds = set()
    for _ in range(150):
        broken = whole.copy()
        broken[rng.integers(0, len(broken), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(broken.tobytes())
        kinds.add(probe.ask("decode", path, 3, tmp_path / "out.npy").get("kind"))
    # every part of a PNG has a checksum
    assert kinds == ({"InputError"} if suffix == "png" else {None, "InputError"})


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(50_000, 50_000), (2**31 - 1, 1), (10_000, 9_000)])
def test_a_pixel_bomb_is_found_in_the_header(probe: Probe, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    assert "too large to decode" in probe.ask("decode", path, 3, tmp_path / "out.npy")["found"]


def resize_cases() -> list[tuple[int, int, int, int]]:
    """Shrinking, enlarging, one axis only, thin images, and sizes that real models have."""
    rng = np.random.default_rng(5)
    drawn: list[tuple[int, int, int, int]] = [tuple(rng.integers(1, 90, 4).tolist()) for _ in range(60)]
    large = [(480, 640, 256, 341), (300, 451, 224, 337), (1000, 7, 20, 7), (37, 900, 37, 224), (1, 1, 50, 50)]
    return [*drawn, *large]


@pytest.mark.parametrize("filter_name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_pillows_bit_for_bit(probe: Probe, tmp_path: Path, filter_name: str, channels: int) -> None:
    resampling = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[filter_name]
    for seed, (height, width, to_height, to_width) in enumerate(resize_cases()):
        pixels = noise(height, width, channels, seed)
        if seed % 2:
            pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)  # edges that bicubic overshoots
        np.save(tmp_path / "in.npy", pixels)
        assert probe.ask("resize", tmp_path / "in.npy", to_height, to_width, filter_name, tmp_path / "out.npy") == {}
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        # Two steps: in one, the order of width and height depends on Pillow's version.
        expected = np.asarray(image.resize((to_width, height), resampling).resize((to_width, to_height), resampling))
        expected = expected.reshape(to_height, to_width, channels)
        np.testing.assert_array_equal(
            np.load(tmp_path / "out.npy"), expected, str((height, width, to_height, to_width))
        )


def manifest(size: tuple[int, int], crop: float, resize: str, channels: int, normalise: str, fit: str = "cover") -> str:
    mean, std = [0.485, 0.456, 0.406][:channels], [0.229, 0.224, 0.225][:channels]
    how = {
        "size": list(size),
        "channels": channels,
        "resize": resize,
        "crop_fraction": crop,
        "mean": mean,
        "std": std,
        "normalise": normalise,
        "fit": fit,
    }
    spec = {"name": "x", "dtype": "uint8", "shape": ["batch", *size, channels], "layout": "NHWC"}
    if normalise == "runtime":
        spec = {"name": "x", "dtype": "float32", "shape": ["batch", channels, *size], "layout": "NCHW"}
    return json.dumps(manifest_for(inputs=[spec], preprocessing=how))


@pytest.mark.parametrize("normalise", ["graph", "runtime"])
def test_whole_preprocessing_is_the_same(probe: Probe, tmp_path: Path, normalise: str) -> None:
    rng = np.random.default_rng(9)
    for seed in range(40):
        size: tuple[int, int] = tuple(rng.integers(5, 70, 2).tolist())
        channels = int(rng.choice([1, 3]))
        crop = float(rng.choice([1.0, 0.875, 0.9, 1 / 3]))
        resize, fit = str(rng.choice(["bicubic", "bilinear"])), str(rng.choice(["cover", "stretch"]))
        text = manifest(size, crop, resize, channels, normalise, fit)
        (tmp_path / "manifest.json").write_text(text)
        height, width = rng.integers(1, 120, 2).tolist()
        pixels = noise(height, width, int(rng.choice([1, 3])), seed)
        np.save(tmp_path / "in.npy", pixels)
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(tmp_path / "in.jpg")
        for given in (pixels, tmp_path / "in.jpg"):
            [expected] = inputs_from_images(given, manifest_from_json(text.encode())).values()
            source = tmp_path / ("in.npy" if given is pixels else "in.jpg")
            assert probe.ask("prepare", tmp_path / "manifest.json", source, tmp_path / "out.npy") == {}
            found = np.load(tmp_path / "out.npy")
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_messages_are_those_of_python(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text := manifest((8, 12), 1.0, "bicubic", 3, "graph"))
    read = manifest_from_json(text.encode())
    given: list[np.ndarray] = [
        np.zeros((8, 12, 4), np.uint8),
        np.zeros((3, 8, 12), np.uint8),
        np.zeros((5,), np.uint8),
        np.zeros((3, 9, 12), np.float32),
        np.full((3, 8, 12), np.nan, np.float32),
        np.full((3, 8, 12), 0.123, np.float32),
        np.zeros((0, 8, 12, 3), np.uint8),
    ]
    for array in given:
        np.save(tmp_path / "in.npy", array)
        with pytest.raises(InputError) as caught:
            inputs_from_images(array, read)
        answer = probe.ask("prepare", tmp_path / "manifest.json", tmp_path / "in.npy", tmp_path / "out.npy")
        assert (answer["found"], answer["expected"]) == (caught.value.found, caught.value.expected)
        assert answer["cause"] == caught.value.cause
    Image.new("L", (1, 60_000)).save(tmp_path / "thin.png")
    (tmp_path / "manifest.json").write_text(manifest((224, 224), 1.0, "bicubic", 3, "graph"))
    answer = probe.ask("prepare", tmp_path / "manifest.json", tmp_path / "thin.png", tmp_path / "out.npy")
    assert (
        answer["found"] == "an image of 1 x 60000, scaled for this model,: too large to decode: 224 x 13440000 pixels"
    )
