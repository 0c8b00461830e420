"""Odd BMP and WebP files, written by hand where Pillow cannot: `odd_bmps()` and `odd_webps()`, always the same."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from .odd_images import HEIGHT, WIDTH, Odd, changed, encoded, exif_cases, noise, picture, turn, xmp, xmp_cases

# BMP

USUAL_MASKS = (0xFF0000, 0xFF00, 0xFF)
BITS = (1, 4, 8, 24, 32)


def bmp(
    bits: int = 24,
    width: int = WIDTH,
    height: int = HEIGHT,
    *,
    header: int = 40,
    packing: int = 0,
    masks: tuple[int, ...] = (),
    colours: int = 0,
    table: int | None = None,
    gap: int = 0,
    planes: int = 1,
    cut: int = 0,
) -> bytes:
    """Noise; indices have a palette of `table` colours, or of as many as it says; `cut` bytes are missing."""
    known = table if table is not None else (colours or 1 << bits if bits <= 8 else colours)
    row, rows = (max(width, 0) * bits + 31) // 32 * 4, abs(height)
    behind = struct.pack(f"<{len(masks)}I", *masks)
    fields = struct.pack("<IiiHHIIiiII", header, width, height, planes, bits, packing, 0, 2835, 2835, colours, 0)
    head = (fields + behind).ljust(header, b"\0") if header >= 40 else fields[:header]
    head += noise(known, 4).tobytes() + bytes(gap)
    body = noise(rows, row).tobytes() if row * rows < 1 << 20 else b""
    data = b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body
    return data[: len(data) - cut]


def odd_bmps() -> Iterator[Odd]:
    for bits in BITS:
        for height in (HEIGHT, -HEIGHT):
            for width in (1, 2, 7, 8, 9, WIDTH):
                yield Odd(f"{bits} bits, {width} x {height}", bmp(bits, width, height), 1)
        for header in (12, 16, 39, 40, 41, 52, 56, 64, 108, 124, 125, 0, 2**32 - 1):
            good = header in (40, 52, 56, 108, 124)
            size = header if header < 1000 else 40
            data = changed(bmp(bits, header=size), 14, struct.pack("<I", header))
            yield Odd(f"{bits} bits, header of {header}", data, int(good))
        yield Odd(f"{bits} bits, a gap", bmp(bits, gap=1000), 1)
        yield Odd(f"{bits} bits, two planes", bmp(bits, planes=2), 1)
        yield Odd(f"{bits} bits, more behind", bmp(bits) + b"more", 1)
        for cut in (1, 2, 3, 4, 60, 200):
            yield Odd(f"{bits} bits, {cut} bytes missing", bmp(bits, 21, cut=cut), 0)
    for bits in (0, 2, 3, 5, 15, 16, 31, 33, 48, 64, 65535):
        yield Odd(f"{bits} bits", bmp(bits), 0)
    for packing in (1, 2, 4, 5, 6, 11, 12, 13, 2**32 - 1):
        for bits in (*BITS, 16):
            yield Odd(f"{bits} bits, compression {packing}", bmp(bits, packing=packing, masks=USUAL_MASKS), 0)
    yield from _masks()
    yield from _palettes()
    yield from _sizes()
    yield Odd("Pillow's in colour", encoded(picture(), "BMP"), 1)
    yield Odd("Pillow's in grey", encoded(picture()[..., 0], "BMP"), 1)
    yield Odd("Pillow's with alpha", encoded(noise(HEIGHT, WIDTH, 4), "BMP", "RGBA"), 1)
    whole = bmp(8)
    for size in (2, 3, 10, 14, 17, 18, 30, 53, 54, 55, 500, 1077, 1078, 1079):
        yield Odd(f"cut at {size}", whole[:size], 0)
    for start in (0, 1, 53, 54, 60, 2**31, 2**32 - 1, len(whole)):
        yield Odd(f"pixels from {start}", changed(whole, 10, struct.pack("<I", start)), int(start < 61))
    yield Odd("a lie of the file's size", changed(whole, 2, b"\xff\xff\xff\xff"), 1)
    yield Odd("a lie of the pixels' size", changed(whole, 34, b"\xff\xff\xff\xff"), 1)
    yield Odd("another letter", b"BA" + whole[2:], 0)


def _masks() -> Iterator[Odd]:
    for header in (40, 52, 56, 108, 124):
        more = header - 40 if header > 40 else 0
        for name, masks in {
            "usual": USUAL_MASKS, "usual and alpha": (*USUAL_MASKS, 0xFF000000), "none": (0, 0, 0),
            "turned round": USUAL_MASKS[::-1], "565": (0xF800, 0x7E0, 0x1F), "555": (0x7C00, 0x3E0, 0x1F),
            "10 bits": (0x3FF00000, 0xFFC00, 0x3FF), "overlapping": (0xFF0000, 0xFF00, 0xFF00),
        }.items():  # fmt: skip
            if header == 40 or 4 * len(masks) <= more:
                good = name.startswith("usual")
                for bits in (16, 24, 32):
                    data = bmp(bits, header=header, packing=3, masks=masks)
                    yield Odd(f"header {header}, {bits} bits, masks {name}", data, int(good and bits == 32))


def _palettes() -> Iterator[Odd]:
    for bits in (1, 4, 8):
        for colours in (1, 2, 3, 5, 15, 16, 17, 255, 256, 257, 300):
            yield Odd(f"{bits} bits, {colours} colours", bmp(bits, colours=colours), 1)
        for colours in (2**31, 2**32 - 1):
            yield Odd(f"{bits} bits, says {colours} colours", bmp(bits, colours=colours, table=1 << bits), 1)
        yield Odd(f"{bits} bits, a palette that is cut", bmp(bits, colours=0, table=1)[:59], 0)
        # What follows is taken for colours: the rows are long enough.
        yield Odd(f"{bits} bits, a palette that reaches into the pixels", bmp(bits, 64, 64, table=1), 1)
    yield Odd("a palette of 24 bits", bmp(24, colours=256), 1)


def _sizes() -> Iterator[Odd]:
    least, most = -(2**31), 2**31 - 1
    for width, height in (
        (0, 5), (5, 0), (-5, 5), (least, 1), (1, least), (most, 1), (1, most), (1, -most), (most, most), (8193, 6144),
    ):  # fmt: skip
        for bits in BITS:
            yield Odd(f"{bits} bits, {width} x {height} pixels", bmp(bits, width, height), 0)
    for bits in BITS:
        data = bmp(bits)
        yield Odd(f"{bits} bits, a row too many", changed(data, 22, struct.pack("<i", HEIGHT + 1)), 0)
        yield Odd(f"{bits} bits, a row less", changed(data, 22, struct.pack("<i", HEIGHT - 1)), 1)
        yield Odd(f"{bits} bits, wider", changed(data, 18, struct.pack("<i", 8 * WIDTH)), 0)


# WebP


def part(name: bytes, body: bytes, length: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if length is None else length) + body + bytes(len(body) % 2)


def webp(*parts: bytes, length: int | None = None) -> bytes:
    inside = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(inside) if length is None else length) + inside


def canvas(flags: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return part(b"VP8X", bytes([flags, 0, 0, 0]) + _three(width - 1) + _three(height - 1))


def _three(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def frame(*parts: bytes, left: int = 0, top: int = 0, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return part(b"ANMF", b"".join(map(_three, (left, top, width - 1, height - 1, 100))) + b"\0" + b"".join(parts))


def body_of(data: bytes, name: bytes) -> bytes:
    at = data.index(name) + 8
    return data[at : at + int.from_bytes(data[at - 4 : at], "little")]


def pictures() -> dict[str, bytes]:
    """A chunk of each kind, of the size of `picture()`."""
    lossless = body_of(encoded(picture(), "WEBP", lossless=True), b"VP8L")
    clear = body_of(encoded(noise(HEIGHT, WIDTH, 4), "WEBP", "RGBA", lossless=True, exact=True), b"VP8L")
    return {
        "lossy": part(b"VP8 ", body_of(encoded(picture(), "WEBP"), b"VP8 ")),
        "lossless": part(b"VP8L", lossless),
        "lossless with alpha": part(b"VP8L", clear),
    }


def odd_webps() -> Iterator[Odd]:
    every = pictures()
    for name, each in every.items():
        yield Odd(f"{name} alone", webp(each), 1)
        yield Odd(f"{name}, turned, in front", webp(canvas(8), part(b"EXIF", turn(6)), each), 6)
        for chunk, flag, text in ((b"EXIF", 8, turn(6)), (b"XMP ", 4, xmp(6))):
            said = part(chunk, text)
            yield Odd(f"{name}, {chunk!r}", webp(canvas(flag), each, said), 6)
            yield Odd(f"{name}, {chunk!r} without its flag", webp(canvas(0), each, said), 1)
            yield Odd(f"{name}, {chunk!r} without VP8X", webp(each, said), 1)
            yield Odd(f"{name}, {chunk!r} behind the end", webp(canvas(flag), each) + said, 1)
            yield Odd(f"{name}, two of {chunk!r}", webp(canvas(flag), each, said, part(chunk, turn(3))), 6)
        yield from _canvases(name, each)
        yield from _animations(name, each)
        yield from _damaged(name, each)
    lossy, lossless = every["lossy"], every["lossless"]
    yield Odd("two pictures", webp(canvas(0), lossless, lossy), 1)
    yield Odd("two pictures without VP8X", webp(lossless, lossy), 1)
    alpha = part(b"ALPH", b"\0" + bytes(WIDTH * HEIGHT))
    for flags in (0, 0x10):
        yield Odd(f"alpha, flags {flags}", webp(canvas(flags), alpha, lossy), 1)
        yield Odd(f"alpha, damaged, flags {flags}", webp(canvas(flags), part(b"ALPH", b"\xff"), lossy), 1)
    yield Odd("alpha without VP8X", webp(alpha, lossy), 0)
    yield Odd("Pillow's with alpha", encoded(noise(HEIGHT, WIDTH, 4), "WEBP", "RGBA", quality=70), 1)
    yield Odd("an unknown chunk", webp(canvas(0), part(b"abcd", b"x"), lossy), 1)
    yield Odd("an unknown chunk first", webp(part(b"abcd", b"x"), lossy), 0)
    yield Odd("a profile", webp(canvas(0x20), part(b"ICCP", b"no profile"), lossy), 1)
    for count in (300, 65534, 65535):
        yield Odd(f"{count} chunks more", webp(canvas(0), lossy, b"abcd\0\0\0\0" * count), int(count < 65535))
    yield Odd("nothing", webp(), 0)
    yield Odd("VP8X alone", webp(canvas(0)), 0)
    yield Odd("a short VP8X", webp(part(b"VP8X", bytes(9)), lossy), 0)
    yield Odd("a longer VP8X", webp(part(b"VP8X", canvas(0)[8:] + b"more"), lossy), 1)
    for exif_name, exif, seen in list(exif_cases())[::4]:
        yield Odd(f"EXIF, {exif_name}", webp(canvas(8), lossy, part(b"EXIF", exif)), seen)
    for xmp_name, packet, seen in list(xmp_cases())[::2]:
        yield Odd(f"XMP, {xmp_name}", webp(canvas(4), lossy, part(b"XMP ", packet)), seen)
    yield Odd("EXIF 0, XMP 6", webp(canvas(12), lossy, part(b"EXIF", turn(0)), part(b"XMP ", xmp(6))), 6)
    yield Odd("EXIF 3, XMP 6", webp(canvas(12), lossy, part(b"XMP ", xmp(6)), part(b"EXIF", turn(3))), 3)


def _canvases(name: str, each: bytes) -> Iterator[Odd]:
    for width, height in ((WIDTH + 1, HEIGHT), (WIDTH, HEIGHT - 1), (1, 1), (1 << 24, 1), (1 << 24, 1 << 24)):
        yield Odd(f"{name}, canvas of {width} x {height}", webp(canvas(0, width, height), each), 0)
    for length in (0, 3, 4, 11, 12, 30, len(each) + 3, len(each) + 5, 2**32 - 1):
        good = length == len(each) + 4 - len(each) % 2
        yield Odd(f"{name}, RIFF says {length}", webp(each, length=length), int(good))
    yield Odd(f"{name}, more behind", webp(each) + b"more of them", 1)


def _animations(name: str, each: bytes) -> Iterator[Odd]:
    control = part(b"ANIM", bytes(6))
    yield Odd(f"{name}, animated", webp(canvas(2), control, frame(each), frame(each)), 1)
    yield Odd(f"{name}, animated, no ANIM", webp(canvas(2), frame(each)), 1)
    yield Odd(f"{name}, animated, turned", webp(canvas(10), control, frame(each), part(b"EXIF", turn(8))), 8)
    yield Odd(f"{name}, animated, no frame", webp(canvas(2), control, each), 0)
    yield Odd(f"{name}, frames without the flag", webp(canvas(0), control, frame(each)), 0)
    yield Odd(f"{name}, frame without a picture", webp(canvas(2), control, frame()), 0)
    yield Odd(f"{name}, frame of 15 bytes", webp(canvas(2), control, part(b"ANMF", bytes(15))), 0)
    yield Odd(f"{name}, a part of the canvas", webp(canvas(2, WIDTH + 2), control, frame(each)), 0)
    yield Odd(f"{name}, moved", webp(canvas(2), control, frame(each, left=1)), 0)
    yield Odd(f"{name}, another size than its frame", webp(canvas(2, 5, 5), control, frame(each, width=5, height=5)), 0)


def _damaged(name: str, each: bytes) -> Iterator[Odd]:
    body = each[8:]
    for size in (0, 1, 4, 5, 9, 10, 11, 20, len(body) // 2, len(body) - 8):
        yield Odd(f"{name}, picture cut at {size}", webp(part(each[:4], body[:size])), 0)
        yield Odd(f"{name}, file cut at {12 + size}", webp(each)[: 12 + size], 0)
    yield Odd(f"{name}, length past the end", webp(part(each[:4], body, 2**32 - 1)), 0)
    yield Odd(f"{name}, as the other kind", webp(part(b"VP8 " if each[3:4] == b"L" else b"VP8L", body)), 0)
    rng = np.random.default_rng(len(body))
    for i in range(25):
        data = bytearray(body)
        for at in rng.integers(0, len(data) if i % 2 else 16, 2):
            data[at] = rng.integers(0, 256)
        yield Odd(f"{name}, damage {i}", webp(part(each[:4], bytes(data))), None)


def odd_bmps_and_webps() -> list[Odd]:
    odds = [("bmp", each) for each in odd_bmps()] + [("webp", each) for each in odd_webps()]
    return [Odd(f"{kind}: {each.name}", each.data, each.seen) for kind, each in odds]
