"""What Python makes of a few images and sounds, as JSON for the JavaScript runtime's tests, which run without Python.

`python -m tests.js.fixtures` writes it anew; a test asks Python once more about the files that are committed, since
versions of Pillow pack the same pixels into other bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from hamsa_runtime.clips import load_clip
from hamsa_runtime.images import load_image
from hamsa_runtime.manifest import manifest_from_json
from hamsa_runtime.preprocess import inputs_from_images

from ..odd_bmp_webp import BITS, bmp
from ..odd_images import (
    HEIGHT,
    IDAT,
    IEND,
    IHDR,
    WIDTH,
    adam7,
    chunk,
    encoded,
    header,
    noise,
    picture,
    png,
    rows_of,
    turn,
)
from ..runtime.manifest_values import NOT_PORTABLE, ONE_FILE, PORTABLE
from ..runtime.tiny_bundles import manifest_for

FILE = Path(__file__).parents[2] / "runtimes/js/tests/fixtures.json"


def bmps() -> Iterator[tuple[str, bytes]]:
    """One of each kind that is read."""
    for bits in BITS:
        yield f"BMP, {bits} bits", bmp(bits)
    yield "BMP, from the top, few colours", bmp(4, height=-HEIGHT, colours=5)


def pngs() -> Iterator[tuple[str, bytes]]:
    """One of each kind that the format has."""
    rgba = np.dstack([picture(), noise(HEIGHT, WIDTH)])
    yield "colours", encoded(picture(), "PNG")
    yield "transparent, of odd size", encoded(rgba[:13, :21], "PNG")
    yield "grey", encoded(picture()[..., 0], "PNG")
    yield "grey, transparent", encoded(rgba[..., 2:], "PNG")
    yield "palette", _palette()
    for orientation in range(2, 9):
        yield f"turned {orientation}", png(IHDR, chunk(b"eXIf", turn(orientation)), IDAT, IEND)
    for bits, colour, samples in ((1, 0, 1), (2, 0, 1), (4, 0, 1), (16, 2, 3), (16, 4, 2), (16, 6, 4)):
        rows = rows_of(bits, samples)
        yield f"{bits} bits, kind {colour}", png(chunk(b"IHDR", header(bits, colour)), _packed(rows), IEND)
    rows = adam7(8, 3, 9, 11)
    yield "interlaced", png(chunk(b"IHDR", header(8, 2, 11, 9, b"\0\0\1")), _packed(rows), IEND)


def _palette() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture()).quantize(11, Image.Quantize.MEDIANCUT).save(stream, "PNG")
    return stream.getvalue()


def _packed(rows: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(rows))


def preparations() -> Iterator[tuple[str, tuple[int, int], dict[str, Any]]]:
    """Sizes of a noisy picture (height, width), and what a manifest asks for."""
    plain = {"size": [8, 12], "channels": 3, "resize": "bicubic", "crop_fraction": 1.0, "normalise": "graph"}
    plain |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    for resize in ("bicubic", "bilinear"):
        for size in ((37, 23), (5, 9), (8, 40), (12, 12)):
            yield f"{resize}, {size}", size, {**plain, "resize": resize}
    yield "cropped", (41, 30), {**plain, "size": [11, 11], "crop_fraction": 0.875}
    yield "cropped, halves", (33, 20), {**plain, "size": [5, 5], "crop_fraction": 0.4}
    yield "stretched", (41, 30), {**plain, "size": [11, 11], "crop_fraction": 0.875, "fit": "stretch"}
    yield "its own size", (8, 12), plain
    yield "grey", (19, 25), {**plain, "channels": 1, "mean": [0.5], "std": [0.25]}
    yield "normalised", (19, 25), {**plain, "normalise": "runtime"}
    yield (
        "normalised, grey",
        (19, 25),
        {**plain, "channels": 1, "mean": [0.1307], "std": [0.3081], "normalise": "runtime"},
    )


def manifest_of(how: dict[str, Any]) -> dict[str, Any]:
    """A manifest of a model of such images."""
    size, channels = how["size"], how["channels"]
    if how["normalise"] == "graph":
        image = {"dtype": "uint8", "shape": ["batch", *size, channels], "layout": "NHWC"}
    else:
        image = {"dtype": "float32", "shape": ["batch", channels, *size], "layout": "NCHW"}
    return manifest_for(inputs=[{"name": "image", **image}], preprocessing=how, target="web")


def sounds() -> Iterator[tuple[str, bytes]]:
    """One WAV file of each kind of samples, of two channels."""
    samples = np.random.default_rng(0).uniform(-1, 1, (7, 2))
    samples[0], samples[-1] = -1, 1
    for kind, subtypes in {"WAV": "PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE", "WAVEX": "PCM_16 FLOAT"}.items():
        for subtype in subtypes.split():
            stream = io.BytesIO()
            soundfile.write(stream, samples, 16000, subtype, format=kind)
            yield f"{kind} {subtype}", stream.getvalue()


def names_of_files() -> Iterator[tuple[tuple[str, ...], bool]]:
    """Names of files that a manifest may list together, and others."""
    yield PORTABLE, True
    yield from (((name,), False) for name in NOT_PORTABLE)
    yield from ((names, False) for names in ONE_FILE)


def sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def text(data: bytes | np.ndarray) -> str:
    return base64.b64encode(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).decode()


def document(folder: Path) -> dict[str, Any]:
    """All of it; `folder` is for files that are read by their names."""
    return {
        "manifest": manifest_for(target="web", versions={}),
        "files": [[list(names), is_right] for names, is_right in names_of_files()],
        "images": [{"name": name, "file": text(data), **seen(data)} for name, data in (*pngs(), *bmps())],
        "prepared": [
            {"name": name, "height": size[0], "width": size[1], "how": how, **prepared(noise(*size, 3), how)}
            for name, size, how in preparations()
        ],
        "clips": [{"name": name, "file": text(data), **heard(data, folder)} for name, data in sounds()],
    }


def seen(file: bytes) -> dict[str, Any]:
    """The pixels of an image file."""
    colours, grey = (np.asarray(load_image(file, channels)) for channels in (3, 1))
    return {"shape": list(grey.shape), "colours": sha256(colours), "grey": sha256(grey)}


def prepared(pixels: np.ndarray, how: dict[str, Any]) -> dict[str, Any]:
    """What a graph takes for an image."""
    manifest = manifest_from_json(json.dumps(manifest_of(how)).encode())
    [tensor] = inputs_from_images(pixels, manifest).values()
    return {"pixels": text(pixels), "tensor": text(tensor)}


def heard(file: bytes, folder: Path) -> dict[str, Any]:
    """The samples of a WAV file."""
    path = folder / "clip.wav"
    path.write_bytes(file)
    return {"samples": text(load_clip(path))}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = document(Path(folder))
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
