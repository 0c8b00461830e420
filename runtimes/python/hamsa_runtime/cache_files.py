"""What every cache of ours needs of the file system: a place for this user, whole files, and no leftovers.

A temporary file or folder beside ``name`` is ``.name.tmp-<process>-<random>``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path

LEFTOVER_SECONDS = 3600.0  # a temporary file or folder this old belongs to a process that was killed


def cache_folder(*parts: str) -> Path:
    """A folder below $XDG_CACHE_HOME, by default below ~/.cache. It need not exist yet.

    Raises:
        OSError: there is no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification: relative paths are to be ignored
        base = os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise OSError("there is no home folder, and XDG_CACHE_HOME is not set")
    return Path(base, *parts)


def temporary_beside(path: Path) -> Path:
    """A name that nobody else uses, on the same file system as `path`."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def write_through(path: Path, data: bytes) -> None:
    """Write a file, and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file by one rename, so that a reader sees the old content or the new one."""
    temporary = temporary_beside(path)
    try:
        write_through(temporary, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for path in folder.glob(".*.tmp-*"):
        with contextlib.suppress(OSError):  # another process was faster
            if path.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
