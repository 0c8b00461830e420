"""BMP files to pixels: one rule, the same in C++ (decode_bmp.cpp).

A file is "BM", 12 bytes of which the last four say where the pixels begin, a header that begins with its own length,
perhaps three masks, a palette, and the rows, each filled up to four bytes: from bottom to top, or, where the height is
negative, from top to bottom. All numbers are little-endian.

Taken are headers of Windows (40, 52, 56, 108 or 124 bytes) and pixels that are not compressed: 1, 4 or 8 bits, which
are an index into a palette, 24 bits (blue, green, red) or 32 (one byte more, which is dropped). Bitfields are taken
where their masks say just these 32 bits. Everything else is refused: run lengths, 16 bits, other masks, the headers of
OS/2, a JPEG or PNG within.

A palette lies behind the header and has as many colours as that says, 0 for all that an index can name, of four bytes
each; it has to be whole, more colours than an index can name are ignored, and missing ones are black, as in PNG. All
rows have to be there. What else the header says (sizes of the file and of the pixels, planes, resolution, colours'
profile), what lies in between and what follows are ignored. A BMP says nothing of which way up it is.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from hamsa_runtime.image_files import NotRead, check_size, truncated

BMP_START = b"BM"
FILE_HEADER = 14
HEADERS = (40, 52, 56, 108, 124)
PLAIN, BITFIELDS = 0, 3
MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
MASKS_AT = FILE_HEADER + 40
# What Pillow calls pixels of so many bits, and a palette's colours.
RAW_MODES = {1: "P;1", 4: "P;4", 8: "P", 24: "BGR", 32: "BGRX"}
COLOUR = "BGRX"
EXPECTED = "a BMP of Windows of 1, 4, 8, 24 or 32 bits, not compressed"


def image_from_bmp(data: bytes) -> Image.Image:
    """In mode "RGB".

    Raises:
        TooManyPixels: says the header.
        NotRead: another kind of BMP.
        ValueError: otherwise refused, and why.
    """
    bits, width, height, colours = _header(data)
    [start] = struct.unpack_from("<I", data, 10)
    row = (width * bits + 31) // 32 * 4
    if start + row * abs(height) > len(data):
        raise truncated()
    palette = _palette(data, bits, colours) if bits <= 8 else b""
    pixels = np.frombuffer(data, np.uint8, row * abs(height), start)
    order = row, 1 if height < 0 else -1
    mode = "P" if palette else "RGB"
    image = Image.frombytes(mode, (width, abs(height)), pixels, "raw", RAW_MODES[bits], *order)
    if palette:
        image.putpalette(palette, COLOUR)
    return image if mode == "RGB" else image.convert("RGB")


def _header(data: bytes) -> tuple[int, int, int, int]:
    """Bits of a pixel, width, height (negative: from top to bottom), and the number of colours that it says."""
    if len(data) < FILE_HEADER + 4:
        raise truncated()
    [length] = struct.unpack_from("<I", data, FILE_HEADER)
    if length not in HEADERS:
        raise NotRead(f"a BMP image with a header of {length} bytes", EXPECTED)
    if len(data) < FILE_HEADER + length:
        raise truncated()
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, FILE_HEADER + 4)
    is_plain = packing == PLAIN or (packing == BITFIELDS and bits == 32 and data[MASKS_AT : MASKS_AT + 12] == MASKS)
    if bits not in RAW_MODES or not is_plain:
        raise NotRead(f"a BMP image of {bits} bits, compression {packing}", EXPECTED)
    check_size(width, abs(height))
    [colours] = struct.unpack_from("<I", data, FILE_HEADER + 32)
    return bits, width, height, colours


def _palette(data: bytes, bits: int, colours: int) -> bytes:
    """All that an index of eight bits can name."""
    [length] = struct.unpack_from("<I", data, FILE_HEADER)
    start, count = FILE_HEADER + length, min(colours or 1 << bits, 1 << bits)
    if start + 4 * count > len(data):
        raise truncated()
    return data[start : start + 4 * count].ljust(4 << 8, b"\0")
