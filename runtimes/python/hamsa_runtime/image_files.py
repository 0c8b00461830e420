"""What of a JPEG or PNG file is taken: one rule, the same in C++ (strip_jpeg.cpp, strip_png.cpp).

A file is walked through before anything decodes it, and what its pixels do not need is left out: so the decoders, which
differ in what they make of odd files, only ever see plain ones. Whatever a rule below forbids is refused.

Both formats: at most `MAX_PARTS` chunks or segments; what follows the end of the image is ignored, an end that is
missing is refused.

PNG: every chunk is whole, has a name of four letters and its right CRC. IHDR comes first, with a size, depth, colour,
method and interlace that the standard has; then one PLTE at most, IDATs in one run, IEND. Any other critical chunk is
refused, and other chunks are ignored wherever they stand (but before IHDR), `tRNS` too: transparency is dropped. A
palette has 1 to 256 colours and is needed by palette images only, in others it is ignored; missing colours are black.
The pixels unpack to exactly the bytes of all rows, with a right checksum: short rows are refused, and more is. Of 16
bits the upper 8 are taken, but for grey, which is refused.

JPEG: Huffman-coded, baseline, extended or progressive (SOF0, 1, 2), 8 bits, 1, 3 or 4 components, one frame, of known
height. Segments are whole; fill and stray bytes between them are passed over. JFIF and Adobe's APP14 are kept, since
they say what the colours are: JFIF means YCbCr; without it APP14's transform counts; without both, the components'
names. Four components are inverted inks, as Adobe writes them. At most `MAX_SCANS` scans, and `MAX_SCANNED` pixels in
them all: a progressive file of some kB may hold thousands. The scans give every coefficient of every component in full:
where some are missing, versions of libjpeg guess the picture differently. Damage within a scan, which has no checksum,
is not found: the picture may be grey from there on, as in browsers, the same in both languages.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from hamsa_runtime.orientation import EXIF_START, MAX_TEXT, RAW_PROFILE, XMP_IN_PNG, Metadata

# What a phone's sensor has. Pillow takes 4 bytes for a pixel, and to turn an image it holds two: 403 MB, so that, with
# the interpreter, a file from a stranger costs less than 500.
MAX_PIXELS = 8192 * 6144

MAX_PARTS = 1 << 16
MAX_SCANS = 100
MAX_SCANNED = 1_000_000_000

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"

# Depths of each colour type, and samples of a pixel.
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PALETTE = 3
ANCILLARY = 0x20  # of a name's first letter
CRITICAL = {b"IHDR": "H", b"PLTE": "P", b"IDAT": "D", b"IEND": "E"}
# Of each pass of Adam7: the first column and row, and the steps to the next.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Critical chunks in order, IDATs as one; "." is one or more of others after them.
ORDERS = ("HDE", "HPDE", "HD.E", "HPD.E")

EOI, SOS = 0xD9, 0xDA
PROGRESSIVE = 0xC2
FRAMES = (0xC0, 0xC1, PROGRESSIVE)
TABLES = (0xC4, 0xDB, 0xDD)  # DHT, DQT, DRI
IGNORED = (0xCC, 0xDC, 0xFE, *range(0xE0, 0xF0))  # DAC, DNL, COM, APPn
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))  # TEM, RSTn
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
MARKER = re.compile(rb"\xff([^\x00\xff])")
MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


class TooManyPixels(ValueError):
    """How many, and how many there may be: found in the header, before anything is unpacked."""

    def __init__(self, found: str, most: int) -> None:
        super().__init__(found)
        self.most = most


class NotRead(ValueError):
    """A kind of file that is not read, though the file may be whole: which, and what would be.

    Args:
        found: the kind.
        expected: what is read.
    """

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.expected = expected


class Stripped(NamedTuple):
    """A plain file with the same pixels, their number in each direction, and what is said of its orientation."""

    data: bytearray
    size: tuple[int, int]  # width, height
    metadata: Metadata


def stripped(data: bytes) -> Stripped | None:
    """None if it is neither a JPEG nor a PNG.

    Raises:
        TooManyPixels: says the header.
        ValueError: otherwise refused, and why.
    """
    if data.startswith(JPEG_START):
        return _jpeg(data)
    return _png(data) if data.startswith(PNG_START) else None


def check_size(width: int, height: int, most: int = MAX_PIXELS) -> None:
    """As a file's header says it.

    Raises:
        TooManyPixels: more than `most`.
        ValueError: none.
    """
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise ValueError(f"{width} x {height} pixels")
    if width * height > most:
        raise TooManyPixels(f"{width} x {height} pixels", most)


def truncated() -> ValueError:
    """What is raised where a file ends too early."""
    return ValueError("image file is truncated")


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Name, body, and the whole chunk, up to IEND."""
    at, view = len(PNG_START), memoryview(data)
    for _ in range(MAX_PARTS):
        if at + 12 > len(data):
            raise truncated()
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if not name.isalpha():
            raise ValueError("a chunk without a name")
        if end > len(data):
            raise truncated()
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ValueError(f"wrong CRC of {name.decode('ascii')}")
        yield name, view[at + 8 : end - 4], view[at:end]
        if name == b"IEND":
            return
        at = end
    raise ValueError(f"more than {MAX_PARTS} chunks")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(data: bytes) -> Stripped:
    palette: bytes | None = None
    plain, stream, order, metadata = bytearray(), _Stream(), "", Metadata()
    for name, body, whole in _chunks(data):
        order = _order_with(order, name)
        if name == b"IHDR":
            header = bytes(body)
            stream = _Stream(_bytes_of_pixels(header))
        elif name == b"PLTE":
            palette = bytes(body)
        elif name == b"IDAT":
            plain += whole if plain else _start(header, palette) + whole
            stream.add(body)
        elif name != b"IEND":
            metadata = _with_chunk(metadata, name, body)
    stream.check_end()
    width, height = struct.unpack_from(">II", header)
    return Stripped(plain + _chunk(b"IEND", b""), (width, height), metadata)


