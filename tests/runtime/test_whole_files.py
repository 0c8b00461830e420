"""What others see of a file while it is written; what is left when a process is killed, and who removes it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from hamsa_runtime.whole_files import (
    SCRATCH,
    remove_leftovers,
    replace_file,
    replacement,
    scratch_folder,
    temporary_folder,
)

AT_WORK = """
import sys, time
from pathlib import Path
from hamsa_runtime import whole_files
with {}:
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is also the system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def at_work(maker: str) -> subprocess.Popen[str]:
    """A process that holds what `maker` makes."""
    process = subprocess.Popen([sys.executable, "-c", AT_WORK.format(maker)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_replaced_and_nothing_else_is_left(place: Path) -> None:
    for data in (b"old", b"new"):
        replace_file(place / "file", data)
        assert (place / "file").read_bytes() == data
    assert names(place) == {"file"}


def test_a_file_is_there_when_it_is_written_to_its_end(place: Path) -> None:
    (place / "file").write_bytes(b"old")
    with replacement(place / "file") as temporary:
        temporary.write_bytes(b"new")
        assert (place / "file").read_bytes() == b"old"
    assert (place / "file").read_bytes() == b"new"
    with contextlib.suppress(InterruptedError), replacement(place / "file") as temporary:
        temporary.write_bytes(b"half")
        raise InterruptedError
    assert (place / "file").read_bytes() == b"new"
    assert names(place) == {"file"}


def test_a_full_disk_leaves_the_old_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file(place / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(place / "file", b"new")
    assert (place / "file").read_bytes() == b"old"
    assert names(place) == {"file"}


@pytest.mark.parametrize("maker", ["temporary_folder(Path('file').absolute())", "scratch_folder()"])
def test_what_a_killed_process_left_is_removed_what_one_at_work_holds_is_not(
    place: Path, monkeypatch: pytest.MonkeyPatch, maker: str
) -> None:
    monkeypatch.chdir(place)

    def come_by() -> None:
        replace_file(place / "file", b"new")
        with scratch_folder():
            pass

    process = at_work(f"whole_files.{maker}")
    held = names(place)
    assert len(held) == 1
    come_by()
    assert names(place) == held | {"file"}
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    come_by()
    assert names(place) == {"file"}


def test_only_leftovers_of_the_name_are_removed(place: Path) -> None:
    ours, others = (
        ".a.tmp-1-deadbeef",
        {".a.b.tmp-1-deadbeef", ".a.tmp-1-short", "a.tmp-1-deadbeef", ".a.tmp-x-deadbeef"},
    )
    for name in {ours, *others}:
        (place / name).write_bytes(b"half")
    remove_leftovers(place, "a")
    assert names(place) == others
    remove_leftovers(place)
    assert names(place) == others - {".a.b.tmp-1-deadbeef"}


def test_a_link_is_not_followed_and_a_pipe_not_waited_for(place: Path) -> None:
    kept = place / "kept"
    kept.mkdir()
    (place / f"{SCRATCH}link").symlink_to(kept)
    os.mkfifo(place / f"{SCRATCH}pipe")
    with scratch_folder():
        assert kept.is_dir()


def test_a_scratch_folder_is_private_and_goes_with_what_is_in_it(place: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_bytes(b"data")
    with pytest.raises(KeyboardInterrupt), scratch_folder():
        raise KeyboardInterrupt
    assert names(place) == set()


def test_a_folder_that_was_renamed_stays(place: Path) -> None:
    with temporary_folder(place / "folder") as folder:
        (folder / "file").write_bytes(b"data")
        folder.rename(place / "folder")
    assert names(place) == {"folder"}


def test_one_that_was_taken_for_a_leftover_before_it_was_locked_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    calls: list[int] = []

    def late(descriptor: int, operation: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            remove_leftovers(place)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    replace_file(place / "file", b"data")
    assert (place / "file").read_bytes() == b"data"
    assert names(place) == {"file"}


def test_without_locks_nothing_is_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (place / ".file.tmp-1-deadbeef").write_bytes(b"half")
    replace_file(place / "file", b"data")
    assert names(place) == {"file", ".file.tmp-1-deadbeef"}


def test_many_writers_of_one_file_do_not_disturb_each_other(place: Path) -> None:
    errors: list[Exception] = []

    def write(number: int) -> None:
        try:
            for _ in range(50):
                replace_file(place / "file", bytes([number]) * 1000)
        except Exception as error:  # noqa: BLE001  # looked at below
            errors.append(error)

    workers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert errors == []
    assert len(set((place / "file").read_bytes())) == 1
    assert names(place) == {"file"}
