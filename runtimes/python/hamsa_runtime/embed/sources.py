"""What is to be embedded: rows of an id and a payload, in shards that any worker reads alone and in the same order.

    folder, list    a listing, which is written once (listing.py), a Parquet file itself; a shard is one row group of it
    Parquet         row groups in a run, of files in the order of their names
    tar             one file each, as WebDataset has them

A payload is a path, a URI or the content of a file. Rows are read as they are needed, and never held all at once.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_file, is_folder, is_there
from hamsa_runtime.images import MAX_FILE_BYTES

Kind = Literal["folder", "list", "parquet", "tar"]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
CLIP_SUFFIXES = (".wav", ".flac")
PARQUET, TAR = (".parquet",), (".tar", ".tar.gz", ".tgz")
ID, PATH, BYTES = "id", "path", "bytes"
ACCEPTED = "a folder of images or clips, a text file with a path a line, .parquet files or .tar files"
# What reading and decoding a Parquet file raises.
UNREADABLE = (OSError, pa.ArrowException)


class UnreadableError(InputError):
    """The rows of a shard cannot be read, or not to their end."""


class Row(NamedTuple):
    """One image or clip: its id, and a path, a URI, or the content of its file; None where there is nothing."""

    id: str
    payload: str | bytes | None


@dataclass(frozen=True)
class Shard:
    """Rows that are embedded together, to one part of the output.

    Attributes:
        number: from 0 on, in the whole job.
        name: for people.
        file: the Parquet or tar file that holds them.
        groups: the first row group of the file, and the one after the last; of a tar file (0, 0).
        rows: how many; None where only reading tells.
    """

    number: int
    name: str
    file: Path
    groups: tuple[int, int]
    rows: int | None


@dataclass(frozen=True)
class Source:
    """An input, looked at but not read yet: of which kind it is, and its files, where they are what is read."""

    path: Path
    kind: Kind
    suffixes: tuple[str, ...]
    files: tuple[Path, ...] = ()


def source_at(path: Path, suffixes: tuple[str, ...]) -> Source:
    """What is at a path.

    Args:
        path: of a folder, a list, or a Parquet or tar file.
        suffixes: of the files that the model takes.

    Raises:
        InputError: nothing is there, or several kinds of input are.
    """
    if is_folder(path):
        return _folder(path, suffixes)
    if not is_file(path):
        found = "no regular file" if is_there(path) else "no such file or folder"
        raise InputError(f"{path}: {found}", expected=ACCEPTED)
    name = path.name.lower()
    if name.endswith(PARQUET):
        return Source(path, "parquet", suffixes, (path,))
    if name.endswith(TAR):
        return Source(path, "tar", suffixes, (path,))
    if name.endswith((*IMAGE_SUFFIXES, *CLIP_SUFFIXES)):
        raise InputError(f"{path}: one file", expected=ACCEPTED, fix=f"give its folder: {path.parent}")
    return Source(path, "list", suffixes)


def _folder(path: Path, suffixes: tuple[str, ...]) -> Source:
    """Its Parquet or tar files, or itself; of millions of images no list is made."""
    found: dict[tuple[str, ...], list[Path]] = {PARQUET: [], TAR: []}
    image = ""
    try:
        with os.scandir(path) as entries:
            for each in entries:
                ending = next((kind for kind in found if each.name.lower().endswith(kind)), None)
                if each.name.startswith((".", "_")):  # notes of whoever wrote the others
                    continue
                if ending is not None and each.is_file():
                    found[ending].append(path / each.name)
                elif not image and each.name.lower().endswith(suffixes):
                    image = each.name
    except OSError as error:
        raise unlisted(path, error) from error
    names = [min(files).name for files in found.values() if files] + ([image] if image else [])
    if len(names) > 1:
        raise InputError(
            f"{path}: files of several kinds: {', '.join(names)}",
            expected="images or clips, Parquet files, or tar files",
            fix="a folder for each; or name the one file",
        )
    kinds: dict[tuple[str, ...], Kind] = {PARQUET: "parquet", TAR: "tar"}
    for ending, files in found.items():
        if files:
            return Source(path, kinds[ending], suffixes, tuple(sorted(files)))
    return Source(path, "folder", suffixes)


def unlisted(folder: Path, error: OSError) -> InputError:
    """The error for a folder that may not be looked into."""
    return InputError(
        f"{folder}: the folder cannot be listed ({error.strerror})",
        expected="folders that may be read: what is in them would be missing from the output",
    )


def shards_of(files: Sequence[Path], rows: int) -> Iterator[Shard]:
    """Row groups in runs of at most so many rows, but one at least; a tar file is a shard.

    Raises:
        InputError: a file cannot be read.
    """
    number = 0
    for file in files:
        if file.name.lower().endswith(TAR):
            yield Shard(number, file.name, file, (0, 0), None)
            number += 1
            continue
        sizes = _sizes(file)
        for first, last in _runs(sizes, rows):
            name = file.name if (first, last) == (0, len(sizes)) else f"{file.name}, row groups {first} to {last - 1}"
            yield Shard(number, name, file, (first, last), sum(sizes[first:last]))
            number += 1


def _sizes(file: Path) -> list[int]:
    try:
        with pq.ParquetFile(file) as table:
            return [table.metadata.row_group(i).num_rows for i in range(table.metadata.num_row_groups)]
    except UNREADABLE as error:
        raise unreadable(file, error) from error


def _runs(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    first, total = 0, 0
    for i, size in enumerate(sizes):
        if i > first and total + size > most:
            yield first, i
            first, total = i, 0
        total += size
    if sizes:
        yield first, len(sizes)


def hash_of_files(files: Sequence[Path]) -> str:
    """Of names and sizes; of a Parquet file also of its footer, which says where its columns lie and their limits."""
    digest = hashlib.sha256()
    for file in files:
        try:
            size = file.stat().st_size
            digest.update(f"{file.name}\0{size}\0".encode("utf-8", "surrogateescape"))
            if file.name.lower().endswith(PARQUET):
                digest.update(_footer(file, size))
        except OSError as error:
            raise unreadable(file, error) from error
    return digest.hexdigest()


def _footer(file: Path, size: int) -> bytes:
    """The last eight bytes say how long it is."""
    with file.open("rb") as stream:
        stream.seek(max(size - 8, 0))
        length = int.from_bytes(stream.read(8)[:4], "little")
        stream.seek(max(size - 8 - length, 0))
        return stream.read()


def rows_of(shard: Shard, suffixes: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a shard, in order, some at a time in memory.

    Raises:
        InputError: the file cannot be read, has no column for this, or an id twice.
    """
    try:
        if shard.file.name.lower().endswith(TAR):
            yield from _rows_of_tar(shard.file, suffixes)
        else:
            yield from _rows_of_parquet(shard)
    except (*UNREADABLE, tarfile.TarError, EOFError) as error:
        raise unreadable(shard.file, error) from error


