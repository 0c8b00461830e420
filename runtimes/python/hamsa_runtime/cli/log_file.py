"""--log-file of every command: what it does and prints, with times and tracebacks, in a file."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_folder, is_there

HELP = "write there what happens, with times and tracebacks, whatever is shown"

# What a command does; without --log-file it goes nowhere.
LOG = logging.getLogger("hamsa")
LOG.propagate = False
LOG.addHandler(logging.NullHandler())


@contextlib.contextmanager
def logged(path: Path | None, words: Sequence[str], version: str, others: Sequence[str] = ()) -> Iterator[None]:
    """While it lasts, what LOG is told goes to the file, after the command and what runs it.

    Args:
        path: of --log-file; None without.
        words: the command as it was given.
        version: of the package that it belongs to, with its name.
        others: names of loggers whose records go there, too.

    Raises:
        InputError: it cannot be written.
    """
    if path is None:
        yield
        return
    check_writable(path, "--log-file")
    handler = logging.FileHandler(path, "w", encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    LOG.setLevel(logging.INFO)
    loggers = [LOG, *map(logging.getLogger, others)]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        LOG.info("%s", shlex.join(words))
        LOG.info("%s, Python %s, %s", version, platform.python_version(), platform.platform())
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def printed_to_log() -> Iterator[None]:
    """While it lasts, each line that is printed also goes to LOG."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = copies = _Copied(out), _Copied(err)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        for each in copies:
            each.end_line()


class _Copied:
    """A stream whose lines go to LOG, too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._line = stream, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        *lines, rest = text.split("\n")
        for line in lines:
            self._line += line
            self.end_line()
        self._line = (self._line + rest).rpartition("\r")[2]  # progress is written over what it was
        return self._stream.write(text)

    def end_line(self) -> None:
        line, self._line = self._line.rpartition("\r")[2].removeprefix("\033[K"), ""
        if line:
            LOG.info("%s", line)


def check_writable(path: Path, option: str) -> None:
    """Fail before minutes of work where the file that an option names cannot be written after them.

    Raises:
        InputError: its folder does not exist or may not be written to, or the path is a folder.
    """
    if is_folder(path) or not os.access(path if is_there(path) else path.parent, os.W_OK):
        raise InputError(f"{option} {path}: cannot be written", expected="a file in a folder that may be written to")
