"""Pictures to pixels: decoding within limits, and the resize and crop that a manifest asks for.

Everything here works on uint8. Resizing is Pillow's (antialiased), so that calibration, parity and every
application see the same pixels. Which files are taken is said in image_files.py (JPEG, PNG), bmp.py and webp.py, and
which way up they are in orientation.py.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np
from PIL import Image, features

from hamsa_runtime.bmp import BMP_START, image_from_bmp
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.folders import is_file
from hamsa_runtime.image_files import MAX_PIXELS, NotRead, Stripped, TooManyPixels, stripped
from hamsa_runtime.orientation import metadata_of, turned
from hamsa_runtime.webp import is_webp, strip_webp

if TYPE_CHECKING:
    from hamsa_runtime.manifest import Preprocessing

# An image file, where it is not decoded yet.
Encoded: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

# Everything else that Pillow can read (EPS starts Ghostscript, FITS, PSD ...) is refused before it is parsed.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")

# Of a file, which is read whole: as much as MAX_PIXELS in colour, not compressed at all.
MAX_FILE_BYTES = 3 * MAX_PIXELS

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MODES = {1: "L", 3: "RGB"}

# More than 8 bits per channel: Pillow's conversion would clip, not scale.
DEEP_MODES = ("I", "F")

# Of files that cannot be read, in one error.
MOST_SHOWN = 20

# What Pillow's decoders raise on damaged files.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    struct.error,
    zlib.error,
)


def is_encoded(image: object) -> TypeGuard[Encoded]:
    """Whether it is the path of an image file, its content, or an open one."""
    return isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview)) or callable(getattr(image, "read", None))


def load_image(file: Encoded, channels: int = 3) -> Image.Image:
    """Decodes a JPEG, PNG, BMP or WebP file, upright (EXIF orientation), as RGB or, for one channel, as grey.

    Transparency is dropped; of an animation the first frame is taken.

    Args:
        file: its path, its content, or a binary file that is read to its end.
        channels: 3 or 1.

    Raises:
        InputError: no such file, another format, damaged, more than 8 bits per channel, or above `MAX_PIXELS`
            (found in the header, before anything is decoded) or `MAX_FILE_BYTES`.
        MissingError: WebP, where Pillow was built without libwebp.
    """
    data, name = _content(file)
    try:
        if data.startswith(BMP_START):
            return _in_mode(image_from_bmp(data), channels)
        plain = strip_webp(data) if is_webp(data) else stripped(data)
        if plain is None:
            raise _unknown(name)
        return _decoded(plain, channels, name)
    except TooManyPixels as error:
        raise _too_large(name, str(error), error.most) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from error
    except NotRead as error:
        raise InputError(f"{name}: {error}", expected=error.expected, fix="convert it to PNG") from error
    except DAMAGE as error:
        raise _damaged(name, error) from error


def check_images(files: Sequence[Encoded], channels: int = 3) -> None:
    """Decodes all of them, and keeps none: for a command that is to work long with them.

    Raises:
        InputError: some cannot be read; names all of those, and why.
        MissingError: as `load_image`.
    """
    faults = {}
    for file in files:
        try:
            load_image(file, channels)
        except InputError as error:
            faults[str(file)] = error
    if len(faults) == 1:
        raise next(iter(faults.values()))
    if faults:
        shown = [f"    {error.found}" for error in list(faults.values())[:MOST_SHOWN]]
        more = [f"    and {len(faults) - MOST_SHOWN} more"] if len(faults) > MOST_SHOWN else []
        raise InputError(
            "\n".join([f"{len(faults)} of {len(files)} images cannot be read", *shown, *more]),
            expected="whole image files, in " + ", ".join(FORMATS),
            fix="take them away, or fetch them again",
        )


def _decoded(plain: Stripped, channels: int, name: str) -> Image.Image:
    if is_webp(plain.data) and not features.check("webp"):
        raise MissingError(
            f"{name}: WebP cannot be read: Pillow was built without libwebp",
            expected="a Pillow with WebP, such as that of PyPI",
            fix="convert it to PNG",
        )
    image = Image.open(io.BytesIO(plain.data), formats=FORMATS)
    _check_mode(image, name)
    image.load()
    upright_image = turned(image, plain.metadata.orientation())
    del image  # before there may be a third
    return _in_mode(upright_image, channels)


def _unknown(name: str) -> InputError:
    return InputError(
        f"{name}: not an image in a known format",
        expected="one of " + ", ".join(FORMATS),
        cause="another format behind this name, or an empty or damaged file",
    )


def _damaged(name: str, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:  # the system's, not the decoder's
        return InputError(f"{name}: cannot be read ({error.strerror})", expected="a file that may be read")
    return InputError(f"{name}: the image is damaged ({error})", expected="a whole image file")


def _content(file: Encoded) -> tuple[bytes, str]:
    """Its bytes, and what errors call it."""
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        if not is_file(path):
            raise InputError(f"{path}: no such image file", expected="a file in " + ", ".join(FORMATS))
        _check_bytes(path.stat().st_size, str(path))
        return _read(path), str(path)
    if isinstance(file, (bytes, bytearray, memoryview)):
        data, name = bytes(file), "the bytes of an image"
    else:
        name = str(getattr(file, "name", "an open image file"))
        try:
            data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:  # a file that is closed raises the second
            raise InputError(f"{name}: cannot be read ({error})", expected="an open binary file") from error
        if not isinstance(data, bytes):
            raise InputError(f"{name}: opened as text", expected="a binary file", fix='open(path, "rb")')
    _check_bytes(len(data), name)
    return data, name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(str(path), error) from error


def _check_bytes(size: int, name: str) -> None:
    if size > MAX_FILE_BYTES:
        raise InputError(f"{name}: an image file of {size} bytes", expected=f"at most {MAX_FILE_BYTES}")


def upright(image: Image.Image, channels: int, name: str) -> Image.Image:
    """A PIL image turned upright by what its file said, in the mode for `channels` (1: "L", 3: "RGB").

    Raises:
        InputError: more than 8 bits per channel, no pixels, above `MAX_PIXELS`, closed, or of a damaged file, which
            Pillow reads only now.
    """
    _check_mode(image, name)
    _check_size(image.size, name)
    if 0 in image.size:
        raise InputError(f"{name}: {image.size[0]} x {image.size[1]} pixels", expected="one pixel at least")
    try:
        image.load()  # what PNG says after the pixels is known only then
        result = _in_mode(turned(image, metadata_of(image.info).orientation()), channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except DAMAGE as error:
        raise _damaged(name, error) from error
    result = result.copy() if result is image else result
    result.info.clear()  # so that it is not turned again
    return result


def _check_mode(image: Image.Image, name: str) -> None:
    if image.mode.startswith(DEEP_MODES):
        raise InputError(f"{name}: more than 8 bits per channel (mode {image.mode})", expected="8 bits per channel")


def _in_mode(image: Image.Image, channels: int) -> Image.Image:
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def image_from_pixels(pixels: np.ndarray, channels: int) -> Image.Image:
    """A PIL image in the mode for `channels` from uint8 (H, W), (H, W, 1) or (H, W, 3); grey is replicated.

    Raises:
        InputError: another shape, such as channels first, or four channels.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise InputError(
            f"an image array of shape {pixels.shape}: four channels",
            expected="(H, W), (H, W, 1) or (H, W, 3)",
            cause="an alpha channel",
            fix="pass array[..., :3]",
        )
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or (pixels.ndim == 3 and pixels.shape[2] not in MODES):
        first = pixels.ndim == 3 and pixels.shape[0] in MODES
        raise InputError(
            f"a uint8 image array of shape {pixels.shape}",
            expected="(H, W), (H, W, 1) or (H, W, 3)",
            fix="pass array.transpose(1, 2, 0)" if first else "",
        )
    flat = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    return Image.fromarray(np.ascontiguousarray(flat)).convert(MODES[channels])


