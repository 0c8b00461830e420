"""Where every cache of ours keeps its files: in a place for this user."""

from __future__ import annotations

import os
from pathlib import Path


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
