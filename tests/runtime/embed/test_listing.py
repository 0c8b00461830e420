"""Listings: the same rows in the same order from any folder, sorted in memory or not."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hamsa_runtime.embed import listing
from hamsa_runtime.embed.listing import entries_of, hash_of_entries, write_listing
from hamsa_runtime.embed.sources import IMAGE_SUFFIXES, Source
from hamsa_runtime.errors import InputError

from ...unprivileged import unprivileged


def folder_of(path: Path) -> Source:
    return Source(path, "folder", IMAGE_SUFFIXES)


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_order_of_paths_and_which_files(tmp_path: Path) -> None:
    folder = touched(tmp_path / "in", "b.png", "a/z.JPG", "a.png", "a/b/c.webp", ".x.png", ".h/x.png", "x.txt", "c.wav")
    ids = [id for id, _ in entries_of(folder_of(folder))]
    assert ids == ["a/b/c.webp", "a/z.JPG", "a.png", "b.png"]
    assert [id for id, _ in entries_of(Source(folder, "folder", (".wav",)))] == ["c.wav"]


def test_a_folder_of_more_names_than_are_sorted_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = touched(tmp_path / "in", *(f"{i * 7919 % 100:02}.png" for i in range(100)), "05/x.png", "a\nb.png")
    expected = list(entries_of(folder_of(folder)))
    assert [id for id, _ in expected][:7] == ["00.png", "01.png", "02.png", "03.png", "04.png", "05/x.png", "05.png"]
    for run in (1, 7, 51, 102, 103):
        monkeypatch.setattr(listing, "RUN", run)
        assert list(entries_of(folder_of(folder))) == expected


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    folder = touched(tmp_path / "in", "a/1.png")
    touched(tmp_path / "out", "2.png")
    (folder / "a/up").symlink_to(folder)
    (folder / "linked").symlink_to(tmp_path / "out")
    assert [id for id, _ in entries_of(folder_of(folder))] == ["a/1.png", "linked/2.png"]


def test_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    folder = touched(tmp_path / "in")
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    (folder / name).touch()
    [(id, path)] = entries_of(folder_of(folder))
    assert (id, path) == ("caf\\xe9.png", str(folder / name))
    write_listing([(id, path)], tmp_path / "l.parquet", 10)
    assert os.fsdecode(pq.read_table(tmp_path / "l.parquet")["path"][0].as_py()) == path


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = touched(tmp_path / "in", "a/1.png", "b/2.png")
    (folder / "b").chmod(0)
    monkeypatch.chdir(tmp_path)  # what is above may be root's alone
    with unprivileged(), pytest.raises(InputError, match="the folder cannot be listed") as caught:
        list(entries_of(folder_of(folder)))
    assert "missing from the output" in caught.value.expected


def list_file(path: Path, content: bytes) -> Source:
    path.write_bytes(content)
    return Source(path, "list", IMAGE_SUFFIXES)


def test_lines_of_a_list(tmp_path: Path) -> None:
    source = list_file(tmp_path / "l.txt", b"\xef\xbb\xbfa b.png\r\n\n/abs/x.png\ns3://bucket/a b.png\nlast")
    assert list(entries_of(source)) == [
        ("a b.png", str(tmp_path / "a b.png")),
        ("/abs/x.png", "/abs/x.png"),
        ("s3://bucket/a b.png", "s3://bucket/a b.png"),
        ("last", str(tmp_path / "last")),
    ]


@pytest.mark.parametrize("content", [b"a\nb\0c\n", b"x" * 70_000])
def test_what_is_no_list(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"l.txt: line \d is no path"):
        list(entries_of(list_file(tmp_path / "l.txt", content)))


def test_the_hash_is_of_what_is_written(tmp_path: Path) -> None:
    entries = [(f"{i}", f"/x/{i}") for i in range(25)]
    assert write_listing(entries, tmp_path / "l.parquet", 10) == hash_of_entries(entries)
    file = pq.ParquetFile(tmp_path / "l.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [10, 10, 5]
    assert hash_of_entries(entries[:-1]) != hash_of_entries(entries)