def resized(image: Image.Image, how: Preprocessing) -> np.ndarray:
    """Scales until the image covers size / crop_fraction, or stretches it to that, then cuts the centre: uint8
    (H, W, channels).

    For a square model this is "shorter side to round(size / crop_fraction), then centre crop", with the
    roundings of torchvision's Resize and CenterCrop. An image of the model's own size is left untouched when
    crop_fraction is 1.
    """
    height, width = how.size
    image = scaled(image, how)
    left, top = round((image.size[0] - width) / 2), round((image.size[1] - height) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)))
    return pixels.reshape(height, width, how.channels)


def scaled(image: Image.Image, how: Preprocessing) -> Image.Image:
    """The first half of `resized`: what it gives, `resized` only crops."""
    height, width = how.size
    box = round(width / how.crop_fraction), round(height / how.crop_fraction)
    size = _scaled_size(image.size, box) if how.fit == "cover" else box
    _check_size(size, f"an image of {image.size[0]} x {image.size[1]}, scaled for this model,")
    # Width, then height, each rounded to whole numbers: the order in which Pillow 13 takes them depends on the sizes,
    # older versions always begin with the width, and pixels differ by up to 19 levels between the two.
    for step in ((size[0], image.size[1]), size):
        image = image if step == image.size else image.resize(step, RESAMPLING[how.resize])
    return image


def _scaled_size(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The smallest (width, height) with the aspect of `size` that covers `box`."""
    (width, height), (box_width, box_height) = size, box
    if width * box_height <= height * box_width:
        return box_width, max(box_height, box_width * height // width)
    return max(box_width, box_height * width // height), box_height


def _check_size(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(name, f"{size[0]} x {size[1]} pixels")


def _too_large(name: str, found: str, most: int = MAX_PIXELS) -> InputError:
    return InputError(
        f"{name}: too large to decode: {found}",
        expected=f"at most {most} pixels",
        cause="a decompression bomb, an extreme aspect ratio, or a panorama",
        fix="scale it down first",
    )
