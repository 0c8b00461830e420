"""What every cache of ours needs of the file system: a place for this user, and no leftovers of `whole_files`."""

from __future__ import annotations

import contextlib
import os
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


def sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for path in folder.glob(".*.tmp-*"):
        with contextlib.suppress(OSError):  # another process was faster
            if path.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
