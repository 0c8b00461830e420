"""Odd images: JPEG and PNG files that decoders disagree about, written by hand where Pillow cannot.

`odd_images()` gives more than 300, always the same, each with what must become of it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 23, 14

SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Odd(NamedTuple):
    """A file, and the orientation that both must see in it: 0 for a refusal, None where they only have to agree."""

    name: str
    data: bytes
    seen: int | None


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Waves, with edges: no two of its eight orientations are alike."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 3 + y / 7), np.cos(x * y / 50), np.sign(np.sin(x / 5 - y / 9))], axis=-1)
    return (127.5 + 127 * waves).astype(np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, kind, **options)
    return stream.getvalue()


# EXIF and XMP


def tiff(*entries: tuple[int, int, int, bytes], order: str = "<", start: int = 8) -> bytes:
    """A TIFF structure of one directory: (tag, type, count, value of four bytes)."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start) + bytes(start - 8)
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + body + bytes(4)


def turn(value: int, kind: int = 3, count: int = 1, order: str = "<") -> bytes:
    """EXIF with an orientation of this type."""
    code = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}.get(kind, "I")
    return tiff((0x0112, kind, count, struct.pack(order + code, value)), order=order)


def xmp(value: object) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def raw_profile(exif: bytes, line: int = 36) -> bytes:
    """As ImageMagick writes it."""
    digits = exif.hex()
    lines = "\n".join(digits[at : at + 2 * line] for at in range(0, len(digits), 2 * line))
    return f"\nexif\n{len(exif):8}\n{lines}\n".encode()


def exif_cases() -> Iterator[tuple[str, bytes, int]]:
    """EXIF of every type and count, and what it says; 1 for nothing."""
    whole = {1, 3, 4, 6, 8, 9, 13}
    for order in "<>":
        for kind in range(15):
            yield f"type {kind} {order}", turn(6, kind, order=order), 6 if kind in whole else 1
        for value in range(10):
            yield f"value {value} {order}", turn(value, order=order), value if 1 <= value <= 8 else 1
        for count in (0, 2, 3, 2**32 - 1):
            yield f"count {count} {order}", turn(6, count=count, order=order), 1
    six, three = (0x0112, 3, 1, b"\6\0"), (0x0112, 3, 1, b"\3\0")
    maker, fraction = (0x010F, 2, 4, b"abc\0"), (0x0112, 5, 1, struct.pack("<I", 38))
    yield "-1", turn(-1, 8), 1
    yield "rational 6/1", tiff(fraction) + struct.pack("<II", 6, 1), 1
    yield "after others", tiff(maker, six), 6
    yield "twice", tiff(six, three), 6
    yield "a fraction first", tiff(fraction, six), 1
    yield "far", tiff(six, start=300), 6
    yield "another start", b"Exif\0\0" + turn(6), 6
    yield "two more starts", 2 * b"Exif\0\0" + turn(6), 1
    yield "not 42", turn(6)[:2] + b"\x2b\0" + turn(6)[4:], 1
    yield "mixed order", b"IM" + turn(6)[2:], 1
    yield "directory past the end", turn(6)[:4] + b"\xff\xff\xff\xff" + turn(6)[8:], 1
    yield "65535 entries", turn(6)[:8] + b"\xff\xff\x0f\x01" + turn(6)[12:], 1
    for size in (0, 1, 7, 8, 9, 10, 17, 18, 19, 20, 21, 22):
        yield f"cut at {size}", turn(6)[:size], 6 if size >= 20 else 1


def xmp_cases() -> Iterator[tuple[str, bytes, int]]:
    for value in (0, 1, 5, 8, 9, 65, "", "-6", " 6", "x"):
        yield f"attribute {value!r}", xmp(value), value if value in (1, 5, 8) else 1
    yield "element", b"<tiff:Orientation>6</tiff:Orientation>", 6
    yield "element, not closed", b"<tiff:Orientation>6", 1
    yield "the first of two", xmp(6) + xmp(3), 6
    yield "the second, where the first says nothing", xmp(0) + xmp(3), 3
    yield "single quotes", b"<a tiff:Orientation='6'/>", 1
    yield "bytes that are no text", b"\xff\xfe\0\x80" + xmp(6), 6


# PNG


def chunk(name: bytes, body: bytes = b"", crc: int = 0, length: int | None = None) -> bytes:
    """With a CRC that is `crc` off, and perhaps a length that lies."""
    size = len(body) if length is None else length
    return struct.pack(">I", size) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ crc)


