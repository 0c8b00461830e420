"""Which way up a picture is: one rule for all formats, the same in C++ (orientation.cpp).

A file may say it in three kinds of places: as EXIF (JPEG's APP1 "Exif\\0\\0", PNG's eXIf, WebP's EXIF), as EXIF in a
PNG's text "Raw profile type exif" (tEXt or zTXt, as ImageMagick writes it), and in an XMP packet. Of each kind the
first in the file is looked at, in this order, and the first that says a whole number from 1 to 8 is believed; otherwise
the picture is upright (1). So EXIF wins over XMP, and an EXIF of 0 says nothing. What is damaged says nothing, either.

- EXIF: TIFF, from "II*\\0" or "MM\\0*" (a further "Exif\\0\\0" before it is passed over); the first entry 0x0112 of its
  first directory; one number of any whole type (BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG, IFD). Browsers take SHORT
  only, and writers of the others mean the same; fractions, texts and several numbers say nothing.
- A raw profile: three lines, then hexadecimal with white space anywhere; less than `MAX_TEXT` bytes unpacked.
- XMP: the first `tiff:Orientation="N"` or `<tiff:Orientation>N<` with N from 1 to 8; in PNG less than `MAX_TEXT` bytes.

Browsers, OpenCV and libvips read no XMP; Pillow does, with which most models are trained.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image

# Of a PNG's text, which may be compressed: as much says nothing.
MAX_TEXT = 1 << 20

EXIF_START = b"Exif\0\0"
RAW_PROFILE = "Raw profile type exif"
XMP_IN_PNG = "XML:com.adobe.xmp"

TAG = 0x0112
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
WHOLE_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
XMP_PROPERTY = re.compile(rb'tiff:Orientation(?:="([1-8])"|>([1-8])<)')

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Metadata(NamedTuple):
    """What a file says of its picture: the first of each kind, None where there is none."""

    exif: bytes | None = None
    raw_profile: bytes | None = None
    xmp: bytes | None = None

    def orientation(self) -> int:
        """1 to 8, as EXIF counts."""
        return (
            _from_exif(self.exif or b"")
            or _from_exif(_from_raw_profile(self.raw_profile or b""))
            or _from_xmp(self.xmp or b"")
            or 1
        )


def metadata_of(info: Mapping[Any, Any]) -> Metadata:
    """From the `info` of a PIL image."""
    xmp = info.get("xmp") or info.get(XMP_IN_PNG)
    return Metadata(_bytes(info.get("exif")), _bytes(info.get(RAW_PROFILE)), _bytes(xmp))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image upright; itself if it is."""
    return image.transpose(TRANSPOSITIONS[orientation]) if orientation in TRANSPOSITIONS else image


def _bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    return value if isinstance(value, bytes) else None


def _from_exif(data: bytes) -> int | None:
    tiff = data.removeprefix(EXIF_START)
    order = BYTE_ORDERS.get(tiff[:4])
    try:
        return None if order is None else _from_directory(tiff, order)
    except struct.error:  # past the end
        return None


def _from_directory(tiff: bytes, order: str) -> int | None:
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, directory)
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, at)
        if tag == TAG:
            if kind not in WHOLE_TYPES or count != 1:
                return None
            (value,) = struct.unpack_from(order + WHOLE_TYPES[kind], tiff, at + 8)
            return value if 1 <= value <= 8 else None
    return None


def _from_raw_profile(text: bytes) -> bytes:
    """'\\nexif\\n    length\\nhexadecimal' to bytes, empty if it is not that."""
    try:
        return binascii.unhexlify(b"".join(b"".join(text.split(b"\n", 3)[3:]).split()))
    except ValueError:
        return b""


def _from_xmp(packet: bytes) -> int | None:
    found = XMP_PROPERTY.search(packet)
    return int(found[1] or found[2]) if found else None
