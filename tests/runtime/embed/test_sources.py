"""Inputs of every kind: what is one, what is not, and the rows of shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hamsa_runtime.embed.sources import (
    IMAGE_SUFFIXES,
    Row,
    Shard,
    UnreadableError,
    hash_of_files,
    ids_of,
    rows_of,
    shards_of,
    source_at,
)
from hamsa_runtime.errors import InputError

from .inputs import NAMES, table_of_bytes, tar_of


def table(path: Path, columns: dict[str, list[object]], group: int = 2) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def rows_at(path: Path, rows: int = 100) -> list[list[Row]]:
    return [list(rows_of(shard, IMAGE_SUFFIXES)) for shard in shards_of(source_at(path, IMAGE_SUFFIXES).files, rows)]


def test_row_groups_are_put_together_up_to_the_rows_of_a_part(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", {"path": [f"{i}.png" for i in range(9)]})
    for most, counts in ((1, [2, 2, 2, 2, 1]), (4, [4, 4, 1]), (5, [4, 5]), (100, [9])):
        shards = list(shards_of([path], most))
        assert [shard.rows for shard in shards] == counts
        assert [shard.number for shard in shards] == list(range(len(counts)))
        assert [row.id for shard in shards for row in rows_of(shard, ())] == [f"{i}.png" for i in range(9)]
        assert [id for shard in shards for id in ids_of(shard, ())] == [f"{i}.png" for i in range(9)]


def test_paths_of_a_table_are_beside_it(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", {"path": ["a.png", "/b.png", "gs://c/d.png", None], "id": [4, 3, 2, 1]})
    assert [row for rows in rows_at(path) for row in rows] == [
        Row("4", str(tmp_path / "a.png")),
        Row("3", "/b.png"),
        Row("2", "gs://c/d.png"),
        Row("1", None),
    ]


def test_bytes_go_before_a_path_and_rows_are_counted_where_nothing_names_them(tmp_path: Path) -> None:
    both = table(tmp_path / "both.parquet", {"path": ["a.png", "b.png"], "bytes": [b"1", None]})
    assert rows_at(both) == [[Row("a.png", b"1"), Row("b.png", str(tmp_path / "b.png"))]]
    only = table(tmp_path / "only.parquet", {"bytes": [b"1", b"2", b"3"]})
    assert rows_at(only, 1) == [
        [Row("only.parquet:0", b"1"), Row("only.parquet:1", b"2")],
        [Row("only.parquet:2", b"3")],
    ]
    assert [id for shard in shards_of([only], 1) for id in ids_of(shard, ())] == [f"only.parquet:{i}" for i in range(3)]


def test_a_key_is_all_before_the_first_dot_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a.b/c.d.png", "e.cls", "e.jpg", "._e.jpg", "f"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        archive.addfile(tarfile.TarInfo("folder.png"), None)
    assert rows_at(path) == [[Row("t.tar/a.b/c", b"x"), Row("t.tar/e", b"x"), Row("t.tar/folder", b"")]]


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def twice_in_a_tar(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in ("a.png", "a.jpg"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (lambda folder: folder / "none", "no such file or folder"),
    "an image": (lambda folder: touch(folder / "a.png"), "one file"),
    "two kinds": (lambda folder: beside(folder / "x", "a.tar", "b.parquet"), "several kinds: b.parquet, a.tar"),
    "images beside a table": (lambda folder: beside(folder / "x", "b.parquet", "c.PNG"), "kinds: b.parquet, c.PNG"),
    "no Parquet": (lambda folder: touch(folder / "a.parquet"), "cannot be read"),
    "no column": (lambda folder: table(folder / "a.parquet", {"url": ["x"]}), "columns url"),
    "paths that are numbers": (lambda folder: table(folder / "a.parquet", {"path": [1]}), "'path' is int64"),
    "bytes that are text": (lambda folder: table(folder / "a.parquet", {"bytes": ["x"]}), "'bytes' is string"),
    "no id": (lambda folder: table(folder / "a.parquet", {"id": [None, "x"], "path": ["a", "b"]}), "without an id"),
    "half a tar": (lambda folder: cut(big_tar(folder / "a.tar")), "cannot be read"),
    "no tar": (lambda folder: touch(folder / "a.tar", b"x" * 2000), "cannot be read"),
    "a key twice": (lambda folder: twice_in_a_tar(folder / "a.tar"), "two files of the key 'a'"),
}


def touch(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def beside(folder: Path, *names: str) -> Path:
    for name in names:
        touch(folder / name)
    return folder


def big_tar(path: Path) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("a.png")
        member.size = 20_000
        archive.addfile(member, io.BytesIO(bytes(20_000)))
    data = path.read_bytes()
    path.write_bytes(data[:10_000])
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_input_is_refused(name: str, tmp_path: Path) -> None:
    make, found = REFUSED[name]
    path = make(tmp_path)
    with pytest.raises(InputError, match=found):
        rows_at(path)


def test_what_cannot_be_read_of_a_shard_is_an_error_of_that_shard(tmp_path: Path, photos: Path) -> None:
    tables = table_of_bytes(photos)
    path = tables / "0.parquet"
    shard = next(shards_of([path], 2))
    data = bytearray(path.read_bytes())
    data[4:600] = bytes(596)
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match=r"0\.parquet: cannot be read"):
        list(rows_of(shard, IMAGE_SUFFIXES))


def test_the_hash_of_files_is_of_their_footers_and_sizes(tmp_path: Path, photos: Path) -> None:
    path = table(tmp_path / "t.parquet", {"path": ["a", "b"]})
    first = hash_of_files([path])
    assert first == hash_of_files([path])
    table(path, {"path": ["a", "c"]})
    assert hash_of_files([path]) != first
    tar = tar_of(photos)
    before = hash_of_files([tar])
    tar.write_bytes(tar.read_bytes() + bytes(512))
    assert hash_of_files([tar]) != before


def test_a_shard_of_a_tar_is_read_in_its_order(photos: Path) -> None:
    tar = tar_of(photos)
    [shard] = shards_of([tar], 2)
    assert shard == Shard(0, "000.tar", tar, (0, 0), None)
    assert [row.id for row in rows_of(shard, IMAGE_SUFFIXES)] == [f"000.tar/{name[:-4]}" for name in NAMES]
    assert list(ids_of(shard, IMAGE_SUFFIXES)) == [f"000.tar/{name[:-4]}" for name in NAMES]