def header(bits: int = 8, colour: int = 2, width: int = WIDTH, height: int = HEIGHT, rest: bytes = b"\0\0\0") -> bytes:
    return struct.pack(">IIBB", width, height, bits, colour) + rest


IHDR = chunk(b"IHDR", header())
IEND = chunk(b"IEND")
ROWS = b"".join(b"\0" + row.tobytes() for row in picture())
IDAT = chunk(b"IDAT", zlib.compress(ROWS))


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks)


def rows_of(bits: int, samples: int, height: int = HEIGHT, width: int = WIDTH, filters: int = 5) -> bytes:
    """Noise, with all filters in turn."""
    size = (width * bits * samples + 7) // 8
    return b"".join(bytes([y % filters]) + noise(height, size)[y].tobytes() for y in range(height))


def adam7(bits: int, samples: int, height: int, width: int) -> bytes:
    rows = b""
    for left, top, right, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns, count = len(range(left, width, right)), len(range(top, height, down))
        rows += rows_of(bits, samples, count, columns) if columns else b""
    return rows


def zipped_text(key: bytes, text: bytes, method: int = 0) -> bytes:
    return chunk(b"zTXt", key + bytes([0, method]) + zlib.compress(text))


def international(
    text: bytes, flags: bytes = b"\0\0", names: bytes = b"\0\0", key: bytes = b"XML:com.adobe.xmp"
) -> bytes:
    return chunk(b"iTXt", key + b"\0" + flags + names + text)


def png_metadata() -> Iterator[Odd]:
    profile = b"Raw profile type exif"
    for name, exif, seen in exif_cases():
        yield Odd(f"eXIf, {name}", png(IHDR, chunk(b"eXIf", exif), IDAT, IEND), seen)
    for name, packet, seen in xmp_cases():
        yield Odd(f"iTXt, {name}", png(IHDR, international(packet), IDAT, IEND), seen)
    eight = {
        "eXIf": chunk(b"eXIf", turn(8)),
        "tEXt": chunk(b"tEXt", profile + b"\0" + raw_profile(turn(8))),
        "zTXt": zipped_text(profile, raw_profile(turn(8))),
        "iTXt": international(xmp(8)),
        "iTXt, zipped": international(zlib.compress(xmp(8)), b"\1\0"),
        "iTXt, language": international(xmp(8), names=b"de\0XMP\0"),
    }
    for name, each in eight.items():
        yield Odd(f"{name} before", png(IHDR, each, IDAT, IEND), 8)
        yield Odd(f"{name} after", png(IHDR, IDAT, each, IEND), 8)
        yield Odd(f"{name} behind the end", png(IHDR, IDAT, IEND, each), 1)
        yield Odd(f"{name}, wrong CRC", png(IHDR, each[:-1] + bytes([each[-1] ^ 1]), IDAT, IEND), 0)
        yield Odd(f"{name} before the header", png(each, IHDR, IDAT, IEND), 0)
        yield Odd(f"{name} within the pixels", png(IHDR, *split_pixels(2, each), IEND), 0)
    three = {
        "eXIf": chunk(b"eXIf", turn(3)),
        "zTXt": zipped_text(profile, raw_profile(turn(3))),
        "iTXt": international(xmp(3)),
    }
    for name, first in three.items():
        for other, second in eight.items():
            rank = ("eXIf", "zTXt", "tEXt", "iTXt", "iTXt, zipped", "iTXt, language")
            kinds = [{"z": 1, "t": 1, "e": 0, "i": 2}[each[0]] for each in (name, other)]
            seen = 8 if kinds[1] < kinds[0] else 3
            assert {name, other} <= set(rank)
            yield Odd(f"{name} 3, then {other} 8", png(IHDR, first, second, IDAT, IEND), seen)
    nothing = {
        "exif 0": (chunk(b"eXIf", turn(0)), 8),
        "profile that is cut": (chunk(b"tEXt", profile + b"\0" + raw_profile(turn(3))[:-2]), 8),
        "profile of two lines": (chunk(b"tEXt", profile + b"\0exif\n  34\n" + turn(3).hex().encode()), 8),
        "profile that is no hexadecimal": (chunk(b"tEXt", profile + b"\0\nexif\n 1\n" + b"xy" * 30), 8),
        "profile in capitals": (chunk(b"tEXt", profile + b"\0" + raw_profile(turn(3)).upper()), 3),
        "profile in pieces": (chunk(b"tEXt", profile + b"\0" + raw_profile(turn(3)).replace(b"0", b" \t0\r\n")), 3),
        "profile with a lie of its length": (zipped_text(profile, raw_profile(turn(3)).replace(b"26", b"99")), 3),
        "empty profile": (chunk(b"tEXt", profile + b"\0"), 8),
        "key alone": (chunk(b"tEXt", profile), 8),
        "longer key": (chunk(b"tEXt", profile + b"s\0" + raw_profile(turn(3))), 8),
        "profile of method 1": (zipped_text(profile, raw_profile(turn(3)), 1), 8),
        "profile, damaged": (chunk(b"zTXt", profile + b"\0\0" + zlib.compress(raw_profile(turn(3)))[:-2]), 8),
        "profile, no zlib": (chunk(b"zTXt", profile + b"\0\0abcdefgh"), 8),
        "profile, more behind it": (
            chunk(b"zTXt", profile + b"\0\0" + zlib.compress(raw_profile(turn(3))) + b"more"), 3,
        ),
        "profile of a megabyte": (zipped_text(profile, raw_profile(turn(3)).ljust(1 << 20)), 8),
        "profile of a byte less": (zipped_text(profile, raw_profile(turn(3)).ljust((1 << 20) - 1)), 3),
        "profile of 30 MB": (zipped_text(profile, raw_profile(turn(3)).ljust(30 << 20)), 8),
        "profile as iTXt": (international(raw_profile(turn(3)), key=profile), 8),
        "APP1 profile": (zipped_text(b"Raw profile type APP1", raw_profile(b"Exif\0\0" + turn(3))), 8),
    }  # fmt: skip
    for name, (each, seen) in nothing.items():
        yield Odd(f"{name}, and XMP 8", png(IHDR, each, international(xmp(8)), IDAT, IEND), seen)
    for name, each in {
        "iTXt of flag 2": international(xmp(8), b"\2\0"),
        "iTXt of method 1": international(zlib.compress(xmp(8)), b"\1\1"),
        "iTXt, damaged": international(zlib.compress(xmp(8))[:-1], b"\1\0"),
        "iTXt, no text": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0de"),
        "iTXt, key alone": chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
        "iTXt of another key": international(xmp(8), key=b"XML:com.adobe.xm"),
        "tEXt with XMP": chunk(b"tEXt", b"XML:com.adobe.xmp\0" + xmp(8)),
    }.items():
        yield Odd(name, png(IHDR, each, IDAT, IEND), 1)