def _order_with(order: str, name: bytes) -> str:
    """The kinds of chunks so far, after a further one."""
    kind = CRITICAL.get(name, ".")
    if kind == "." and not name[0] & ANCILLARY:
        raise ValueError(f"unknown critical chunk {name.decode('ascii')}")
    if (kind == "." and order and "D" not in order) or (kind in ".D" and order.endswith(kind)):
        return order
    if not any(each.startswith(order + kind) for each in ORDERS):
        raise ValueError(f"chunk {name.decode('ascii')} out of place")
    return order + kind


def _start(header: bytes, palette: bytes | None) -> bytes:
    """All that stands before a plain file's pixels."""
    bits, colour = header[8:10]
    table = _chunk(b"PLTE", _whole_palette(palette, bits)) if colour == PALETTE else b""
    return PNG_START + _chunk(b"IHDR", header) + table


def _bytes_of_pixels(header: bytes) -> int:
    """What they unpack to; a header that the standard does not have is refused."""
    if len(header) != 13:
        raise ValueError("a header of another length")
    width, height, bits, colour, packing, filtering, interlace = struct.unpack(">IIBBBBB", header)
    check_size(width, height)
    if bits not in DEPTHS.get(colour, ()) or packing or filtering or interlace > 1:
        raise ValueError("a header that the standard does not have")
    return bytes_of_rows(width, height, bits * SAMPLES[colour], bool(interlace))


