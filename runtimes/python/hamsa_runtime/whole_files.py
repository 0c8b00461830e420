"""Files that a reader sees as they were or as they are to be, never half of one; and folders for work in between.

A temporary file or folder beside ``name`` is ``.name.tmp-<process>-<random>``; one that has no such place is
``hamsa-scratch-<random>`` in the system's folder for temporary files. Whoever makes one holds a lock on it, which the
system frees when that process ends, even by SIGKILL: one whose lock can be had is a leftover, and the next process that
comes by removes it. Where the file system has no locks, nothing is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hamsa_runtime.errors import InputError
from hamsa_runtime.locks import leftover, own_lock

SCRATCH = "hamsa-scratch-"
# Whoever meets one of these while writing (an exporter, a converter) does not know whose disk it is.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
BESIDE = re.compile(r"\.(.+)\.tmp-\d+-[0-9a-f]{8}(?:\.lock)?")


def write_through(path: Path, data: bytes) -> None:
    """Write a file, and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file by one rename, so that a reader sees the old content or the new one."""
    remove_leftovers(path.parent, path.name)
    with _temporary(lambda: _beside(path), lambda new: new.touch(exist_ok=False)) as temporary:
        write_through(temporary, data)
        temporary.replace(path)


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A file beside a path, to be written to; at the end the disk has it, and one rename puts it there.

    After an error it is removed. Leftovers of others are not looked for, which takes a list of the whole folder: see
    `remove_leftovers`.
    """
    with _temporary(lambda: _beside(path), lambda new: new.touch(exist_ok=False)) as temporary:
        yield temporary
        with temporary.open("r+b") as stream:  # Windows syncs nothing that is open for reading only
            os.fsync(stream.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """A new folder on the same file system as a path, which it may be renamed to; removed afterwards if it was not."""
    with _temporary(lambda: _beside(beside), Path.mkdir) as folder:
        yield folder


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, which only this user can read, for files that nobody else needs; removed afterwards.

    Raises:
        InputError: there is no room.
    """
    place = Path(tempfile.gettempdir())
    _remove(path for path in _entries(place) if path.name.startswith(SCRATCH))
    try:
        with _temporary(lambda: place / f"{SCRATCH}{secrets.token_hex(8)}", lambda new: new.mkdir(0o700)) as folder:
            yield folder
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise InputError(
            f"{place}: cannot be written ({error.strerror})",
            expected="room for temporary files",
            fix="free some space, or name another folder in the environment variable TMPDIR",
        ) from error


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left beside a file of this name in the folder; None stands for any name."""
    found = ((path, BESIDE.fullmatch(path.name)) for path in _entries(folder))
    _remove(path for path, match in found if match and name in (None, match[1]))


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):  # not there yet, or not to be listed
        return list(folder.iterdir())
    return []


@contextlib.contextmanager
def _temporary(name: Callable[[], Path], make: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder, locked; removed afterwards if it is still there."""
    with contextlib.ExitStack() as stack:
        path = name()
        # Another process may take what is not locked yet for a leftover: then there is a next one.
        while not stack.enter_context(own_lock(path, make)):
            stack.close()
            path = name()
        try:
            yield path
        finally:
            _delete(path)


def _remove(paths: Iterator[Path]) -> None:
    """Those of this user that nobody holds."""
    for path in paths:
        with contextlib.suppress(OSError), leftover(path) as found:  # an error: another process was faster
            if found:
                _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
