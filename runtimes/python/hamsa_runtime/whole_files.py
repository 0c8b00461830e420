"""Files that a reader sees as they were or as they are to be, never half of one.

A temporary file or folder beside ``name`` is ``.name.tmp-<process>-<random>``.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


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