def split_pixels(parts: int, between: bytes = b"") -> list[bytes]:
    packed = zlib.compress(ROWS)
    at = [len(packed) * i // parts for i in range(parts + 1)]
    pieces = [chunk(b"IDAT", packed[at[i] : at[i + 1]]) for i in range(parts)]
    return [pieces[0], *(each for piece in pieces[1:] for each in (between, piece))]


def png_chunks() -> Iterator[Odd]:
    grey = chunk(b"IHDR", header(8, 0))
    for name, each in {"IHDR": IHDR, "IDAT": IDAT, "IEND": IEND, "gAMA": chunk(b"gAMA", b"\0\0\xb1\x8f")}.items():
        bad = each[:-4] + bytes(4)
        parts = [bad if part == each else part for part in (IHDR, each if name == "gAMA" else b"", IDAT, IEND)]
        yield Odd(f"wrong CRC of {name}", png(*parts), 0)
    harmless = {
        "gAMA, short": chunk(b"gAMA", b"\0"), "cHRM, short": chunk(b"cHRM", b"\0" * 3), "pHYs, empty": chunk(b"pHYs"),
        "sRGB, empty": chunk(b"sRGB"), "tRNS": chunk(b"tRNS", bytes(6)), "tRNS, short": chunk(b"tRNS", b"\0"),
        "iCCP": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")), "iCCP, damaged": chunk(b"iCCP", b"x\0\0abc"),
        "iCCP of method 1": chunk(b"iCCP", b"x\0\1"), "iCCP, no key": chunk(b"iCCP", b"abc"),
        "acTL": chunk(b"acTL", struct.pack(">II", 2, 0)), "acTL, short": chunk(b"acTL", b"\0"),
        "fcTL of a part": chunk(b"acTL", struct.pack(">II", 1, 0))
        + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 3, 3, 1, 1, 1, 1, 0, 0)),
        "fcTL, short": chunk(b"fcTL", b"\0"), "fdAT first": chunk(b"fdAT", bytes(4) + zlib.compress(ROWS)),
        "unknown": chunk(b"abCd", b"anything"), "unknown, not to be copied": chunk(b"abCD", b"anything"),
        "PLTE in colour": chunk(b"PLTE", bytes(6)), "PLTE in colour, odd": chunk(b"PLTE", bytes(5)),
        "bKGD": chunk(b"bKGD", bytes(6)), "hIST": chunk(b"hIST", bytes(2)), "sBIT, odd": chunk(b"sBIT", bytes(9)),
        "zTXt, damaged": chunk(b"zTXt", b"k\0\0abc"), "zTXt of method 9": chunk(b"zTXt", b"k\0\x09"),
        "zTXt of 30 MB": zipped_text(b"k", bytes(30 << 20)), "tEXt without key": chunk(b"tEXt", b"\0abc"),
        "300 chunks": chunk(b"tEXt", b"k\0v") * 300,
    }  # fmt: skip
    for name, each in harmless.items():
        yield Odd(f"{name}, before", png(IHDR, each, IDAT, IEND), 1)
        yield Odd(f"{name}, after", png(IHDR, IDAT, each, IEND), 0 if "PLTE" in name else 1)
    critical = {"ABCD": chunk(b"ABCD"), "CgBI": chunk(b"CgBI", bytes(4)), "second IHDR": IHDR, "JDAT": chunk(b"JDAT")}
    for name, each in critical.items():
        yield Odd(f"{name} before", png(IHDR, each, IDAT, IEND), 0)
        yield Odd(f"{name} after", png(IHDR, IDAT, each, IEND), 0)
    yield Odd("CgBI first", png(chunk(b"CgBI", bytes(4)), IHDR, IDAT, IEND), 0)
    text = chunk(b"tEXt", b"k\0v")
    yield Odd("text within the pixels", png(IHDR, *split_pixels(2, text), IEND), 0)
    yield Odd("pixels in 20 chunks", png(IHDR, *split_pixels(20), IEND), 1)
    yield Odd("empty IDATs", png(IHDR, chunk(b"IDAT"), IDAT, chunk(b"IDAT"), IEND), 1)
    yield Odd("no IEND", png(IHDR, IDAT), 0)
    yield Odd("IEND with a body", png(IHDR, IDAT, chunk(b"IEND", b"abc")), 1)
    yield Odd("no IDAT", png(IHDR, IEND), 0)
    yield Odd("no IHDR", png(IDAT, IEND), 0)
    yield Odd("bytes behind the end", png(IHDR, IDAT, IEND, b"more of them"), 1)
    yield Odd("another image behind the end", 2 * png(IHDR, IDAT, IEND), 1)
    yield Odd("a chunk of 2 GiB", png(IHDR, chunk(b"abCd", b"", length=2**31 - 1), IDAT, IEND), 0)
    yield Odd("a chunk of 4 GiB", png(IHDR, chunk(b"abCd", b"", length=2**32 - 1), IDAT, IEND), 0)
    yield Odd("a name of digits", png(IHDR, chunk(b"ab1d"), IDAT, IEND), 0)
    yield Odd("a name in Latin-1", png(IHDR, chunk(b"ab\xe4d"), IDAT, IEND), 0)
    yield Odd("a palette in grey", png(grey, chunk(b"PLTE", bytes(6)), grey_pixels(), IEND), 1)
    whole = png(IHDR, IDAT, IEND)
    for size in (8, 9, 20, 32, 33, 40, 100, len(whole) - 13, len(whole) - 12, len(whole) - 4, len(whole) - 1):
        yield Odd(f"cut at {size}", whole[:size], 0)