def bytes_of_rows(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Of a PNG's pixels before they are packed: each row begins with the number of its filter."""
    total = 0
    for left, top, right, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    return total


class _Stream:
    """Unpacks a PNG's pixels in small pieces, to count them: Pillow does not miss rows at the end, which stay black."""

    PIECE = 1 << 16

    def __init__(self, expected: int = 0) -> None:
        self._left, self._unpacker = expected, zlib.decompressobj()

    def add(self, body: memoryview) -> None:
        for at in range(0, len(body), self.PIECE):
            given = bytes(body[at : at + self.PIECE])
            while given and self._left >= 0:
                if self._unpacker.eof:
                    raise ValueError("more packed pixels than the header says")
                self._left -= len(self._unpacker.decompress(given, self.PIECE))
                given = self._unpacker.unconsumed_tail
            if self._unpacker.unused_data or self._left < 0:
                raise ValueError("more packed pixels than the header says")

    def check_end(self) -> None:
        while not self._unpacker.eof:
            more = len(self._unpacker.decompress(b"", self.PIECE))
            self._left -= more
            if not more or self._left < 0:
                break
        if self._left or not self._unpacker.eof:
            raise ValueError("other packed pixels than the header says")


def _whole_palette(palette: bytes | None, bits: int) -> bytes:
    """As many colours as an index can name."""
    if palette is None or not palette or len(palette) % 3 or len(palette) > 3 * 256:
        raise ValueError("no palette" if palette is None else f"a palette of {len(palette)} bytes")
    return palette[: 3 << bits].ljust(3 << bits, b"\0")


def _with_chunk(metadata: Metadata, name: bytes, body: memoryview) -> Metadata:
    if name == b"eXIf" and metadata.exif is None:
        return metadata._replace(exif=bytes(body))
    if name in (b"tEXt", b"zTXt") and metadata.raw_profile is None and _has_key(body, RAW_PROFILE):
        text = bytes(body[len(RAW_PROFILE) + 1 :])
        if name == b"zTXt":
            text = _unpacked(text[1:]) if text[:1] == b"\0" else b""
        return metadata._replace(raw_profile=text if len(text) < MAX_TEXT else b"")
    if name == b"iTXt" and metadata.xmp is None and _has_key(body, XMP_IN_PNG):
        text = _international(bytes(body[len(XMP_IN_PNG) + 1 :]))
        return metadata._replace(xmp=text if len(text) < MAX_TEXT else b"")
    return metadata


def _has_key(body: memoryview, key: str) -> bool:
    return body[: len(key) + 1] == key.encode() + b"\0"


def _international(body: bytes) -> bytes:
    """The text of an iTXt chunk after its keyword: two flags, language, keyword in that language, text."""
    parts = body[2:].split(b"\0", 2)
    if len(parts) < 3 or body[0] > 1:
        return b""
    if body[0] == 0:
        return parts[2]
    return _unpacked(parts[2]) if body[1] == 0 else b""


def _unpacked(data: bytes) -> bytes:
    """Empty if it is damaged, cut or too long."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MAX_TEXT)
    except zlib.error:
        return b""
    return text if unpacker.eof and len(text) < MAX_TEXT else b""


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Marker, where it begins, and its body, up to EOI."""
    at, marker = 2, MARKER
    for _ in range(MAX_PARTS):
        found = marker.search(data, at)
        if found is None:
            raise truncated()
        code, at = found[1][0], found.end()
        if code in WITHOUT_LENGTH:
            continue
        if code == EOI:
            yield EOI, found.start(), b""
            return
        if code not in (*FRAMES, *TABLES, *IGNORED, SOS):
            raise ValueError(f"marker {code:#x}, which is no part of a Huffman-coded JPEG")
        length = int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or length < 2 or at + length > len(data):
            raise truncated()
        yield code, found.start(), data[at + 2 : at + length]
        at += length
        marker = MARKER_IN_SCAN if code == SOS else marker
    raise ValueError(f"more than {MAX_PARTS} segments")


def _jpeg(data: bytes) -> Stripped:
    plain, frame, metadata, first, end = bytearray(data[:2]), None, Metadata(), 0, 0
    for code, at, body in _segments(data):
        end = at + 2
        if code in FRAMES:
            if frame is not None:
                raise ValueError("more than one frame")
            frame = _Frame(code, body)
        if code == SOS:
            if frame is None:
                raise ValueError("a scan before the frame")
            frame.add_scan(body)
            first = first or at
        elif not first:
            plain += _kept_segment(code, body)
            metadata = _with_segment(metadata, code, body)
    if frame is None:
        raise ValueError("no pixels")
    frame.check_end()
    plain += memoryview(data)[first:end]
    return Stripped(plain, frame.size, metadata)


class _Frame:
    """Follows how much its scans say of each component: the bits of a mask are coefficients that are known in full."""

    ALL = (1 << 64) - 1

    def __init__(self, code: int, body: bytes) -> None:
        bits, height, width, layers = struct.unpack_from(">BHHB", body)
        if bits != 8:
            raise ValueError(f"cannot handle {bits}-bit layers")
        if layers not in (1, 3, 4) or len(body) != 6 + 3 * layers:
            raise ValueError(f"cannot handle {layers}-layer images")
        check_size(width, height)
        self.size = width, height
        self._names = body[6::3]
        self._known = [0] * layers
        self._progressive = code == PROGRESSIVE
        self._scans = 0

    def add_scan(self, body: bytes) -> None:
        self._scans += 1
        if self._scans > MAX_SCANS or self._scans * self.size[0] * self.size[1] > MAX_SCANNED:
            raise ValueError(f"more than {MAX_SCANS} scans, or {MAX_SCANNED} pixels in scans")
        if not body or len(body) != 4 + 2 * body[0]:
            raise ValueError("a scan of another length")
        names, first, last, low = body[1:-3:2], body[-3], body[-2], body[-1] & 15
        if self._progressive and not first <= last < 64:
            raise ValueError(f"a scan of coefficients {first} to {last}")
        known = self.ALL if not self._progressive else 0 if low else (2 << last) - (1 << first)
        for i, name in enumerate(self._names):
            if name in names or len(names) == len(self._names):
                self._known[i] |= known

    def check_end(self) -> None:
        if any(known != self.ALL for known in self._known):
            raise ValueError("scans are missing")


def _kept_segment(code: int, body: bytes) -> bytes:
    """What libjpeg needs before the first scan."""
    is_jfif = code == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14
    is_adobe = code == 0xEE and body.startswith(b"Adobe") and len(body) >= 12
    if not (is_jfif or is_adobe or code in FRAMES or code in TABLES):
        return b""
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def _with_segment(metadata: Metadata, code: int, body: bytes) -> Metadata:
    if code == 0xE1 and metadata.exif is None and body.startswith(EXIF_START):
        return metadata._replace(exif=body[len(EXIF_START) :])
    if code == 0xE1 and metadata.xmp is None and body.startswith(XMP_START):
        return metadata._replace(xmp=body[len(XMP_START) :])
    return metadata