def _rows_of_parquet(shard: Shard) -> Iterator[Row]:
    with pq.ParquetFile(shard.file, pre_buffer=False, buffer_size=1 << 20) as table:
        names = columns_of(table, shard.file)
        first, last = shard.groups
        number = sum(table.metadata.row_group(i).num_rows for i in range(first))
        batches = table.iter_batches(batch_size=64, row_groups=list(range(first, last)), columns=names)
        for batch in batches:
            columns = {name: batch.column(name) for name in names}
            ids = _texts(columns.get(ID, columns.get(PATH)), shard.file) if names != [BYTES] else None
            for i in range(batch.num_rows):
                payload = columns[BYTES][i].as_py() if BYTES in columns else None
                if payload is None and PATH in columns:
                    payload = columns[PATH][i].as_py()
                    payload = os.fsdecode(payload) if isinstance(payload, bytes) else payload
                    payload = payload if payload is None else _resolved(payload, shard.file.parent)
                yield Row(f"{shard.file.name}:{number}" if ids is None else ids[i], payload)
                number += 1


def ids_of(shard: Shard, suffixes: tuple[str, ...]) -> Iterator[str]:
    """The ids of a shard's rows, in order; of a Parquet file nothing else is read."""
    if shard.file.name.lower().endswith(TAR):
        yield from (row.id for row in rows_of(shard, suffixes))
        return
    try:
        with pq.ParquetFile(shard.file) as table:
            names = columns_of(table, shard.file)
            first, last = shard.groups
            if names == [BYTES]:
                start = sum(table.metadata.row_group(i).num_rows for i in range(first))
                yield from (f"{shard.file.name}:{start + i}" for i in range(shard.rows or 0))
                return
            for batch in table.iter_batches(row_groups=list(range(first, last)), columns=names[:1]):
                yield from _texts(batch.column(0), shard.file)
    except UNREADABLE as error:
        raise unreadable(shard.file, error) from error