def grey_pixels() -> bytes:
    return chunk(b"IDAT", zlib.compress(rows_of(8, 1)))


def png_headers() -> Iterator[Odd]:
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    valid = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    table = chunk(b"PLTE", noise(256, 3).tobytes())
    for colour in range(8):
        for bits in (0, 1, 2, 3, 4, 8, 16, 32):
            good = bits in valid.get(colour, ()) and (bits, colour) != (16, 0)
            number = samples.get(colour, 1)
            for interlaced in (False, True) if good else (False,):
                rows = adam7(bits, number, 9, 11) if interlaced else rows_of(bits, number, 9, 11)
                start = chunk(b"IHDR", header(bits, colour, 11, 9, b"\0\0" + bytes([interlaced])))
                data = png(start, table, chunk(b"IDAT", zlib.compress(rows)), IEND)
                yield Odd(f"{bits} bits, colour {colour}{', interlaced' * interlaced}", data, int(good))
    for width, height in ((1, 1), (2, 1), (1, 5), (3, 3), (5, 8)):
        start = chunk(b"IHDR", header(8, 2, width, height, b"\0\0\1"))
        rows = zlib.compress(adam7(8, 3, height, width))
        yield Odd(f"interlaced {width} x {height}", png(start, chunk(b"IDAT", rows), IEND), 1)
    for name, rest in {
        "method 1": b"\1\0\0",
        "filters 1": b"\0\1\0",
        "filters 64": b"\0\x40\0",
        "interlace 2": b"\0\0\2",
    }.items():
        yield Odd(name, png(chunk(b"IHDR", header(rest=rest)), IDAT, IEND), 0)
    for width, height in ((0, 5), (5, 0), (2**31, 1), (1, 2**32 - 1), (8193, 6144)):
        yield Odd(f"{width} x {height} pixels", png(chunk(b"IHDR", header(8, 2, width, height)), IDAT, IEND), 0)
    yield Odd("a header of 12 bytes", png(chunk(b"IHDR", header()[:12]), IDAT, IEND), 0)
    yield Odd("a header of 14 bytes", png(chunk(b"IHDR", header() + b"\0"), IDAT, IEND), 0)


