"""What is at a path that somebody gave: the one place for such questions, whose every failure is an InputError."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hamsa_runtime.errors import InputError

# Characters of a path; one that is too long for the system is also too long for a message.
LONGEST_SHOWN = 300


def is_file(path: Path) -> bool:
    """Whether a regular file is there: no pipe, which would be waited for, and no device, which may have no end.

    Raises:
        InputError: the system does not say: see `is_there`.
    """
    found = _status(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_folder(path: Path) -> bool:
    """Whether a folder is there.

    Raises:
        InputError: the system does not say: see `is_there`.
    """
    found = _status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_there(path: Path) -> bool:
    """Whether anything is there.

    Raises:
        InputError: the system does not say: a name of more than 255 bytes, a folder that may not be looked into, links
            in a circle.
    """
    return _status(path) is not None


def no_file(path: Path) -> str:
    """Why `is_file` says no, for an error."""
    if not is_there(path):
        return "no such file"
    return "a folder" if is_folder(path) else "a device or a pipe, no regular file"


def listed(folder: Path, expected: str = "a folder that may be read") -> list[Path]:
    """Everything in a folder, sorted.

    Raises:
        InputError: it cannot be listed.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be listed ({error.strerror})", expected=expected) from error


def small_file(path: Path, what: str, expected: str, most: int) -> bytes:
    """The content of a regular file of at most so many bytes.

    Args:
        path: of the file.
        what: it holds, for errors, such as "the labels".
        expected: the file that would do.
        most: bytes. Of a larger file no more is read.

    Raises:
        InputError: no such file, another kind of file, too large, or it cannot be read.
    """
    if not is_file(path):
        found = "No such file or directory"
        if is_there(path):
            found = "Is a directory" if is_folder(path) else "no regular file"
        raise InputError(f"{path}: {what} cannot be read ({found})", expected=expected)
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be read ({error.strerror})", expected=expected) from error
    if len(data) > most:
        raise InputError(f"{path}: {what} cannot be read (more than {most} bytes)", expected=expected)
    return data


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # NUL, and what cannot be written in the system's encoding, are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else str(error)
        shown = str(path) if len(str(path)) <= LONGEST_SHOWN else f"{str(path)[: LONGEST_SHOWN - 3]}..."
        raise InputError(
            f"{shown}: cannot be looked at ({reason})",
            expected="names of at most 255 bytes, in folders that may be looked into",
        ) from error