def _resolved(path: str, folder: Path) -> str:
    """A path that is not absolute is one beside the file that names it, wherever the command runs."""
    return path if is_uri(path) else os.path.join(folder, path)


def is_uri(path: str) -> bool:
    """Whether it names a file elsewhere, as s3://bucket/key does."""
    scheme, found, _ = path.partition("://")
    return bool(found) and scheme.isalnum()


def columns_of(table: pq.ParquetFile, file: Path) -> list[str]:
    """The columns that are read: id where there is one, path, bytes.

    Raises:
        InputError: neither path nor bytes, or of another type.
    """
    schema = table.schema_arrow
    names = [name for name in (ID, PATH, BYTES) if name in schema.names]
    if PATH not in names and BYTES not in names:
        raise InputError(
            f"{file}: columns {', '.join(schema.names[:20])}",
            expected=f"a column {PATH!r} (text) or {BYTES!r} (binary), and one {ID!r} if rows have names of their own",
        )
    for name, fits in ((PATH, _is_text), (BYTES, _is_binary)):
        if name in names and not fits(schema.field(name).type):
            raise InputError(
                f"{file}: the column {name!r} is {schema.field(name).type}",
                expected="text" if name == PATH else "binary",
            )
    return names


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string()) or _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return kind in (pa.binary(), pa.large_binary())


def _texts(column: pa.Array, file: Path) -> list[str]:
    """Ids as texts; numbers too."""
    if column.null_count:
        raise UnreadableError(
            f"{file}: a row without an id", expected=f"a value in each row of the column {ID!r} or {PATH!r}"
        )
    if _is_binary(column.type):
        return [id_from(os.fsdecode(value)) for value in column.to_pylist()]
    return column.cast(pa.string()).to_pylist()


def id_from(path: str) -> str:
    """A path as an id, which has to be Unicode; what is not, is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _rows_of_tar(file: Path, suffixes: tuple[str, ...]) -> Iterator[Row]:
    """Members with a suffix of the model's, in their order: the id is NAME.tar/KEY, and the key all before the first
    dot of a member's base name, as WebDataset has it."""
    seen: set[bytes] = set()
    with tarfile.open(file, "r|*") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # it keeps all that it has seen
            name = member.name.rpartition("/")[2]
            if not member.isreg() or name.startswith(".") or not name.lower().endswith(suffixes):
                continue
            id = f"{file.name}/{_key(member.name)}"
            digest = hashlib.blake2b(id.encode("utf-8", "surrogateescape"), digest_size=16).digest()
            if digest in seen:
                raise UnreadableError(
                    f"{file}: two files of the key {_key(member.name)!r}",
                    expected=f"one file in {', '.join(suffixes)} for each key",
                )
            seen.add(digest)
            yield Row(id_from(id), _content(archive, member))


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Of more than an image may have, one byte more: then its error says so."""
    stream: Any = archive.extractfile(member)
    return stream.read(MAX_FILE_BYTES + 1)


def unreadable(file: Path, error: Exception) -> UnreadableError:
    """The error for an input's file that is not whole, or may not be read."""
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return UnreadableError(f"{file}: cannot be read ({reason})", expected="a whole file that may be read")
