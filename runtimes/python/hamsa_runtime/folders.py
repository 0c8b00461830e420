"""What is at a path that somebody gave: the one place for such questions, whose every failure is an InputError."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path, PureWindowsPath

from hamsa_runtime.errors import InputError

# Characters of a path; one that is too long for the system is also too long for a message.
LONGEST_SHOWN = 300

WINDOWS = os.name == "nt"
# Devices there, whatever follows a dot; characters that names cannot have; and an end that is dropped.
NOT_ON_WINDOWS = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9\u00b9\u00b2\u00b3]) *(?:\..*)?"
    r"|.*[<>:\"|?*\x00-\x1f].*|(?!\.\.?$).*[. ]",
    re.IGNORECASE | re.DOTALL,
)


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


def check_new(path: Path) -> None:
    """Refuse the path of what is to be written where Windows would write elsewhere: to a device, to a stream of another
    file, or to a name without its end.

    Raises:
        InputError: this is Windows, and a part of the path is such a name.
    """
    whole = PureWindowsPath(path)
    for part in whole.parts[bool(whole.anchor) :] if WINDOWS else ():
        if NOT_ON_WINDOWS.fullmatch(part):
            raise InputError(
                f"{path}: Windows has no file or folder called {part!r}",
                expected='no device (con, nul, com1 ...), none of < > : " | ? *, and no dot or space at the end',
                fix="choose another name",
            )


def are_one(name: str, other: str) -> bool:
    """Whether two names are one file's where upper and lower case, or an accent and its letter, are not told apart."""
    return _folded(name) == _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


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