def png_pixels() -> Iterator[Odd]:
    packed = zlib.compress(ROWS)
    row = 1 + 3 * WIDTH
    streams = {
        "a row less": (zlib.compress(ROWS[:-row]), 0), "a byte less": (zlib.compress(ROWS[:-1]), 0),
        "half": (zlib.compress(ROWS[: row * 7]), 0), "nothing": (zlib.compress(b""), 0),
        "a row more": (zlib.compress(ROWS + bytes(row)), 0), "a byte more": (zlib.compress(ROWS + b"\0"), 0),
        "a megabyte more": (zlib.compress(ROWS + bytes(1 << 20)), 0), "bytes behind": (packed + b"more", 0),
        "another stream behind": (packed + packed, 0), "no checksum": (packed[:-4], 0),
        "half a checksum": (packed[:-2], 0), "wrong checksum": (packed[:-1] + bytes([packed[-1] ^ 1]), 0),
        "no zlib": (b"abcdefgh" * 9, 0), "empty": (b"", 0), "stored": (zlib.compress(ROWS, 0), 1),
        "raw deflate": (packed[2:-4], 0), "gzip": (b"\x1f\x8b" + packed[2:], 0), "cut": (packed[: len(packed) // 2], 0),
        "window of 64 kB": (b"\x88\x1c" + packed[2:], 0), "small window": (small_window(9), None),
        "a dictionary": (with_dictionary(), 0), "many empty blocks": (empty_blocks(), 1),
    }  # fmt: skip
    for name, (stream, seen) in streams.items():
        yield Odd(f"pixels: {name}", png(IHDR, chunk(b"IDAT", stream), IEND), seen)
    for number in (5, 6, 255):
        rows = bytes([number]) + ROWS[1:]
        yield Odd(f"filter {number}", png(IHDR, chunk(b"IDAT", zlib.compress(rows)), IEND), 0)
        rows = ROWS[:-row] + bytes([number]) + ROWS[1 - row :]
        yield Odd(f"filter {number} of the last row", png(IHDR, chunk(b"IDAT", zlib.compress(rows)), IEND), 0)


def small_window(bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(ROWS) + packer.flush()


def with_dictionary() -> bytes:
    packer = zlib.compressobj(zdict=ROWS[:100])
    return packer.compress(ROWS) + packer.flush()


def empty_blocks() -> bytes:
    packer = zlib.compressobj()
    half = len(ROWS) // 2
    start = packer.compress(ROWS[:half])
    return (
        start
        + b"".join(packer.flush(zlib.Z_FULL_FLUSH) for _ in range(5))
        + packer.compress(ROWS[half:])
        + packer.flush()
    )


def png_palettes() -> Iterator[Odd]:
    for bits in (1, 2, 4, 8):
        start = chunk(b"IHDR", header(bits, 3, 11, 9))
        pixels = chunk(b"IDAT", zlib.compress(rows_of(bits, 1, 9, 11, 1)))
        yield Odd(f"no palette, {bits} bits", png(start, pixels, IEND), 0)
        for colours in (0, 1, 2, 3, 5, 16, 17, 256, 257):
            table = chunk(b"PLTE", noise(max(colours, 1), 3)[:colours].tobytes())
            seen = 1 if 0 < colours <= 256 else 0
            yield Odd(f"{colours} colours, {bits} bits", png(start, table, pixels, IEND), seen)
        yield Odd(f"palette of 7 bytes, {bits} bits", png(start, chunk(b"PLTE", bytes(7)), pixels, IEND), 0)
    start, table = chunk(b"IHDR", header(8, 3)), chunk(b"PLTE", noise(9, 3).tobytes())
    yield Odd("palette after the pixels", png(start, grey_pixels(), table, IEND), 0)
    yield Odd("two palettes", png(start, table, table, grey_pixels(), IEND), 0)
    for alphas in (1, 9, 10, 256, 300):
        opacity = chunk(b"tRNS", bytes(alphas))
        yield Odd(f"{alphas} alphas", png(start, table, opacity, grey_pixels(), IEND), 1)
    yield Odd("alphas before the palette", png(start, chunk(b"tRNS", b"\0\1"), table, grey_pixels(), IEND), 1)


# JPEG


def segment(code: int, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(body) + 2 if length is None else length) + body


def app1(exif: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + exif)


def xmp_segment(packet: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def without_jfif(jpeg: bytes) -> bytes:
    return jpeg[:2] + jpeg[jpeg.index(b"\xff\xdb") :]


def frame_of(jpeg: bytes) -> int:
    """Where the frame's marker is."""
    return max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def jpeg_metadata() -> Iterator[Odd]:
    plain = encoded(picture(), "JPEG")
    for name, exif, seen in exif_cases():
        yield Odd(f"APP1, {name}", with_segments(plain, app1(exif)), seen)
    for name, packet, seen in xmp_cases():
        yield Odd(f"APP1, XMP, {name}", with_segments(plain, xmp_segment(packet)), seen)
    yield Odd("EXIF 0, XMP 6", with_segments(plain, app1(turn(0)), xmp_segment(xmp(6))), 6)
    yield Odd("EXIF 3, XMP 6", with_segments(plain, app1(turn(3)), xmp_segment(xmp(6))), 3)
    yield Odd("XMP 6, EXIF 3", with_segments(plain, xmp_segment(xmp(6)), app1(turn(3))), 3)
    yield Odd("EXIF 6, EXIF 3", with_segments(plain, app1(turn(6)), app1(turn(3))), 6)
    yield Odd("EXIF 0, EXIF 3", with_segments(plain, app1(turn(0)), app1(turn(3))), 1)
    yield Odd("EXIF in two segments", with_segments(plain, app1(turn(6)[:12]), app1(turn(6)[12:])), 1)
    yield Odd("XMP 6, XMP 3", with_segments(plain, xmp_segment(xmp(6)), xmp_segment(xmp(3))), 6)
    yield Odd("XMP 0, XMP 3", with_segments(plain, xmp_segment(xmp(0)), xmp_segment(xmp(3))), 1)
    yield Odd("EXIF in APP2", with_segments(plain, segment(0xE2, b"Exif\0\0" + turn(6))), 1)
    yield Odd("EXIF with another start", with_segments(plain, segment(0xE1, b"Exif\0\xff" + turn(6))), 1)
    yield Odd("EXIF in lower case", with_segments(plain, segment(0xE1, b"exif\0\0" + turn(6))), 1)
    yield Odd("XMP without its zero", with_segments(plain, segment(0xE1, b"http://ns.adobe.com/xap/1.0/" + xmp(6))), 1)
    yield Odd("EXIF behind the end", plain + app1(turn(6)), 1)
    scan = plain.index(b"\xff\xda")
    yield Odd("EXIF before the scan", plain[:scan] + app1(turn(6)) + plain[scan:], 6)
    yield Odd("EXIF after the scan", plain[:-2] + app1(turn(6)) + plain[-2:], 1)
    yield Odd("XMP of 65 kB", with_segments(plain, xmp_segment(bytes(65000) + xmp(6))), 6)


def jpeg_structure() -> Iterator[Odd]:
    plain = encoded(picture(), "JPEG", quality=90)
    scan, frame = plain.index(b"\xff\xda"), frame_of(plain)
    harmless = {
        "fill bytes": b"\xff" * 20, "stray bytes": b"some bytes", "stuffed bytes": b"\xff\0\xff\0",
        "restarts": b"\xff\xd0\xff\xd7", "TEM": b"\xff\x01", "comment": segment(0xFE, b"a comment"),
        "empty comment": segment(0xFE),
        "short JFIF": segment(0xE0, b"JFIF\0"), "very short JFIF": segment(0xE0, b"JFIF"),
        "JFXX": segment(0xE0, b"JFXX\0\x10"),
        "MPF": segment(0xE2, b"MPF\0II*\0\x08\0\0\0\0\0"), "ICC": segment(0xE2, b"ICC_PROFILE\0\1\1abc"),
        "ICC, short": segment(0xE2, b"ICC_PROFILE\0"),
        "Photoshop": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\1a"),
        "Photoshop, cut": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03"), "short Adobe": segment(0xEE, b"Adobe\0"),
        "FlashPix": segment(0xE2, b"FPXR\0"), "DAC": segment(0xCC, b"\0\x10"), "DNL": segment(0xDC, b"\0\x0e"),
        "200 segments": segment(0xEF, b"x") * 200,
    }  # fmt: skip
    for name, each in harmless.items():
        yield Odd(f"{name} first", with_segments(plain, each), 0 if name == "stray bytes" else 1)
        yield Odd(f"{name} before the scan", plain[:scan] + each + plain[scan:], 1)
        yield Odd(f"{name} before the end", plain[:-2] + each + plain[-2:], None)
    for code in (0x02, 0xBF, 0xC3, 0xC5, 0xC8, 0xC9, 0xCA, 0xCB, 0xCF, 0xD8, 0xD9, 0xDE, 0xDF, 0xF0, 0xF7, 0xFD):
        yield Odd(f"marker {code:#x} first", with_segments(plain, segment(code, b"ab")), 0)
        yield Odd(
            f"marker {code:#x} before the end", plain[:-2] + segment(code, b"ab") + plain[-2:], 1 if code == 0xD9 else 0
        )
    for code in (0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF):
        yield Odd(f"frame of {code:#x}", changed(plain, frame + 1, bytes([code])), {0xC1: 1, 0xC2: None}.get(code, 0))
    yield Odd("a length of 1", with_segments(plain, segment(0xFE, b"", 1)), 0)
    yield Odd("a length of 0", with_segments(plain, segment(0xFE, b"", 0)), 0)
    yield Odd("a length past the end", with_segments(plain, segment(0xFE, b"", 65535)), 0)
    yield Odd("two frames", plain[:frame] + plain[frame : frame + 19] * 2 + plain[frame + 19 :], 0)
    yield Odd("no frame", plain[:frame] + plain[frame + 19 :], 0)
    yield Odd("no scan", plain[:scan] + plain[-2:], 0)
    yield Odd("12 bits", changed(plain, frame + 4, b"\x0c"), 0)
    yield Odd("16 bits", changed(plain, frame + 4, b"\x10"), 0)
    for layers in (0, 1, 2, 4, 5, 255):
        yield Odd(f"{layers} layers that are three", changed(plain, frame + 9, bytes([layers])), 0)
    for height, width in ((0, WIDTH), (HEIGHT, 0), (65535, 65535), (9000, 9000)):
        yield Odd(f"{width} x {height}", changed(plain, frame + 5, struct.pack(">HH", height, width)), 0)
    yield Odd("more rows than there are", changed(plain, frame + 5, struct.pack(">H", 40)), None)
    yield Odd("fewer rows than there are", changed(plain, frame + 5, struct.pack(">H", 7)), None)
    for at, name in ((frame + 11, "sampling"), (frame + 12, "table")):
        for value in (0, 1, 3, 5, 0x12, 0x21, 0x22, 0x31, 0x41, 0x44, 0x55):
            yield Odd(f"{name} {value:#x}", changed(plain, at, bytes([value])), None)
    yield Odd("bytes behind the end", plain + b"more of them", 1)
    yield Odd("another image behind the end", plain + encoded(picture()[::-1], "JPEG"), 1)
    yield Odd("two ends", plain + b"\xff\xd9", 1)
    yield Odd("four fill bytes before the end", plain[:-2] + b"\xff\xff\xff\xff\xd9", 1)
    for size in (3, 4, 10, 30, 100, frame + 3, scan - 1, scan, scan + 3, scan + 20, len(plain) - 2, len(plain) - 1):
        yield Odd(f"cut at {size}", plain[:size], 0)
        if size > scan + 10:
            yield Odd(f"cut at {size}, and ended", plain[:size] + b"\xff\xd9", None)


def jpeg_colours() -> Iterator[Odd]:
    colour, grey = encoded(picture(), "JPEG", subsampling=0), encoded(picture()[..., 0], "JPEG")
    inks = encoded(noise(HEIGHT, WIDTH, 4), "JPEG", "CMYK", quality=95)
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    for name, jpeg in {"colour": colour, "grey": grey, "inks": inks}.items():
        bare = b"\xff\xd8" + jpeg[jpeg.index(b"\xff\xdb") :]
        yield Odd(f"{name} without a word", bare, 1)
        yield Odd(f"{name} with JFIF", with_segments(bare, jfif), 1)
        for transform in (0, 1, 2, 3, 255):
            adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
            yield Odd(f"{name}, Adobe {transform}", with_segments(bare, adobe), 1)
            yield Odd(f"{name}, JFIF, Adobe {transform}", with_segments(bare, jfif, adobe), 1)
            yield Odd(f"{name}, Adobe {transform}, JFIF", with_segments(bare, adobe, jfif), 1)
        yield Odd(
            f"{name}, two Adobes",
            with_segments(bare, segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"), segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")),
            1,
        )
    bare = without_jfif(colour)
    frame, scan = frame_of(bare), bare.index(b"\xff\xda")
    for letters in (b"RGB", b"rgb", b"\0\1\2", b"\1\2\2", b"\x01\x22\x23", b"YCC"):
        data = bytearray(bare)
        for i, letter in enumerate(letters):
            data[frame + 10 + 3 * i] = data[scan + 5 + 2 * i] = letter
        yield Odd(f"components {letters!r}", bytes(data), None)


def jpeg_scans() -> Iterator[Odd]:
    coarse = encoded(picture(40, 48), "JPEG", progressive=True)
    starts = [at for at in range(len(coarse)) if coarse[at : at + 2] == b"\xff\xda"]
    for i, at in enumerate(starts):
        tables = coarse.rfind(b"\xff\xc4", 0, at)
        yield Odd(f"progressive, {i} scans", coarse[:tables] + b"\xff\xd9", 0)
        yield Odd(f"progressive, cut in scan {i}", coarse[: at + 30] + b"\xff\xd9", None if at == starts[-1] else 0)
        yield Odd(f"progressive, scan {i} left out", coarse[:at] + coarse[[*starts, len(coarse) - 2][i + 1] :], None)
    last = coarse[starts[-1] : -2]
    for repeats in (2, 50, 99, 100, 200):
        total = len(starts) + repeats
        yield Odd(f"{total} scans", coarse[:-2] + last * repeats + b"\xff\xd9", 0 if total > 100 else None)
    rows = encoded(picture(40, 48), "JPEG", restart_marker_blocks=1)
    scan = rows.index(b"\xff\xda")
    yield Odd("restarts", rows, 1)
    for number in (0, 3, 7):
        at = rows.index(bytes([0xFF, 0xD0 + number]), scan)
        yield Odd(f"restart {number} left out", rows[:at] + rows[at + 2 :], None)
        yield Odd(f"restart {number} twice", rows[:at] + rows[at : at + 2] + rows[at:], None)
        yield Odd(f"restart {number} out of turn", changed(rows, at + 1, b"\xd5"), None)


def damaged() -> Iterator[Odd]:
    """Bytes changed at random."""
    rng = np.random.default_rng(1)
    files = {
        "JPEG": encoded(picture(), "JPEG"),
        "4:4:4": encoded(picture(), "JPEG", subsampling=0),
        "progressive": encoded(picture(), "JPEG", progressive=True),
        "PNG": encoded(picture(), "PNG"),
        "interlaced": png(
            chunk(b"IHDR", header(8, 2, 11, 9, b"\0\0\1")), chunk(b"IDAT", zlib.compress(adam7(8, 3, 9, 11))), IEND
        ),
    }
    for name, whole in files.items():
        for i in range(25):
            data = bytearray(whole)
            for at in rng.integers(2, len(data), 2):
                data[at] = rng.integers(0, 256)
            yield Odd(f"{name}, damage {i}", bytes(data), None)


def odd_images() -> list[Odd]:
    """All of them; the sizes and colours of most are those of `picture()`."""
    kinds = {
        "png": (png_metadata, png_chunks, png_headers, png_pixels, png_palettes),
        "jpeg": (jpeg_metadata, jpeg_structure, jpeg_colours, jpeg_scans),
        "damaged": (damaged,),
    }
    odds = [(kind, each) for kind, makers in kinds.items() for make in makers for each in make()]
    return [Odd(f"{kind}: {each.name}", each.data, each.seen) for kind, each in odds]
