"""WAV files to samples: our own reader, within limits, so that both runtimes read and refuse the same.

A file is "RIFF", a size, "WAVE", and chunks of a name (4 bytes), a size (4 bytes, little-endian) and as many bytes,
filled up to an even number. Of these "fmt " says what the samples are, and "data" holds them, one frame (a sample of
each channel) after the other. With b bits, a whole number p is the sample

    x = p / 2^(b - 1),    for b = 8 (p - 128) / 2^7

which is exact in float32 but for b = 32, where it is rounded to nearest: what libsndfile gives. Sizes are compared with
the file before anything is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from hamsa_runtime.errors import InputError

# Above any file that somebody has; a chunk of no size takes eight bytes of a file.
MOST_CHUNKS = 1000
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# What follows the tag in the GUID of an extensible format.
GUID = bytes.fromhex("000000001000800000aa00389b71")
BITS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}
SAMPLES = "PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64"
# Samples that are converted at a time.
PIECE = 1 << 16


@dataclass(frozen=True)
class WavHeader:
    """What a file says of its samples: how many channels, how many of each in a second, as what, and where."""

    sample_rate: int
    channels: int
    kind: int
    bits: int
    start: int
    frames: int


def wav_header(file: BinaryIO, name: str) -> WavHeader:
    """Reads everything but the samples.

    Args:
        file: open, of bytes.
        name: what errors call it.

    Raises:
        InputError: the file is damaged, or its samples are of another kind than those above.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(12)
    described = None
    for kind, start, length in _chunks(file, size, name):
        if kind == b"fmt ":
            described = _described(file.read(min(length, 40)), name)
        elif kind == b"data":
            if described is None:
                raise damaged(name, "its samples come before what they are")
            return _checked(described, start, length, size, name)
    raise damaged(name, "no samples")


def wav_pieces(file: BinaryIO, header: WavHeader) -> Iterator[np.ndarray]:
    """The samples, float32 (frames, channels), some at a time."""
    frame = header.channels * header.bits // 8
    step = max(1, PIECE // header.channels)
    file.seek(header.start)
    for done in range(0, header.frames, step):
        data = file.read(min(step, header.frames - done) * frame)
        yield _floats(data, header).reshape(-1, header.channels)


def damaged(name: str, found: str) -> InputError:
    """The error for a file that is not whole."""
    return InputError(f"{name}: the clip is damaged ({found})", expected="a whole WAV or FLAC file")


def _chunks(file: BinaryIO, size: int, file_name: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each."""
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = head[:4], int.from_bytes(head[4:], "little")
        start = file.tell()
        yield name, start, length
        if start + length > size:
            raise damaged(file_name, f"{length} bytes declared where {size - start} are left")
        file.seek(start + length + length % 2)
    raise damaged(file_name, f"more than {MOST_CHUNKS} chunks")


def _described(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Kind, channels, samples per second and bits."""
    if len(data) < 16:
        raise damaged(name, f"{len(data)} bytes of format")
    kind, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", data[:16])
    if kind == EXTENSIBLE and len(data) == 40 and data[26:] == GUID:
        kind = int.from_bytes(data[24:26], "little")
    if bits not in BITS.get(kind, ()):
        raise InputError(
            f"{name}: samples of the kind {kind} with {bits} bits",
            expected=SAMPLES,
            cause="a compressed WAV file",
            fix="sox in.wav -b 16 -e signed out.wav",
        )
    if channels < 1 or rate < 1 or frame != channels * bits // 8:
        raise damaged(name, f"{channels} channels, {rate} Hz, {frame} bytes of {bits}-bit samples")
    return kind, channels, rate, bits


def _checked(described: tuple[int, int, int, int], start: int, length: int, size: int, name: str) -> WavHeader:
    kind, channels, rate, bits = described
    if start + length > size:
        cause = "its size was never written, as of a stream" if length >= 0xFFFFFF00 else "it was cut off"
        raise InputError(
            f"{name}: the clip is damaged ({length} bytes of samples declared, {size - start} there)",
            expected="a whole WAV or FLAC file",
            cause=cause,
            fix="sox --ignore-length in.wav out.wav",
        )
    frame = channels * bits // 8
    if length % frame:
        raise damaged(name, f"{length} bytes of samples, of {frame} each")
    return WavHeader(rate, channels, kind, bits, start, length // frame)


def _floats(data: bytes, header: WavHeader) -> np.ndarray:
    """float32, one channel after the other."""
    if header.kind == FLOAT:
        with np.errstate(over="ignore"):  # infinity, which is refused
            return np.frombuffer(data, f"<f{header.bits // 8}").astype(np.float32)
    if header.bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    width = header.bits // 8
    whole = np.zeros((len(data) // width, 4), np.uint8)
    whole[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
    return whole.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)
