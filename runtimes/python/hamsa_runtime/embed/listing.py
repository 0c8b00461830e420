"""The listing of a folder, or of a file that names one path a line: a Parquet file of (id, path) in the job's folder.

It is written once: a job of a billion rows lists its input once and not in each of its processes, and each of them
reads the same rows in the same order. Its row groups are the shards.

Of a folder the rows are in the order of their paths' parts. A folder of more names than RUN is sorted in runs that are
written away and merged, so that no folder has to fit into memory.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from hamsa_runtime.embed.sources import ID, PATH, Source, id_from, is_uri, unlisted
from hamsa_runtime.errors import InputError
from hamsa_runtime.whole_files import replacement

SCHEMA = pa.schema([pa.field(ID, pa.string(), nullable=False), pa.field(PATH, pa.binary(), nullable=False)])
# Names that are sorted in memory.
RUN = 200_000
# Of a line: more is no path on any system.
LONGEST_LINE = 1 << 16

Entry = tuple[str, str]


def entries_of(source: Source) -> Iterator[Entry]:
    """Id and path of each row of a folder or list, in order.

    Raises:
        InputError: a folder cannot be listed, or a line is no path.
    """
    if source.kind == "list":
        return _lines(source.path)
    root = Path(os.path.abspath(source.path))
    return ((id_from(name), os.path.join(root, name)) for name in _names(root, "", source.suffixes, ()))


def hash_of_entries(entries: Iterable[Entry]) -> str:
    """Of ids and paths, in order."""
    digest = hashlib.sha256()
    for id, path in entries:
        digest.update(os.fsencode(f"{id}\0{path}\0"))
    return digest.hexdigest()


def write_listing(entries: Iterable[Entry], path: Path, rows: int) -> str:
    """Writes the listing, so many rows to a row group; returns what `hash_of_entries` does."""
    entries, digest = iter(entries), hashlib.sha256()
    with replacement(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, use_dictionary=False) as writer:
        while group := list(islice(entries, rows)):
            columns = [[id for id, _ in group], [os.fsencode(file) for _, file in group]]
            writer.write_table(pa.table(columns, schema=SCHEMA), row_group_size=rows)
            digest.update(b"".join(os.fsencode(f"{id}\0{file}\0") for id, file in group))
    return digest.hexdigest()


def _names(root: Path, inside: str, suffixes: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Paths below the root, with / between their parts. Hidden names are left; links are followed, but not in circles.

    Args:
        above: which folders this one is in: device and inode.
    """
    folder = root / inside
    here = _identity(folder)
    if here in above:
        return
    for name, is_inner in _sorted(_scanned(folder, suffixes)):
        if is_inner:
            yield from _names(root, f"{inside}{name}/", suffixes, (*above, here))
        else:
            yield inside + name


def _identity(folder: Path) -> tuple[int, int]:
    try:
        found = folder.stat()
    except OSError as error:
        raise unlisted(folder, error) from error
    return found.st_dev, found.st_ino


def _scanned(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Names in a folder, in no order, and whether each is a folder."""
    try:
        with os.scandir(folder) as found:
            for each in found:
                if each.name.startswith("."):
                    continue
                if each.is_dir():
                    yield each.name, True
                elif each.name.lower().endswith(suffixes):  # also one that cannot be read: its row says so
                    yield each.name, False
    except OSError as error:
        raise unlisted(folder, error) from error


def _sorted(names: Iterator[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    first = sorted(islice(names, RUN))
    if len(first) < RUN:
        yield from first
        return
    with tempfile.TemporaryFile("w+b") as file:
        runs = [_kept(first, file)]
        while run := sorted(islice(names, RUN)):
            runs.append(_kept(run, file))
        yield from heapq.merge(*(_read_again(file, *run) for run in runs))


def _kept(run: list[tuple[str, bool]], file: IO[bytes]) -> tuple[int, int]:
    """Writes a run to the end of a file, each name with a NUL after it; says where it stands."""
    start = file.seek(0, os.SEEK_END)
    file.writelines(os.fsencode(f"{'/' if is_inner else ' '}{name}") + b"\0" for name, is_inner in run)
    return start, file.tell()


def _read_again(file: IO[bytes], start: int, stop: int) -> Iterator[tuple[str, bool]]:
    rest = b""
    while start < stop:
        file.seek(start)
        piece = file.read(min(1 << 18, stop - start))
        start += len(piece)
        *whole, rest = (rest + piece).split(b"\0")
        yield from ((os.fsdecode(each[1:]), each[:1] == b"/") for each in whole)


def _lines(path: Path) -> Iterator[Entry]:
    """The paths of a list. What is not absolute is beside the list itself."""
    folder = Path(os.path.abspath(path)).parent
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE):
                number += 1
                text = _text(line, number, path)
                if text:
                    yield id_from(text), text if is_uri(text) else os.path.join(folder, text)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror})", expected="a text file with a path a line"
        ) from error


def _text(line: bytes, number: int, path: Path) -> str:
    line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    if b"\0" in line or len(line) == LONGEST_LINE:
        raise InputError(
            f"{path}: line {number} is no path",
            expected="a text file with a path a line, or .parquet or .tar files, named so",
            cause="a file of another kind",
        )
    return os.fsdecode(line.rstrip(b"\r\n"))
