"""Arrays in .npy and .npz files from somebody else: nothing is allocated that the file does not hold.

The format is numpy's (numpy.lib.format, versions 1 to 3): 6 bytes of magic, 2 of version, the length of the header (2
bytes, or 4), the header (a Python dict of descr, fortran_order and shape), and the values. An .npz file is a zip
archive of them. Read here and not by `numpy.load`, which allocates what a header says, takes archives that grow a
thousand times, and fails in as many ways as the modules below it.
"""

from __future__ import annotations

import ast
import contextlib
import lzma
import math
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from hamsa_runtime.errors import InputError

MAGIC = b"\x93NUMPY"
# Numpy writes 118 bytes for most arrays; its own limit.
MAX_HEADER_BYTES = 10_000
MAX_DIMENSIONS = 32
# Plain numbers: no objects, whose loading runs code, no texts, dates and records.
NUMBER = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)", re.ASCII)

MAX_MEMBERS = 1000
# What all arrays of an archive may take, and how many times as long as in the archive, beyond what is little anyway.
MAX_BYTES = 4 * 2**30
MAX_GROWTH, LITTLE = 100, 64 * 2**20
COMPRESSIONS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
PIECE = 2**20

# What zipfile and the modules below it raise for damaged archives, without a common class.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    KeyError,
    IndexError,
    OverflowError,
)


class Header(NamedTuple):
    """What an .npy file says of its array."""

    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file, which is a regular file.

    Raises:
        InputError: it is damaged, holds no plain numbers, or less than its header says.
    """
    with _damage_reported(path), path.open("rb") as stream:
        return _array(stream, path.stat().st_size, str(path))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name.

    Raises:
        InputError: as `read_npy`; or an archive that is encrypted, compressed in another way than numpy does, holds
            other things than arrays, or grows beyond measure.
    """
    with _damage_reported(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_members(path, members)
        found = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                found[name] = _array(stream, member.file_size, f"{path}: {name!r}")
                while stream.read(PIECE):  # to the end, where the checksum is compared
                    pass
        return found


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise _bad(str(path), f"holds {len(members)} files", f"at most {MAX_MEMBERS} arrays")
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise _bad(str(path), "holds two arrays of one name", "each name once")
    for member in members:
        where = f"{path}: {member.filename!r}"
        if member.flag_bits & 1:
            raise _bad(where, "is encrypted", "an archive as numpy.savez writes it")
        if member.compress_type not in COMPRESSIONS:
            raise _bad(where, f"has the compression {member.compress_type}", " or ".join(COMPRESSIONS.values()))
        if not member.filename.endswith(".npy"):
            raise _bad(where, "is no array", "names that end with .npy, as numpy.savez writes them")
    held, claimed = sum(m.compress_size for m in members), sum(m.file_size for m in members)
    most = min(MAX_BYTES, max(LITTLE, MAX_GROWTH * min(held, path.stat().st_size)))
    if claimed > most:
        raise _bad(str(path), f"grows from {held} to {claimed} bytes", f"at most {most}")


def _array(stream: IO[bytes], size: int, where: str) -> np.ndarray:
    """An array from the beginning of a stream that holds so many bytes."""
    header, start = _header(stream, where)
    if header.nbytes != size - start:
        shown = f"{header.dtype} {header.shape}"
        raise _bad(where, f"says that it holds {shown}, {header.nbytes} bytes, and has {size - start}", "a whole file")
    data = bytearray(header.nbytes)
    view, at = memoryview(data), 0
    while at < len(data):
        piece = stream.read(min(PIECE, len(data) - at))
        if not piece:
            raise _bad(where, f"ends after {at} bytes of {len(data)}", "a whole file")
        view[at : at + len(piece)] = piece
        at += len(piece)
    values = np.frombuffer(data, header.dtype)
    return values.reshape(header.shape, order="F" if header.fortran_order else "C")


def _header(stream: IO[bytes], where: str) -> tuple[Header, int]:
    """The header, and where the values begin."""
    start = stream.read(len(MAGIC) + 2)
    if start[: len(MAGIC)] != MAGIC or len(start) != len(MAGIC) + 2:
        raise _bad(where, "is no .npy file", "an array as numpy.save writes it")
    major = start[len(MAGIC)]
    if major not in (1, 2, 3):
        raise _bad(where, f"has version {major}", "version 1, 2 or 3")
    width = 2 if major == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > MAX_HEADER_BYTES:
        raise _bad(where, f"has a header of {length} bytes", f"at most {MAX_HEADER_BYTES}")
    text = stream.read(length).decode("utf-8" if major == 3 else "latin-1")
    return _parsed(text, where), len(start) + width + length


def _parsed(text: str, where: str) -> Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler, about texts that a header never has
            found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise _bad(where, f"has a damaged header ({type(error).__name__})", "a dict") from error
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise _bad(where, "has a damaged header", "descr, fortran_order and shape")
    kind, is_fortran, shape = found["descr"], found["fortran_order"], found["shape"]
    if not isinstance(kind, str) or not NUMBER.fullmatch(kind):
        raise _bad(where, f"holds {str(kind)[:40]!r}", "plain numbers: no objects, texts or records")
    is_shape = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**63 for n in shape)
    if type(is_fortran) is not bool or not is_shape or len(shape) > MAX_DIMENSIONS:
        raise _bad(where, f"has the shape {str(shape)[:40]}", f"at most {MAX_DIMENSIONS} whole numbers")
    return Header(np.dtype(kind), is_fortran, shape)


@contextlib.contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise _bad(str(path), f"cannot be read ({reason})", "a whole file, as numpy writes it") from error


def _bad(where: str, found: str, expected: str) -> InputError:
    return InputError(
        f"{where} {found}",
        expected=expected,
        cause="a damaged or cut file, pickled objects, or a file that was made to mislead",
        fix="write it again with numpy.save or numpy.savez",
    )
