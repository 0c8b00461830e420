"""What of a WebP file is taken: one rule, the same in C++ (strip_webp.cpp).

As with JPEG and PNG (image_files.py), libwebp only sees a plain file: "RIFF", its length, "WEBP", and one chunk with
the picture, "VP8 " (lossy) or "VP8L". What follows the length that RIFF says is ignored; a shorter file is refused.

A file whose first chunk is a picture is that picture. A first chunk "VP8X" says the size of a canvas and which other
chunks count: these are whole, at most `MAX_PARTS`, filled up to even lengths (the last need not be), and the first
picture among them is taken; of an animation it is the first frame's. It has just the size of the canvas: around a
smaller frame there would be nothing. Transparency is dropped, so "ALPH" is left out, as is all else but the first
"EXIF" and the first "XMP ", where VP8X says that they are there: they say which way up the picture is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hamsa_runtime.image_files import MAX_PARTS, MAX_PIXELS, NotRead, Stripped, check_size, truncated
from hamsa_runtime.orientation import Metadata

# Pillow's decoder takes 16 bytes for a pixel, of files that may have 40 bytes in all: 430 MB, with the interpreter.
MAX_WEBP_PIXELS = MAX_PIXELS // 2

RIFF, WEBP = b"RIFF", b"WEBP"
LOSSY, LOSSLESS, EXTENDED, FRAME = b"VP8 ", b"VP8L", b"VP8X", b"ANMF"
PICTURES = (LOSSY, LOSSLESS)
HAS_ANIMATION, HAS_XMP, HAS_EXIF = 2, 4, 8  # flags of VP8X
CANVAS_BYTES, FRAME_BYTES = 10, 16  # of VP8X, and of ANMF before its chunks
KEY_FRAME, LOSSLESS_START, SIDE = b"\x9d\x01\x2a", 0x2F, 0x3FFF

Chunk = tuple[bytes, memoryview]


def is_webp(data: bytes | bytearray) -> bool:
    return data[:4] == RIFF and data[8:12] == WEBP


def strip_webp(data: bytes) -> Stripped:
    """The plain file with the picture, and what the whole one says of its orientation.

    Raises:
        TooManyPixels: says a header.
        NotRead: an animation whose first frame does not cover it.
        ValueError: otherwise refused, and why.
    """
    [length] = struct.unpack_from("<I", data, 4)
    if 8 + length > len(data):
        raise truncated()
    chunks = _chunks(memoryview(data)[12 : 8 + length])
    name, body = next(chunks, (b"", memoryview(b"")))
    if name == EXTENDED:
        return _extended(body, list(chunks))
    picture = name, body
    return Stripped(_plain(picture), _size(picture), Metadata())


def _chunks(data: memoryview) -> Iterator[Chunk]:
    at = 0
    for _ in range(MAX_PARTS):
        if at >= len(data):
            return
        if at + 8 > len(data):
            raise truncated()
        name, length = struct.unpack_from("<4sI", data, at)
        if length > len(data) - at - 8:
            raise truncated()
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    if at < len(data):
        raise ValueError(f"more than {MAX_PARTS} chunks")


def _extended(header: memoryview, chunks: list[Chunk]) -> Stripped:
    """What VP8X says of the other chunks."""
    if len(header) < CANVAS_BYTES:
        raise truncated()
    flags, size = header[0], (1 + _number(header, 4), 1 + _number(header, 7))
    check_size(*size, MAX_WEBP_PIXELS)
    picture = _first_frame(chunks, size) if flags & HAS_ANIMATION else _picture(chunks)
    if _size(picture) != size:
        raise ValueError("a picture of another size than its canvas")
    exif = _first(chunks, (b"EXIF",)) if flags & HAS_EXIF else None
    xmp = _first(chunks, (b"XMP ",)) if flags & HAS_XMP else None
    return Stripped(_plain(picture), size, Metadata(exif=exif and bytes(exif[1]), xmp=xmp and bytes(xmp[1])))


def _first_frame(chunks: list[Chunk], canvas: tuple[int, int]) -> Chunk:
    frame = _first(chunks, (FRAME,))
    if frame is None or len(frame[1]) < FRAME_BYTES:
        raise ValueError("no frame")
    left, top, width, height = (_number(frame[1], at) for at in (0, 3, 6, 9))
    if (left, top, 1 + width, 1 + height) != (0, 0, *canvas):
        raise NotRead("an animated WebP image whose first frame is a part of it", "a first frame that is all of it")
    return _picture(list(_chunks(frame[1][FRAME_BYTES:])))


def _picture(chunks: list[Chunk]) -> Chunk:
    picture = _first(chunks, PICTURES)
    if picture is None:
        raise ValueError("no picture")
    return picture


def _first(chunks: list[Chunk], names: tuple[bytes, ...]) -> Chunk | None:
    return next((chunk for chunk in chunks if chunk[0] in names), None)


def _size(picture: Chunk) -> tuple[int, int]:
    """Its width and height; libwebp looks at the rest of the header."""
    name, body = picture
    if name == LOSSY and len(body) >= 10 and not body[0] & 1 and body[3:6] == KEY_FRAME:
        width, height = struct.unpack_from("<HH", body, 6)
        size = width & SIDE, height & SIDE
    elif name == LOSSLESS and len(body) >= 5 and body[0] == LOSSLESS_START:
        [bits] = struct.unpack_from("<I", body, 1)
        size = 1 + (bits & SIDE), 1 + (bits >> 14 & SIDE)
    else:
        raise ValueError("no picture")
    check_size(*size, MAX_WEBP_PIXELS)
    return size


def _number(data: memoryview, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _plain(picture: Chunk) -> bytearray:
    name, body = picture
    chunk = name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return bytearray(RIFF + struct.pack("<I", 4 + len(chunk)) + WEBP + chunk)
