"""A file that somebody sent: is it what its name says, or what a failed download left?"""

from __future__ import annotations

from pathlib import Path

from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_file, no_file


def check_received(path: Path, what: str, expected: str) -> None:
    """Refuse a missing or empty file, a Git LFS pointer and a web page, by the first bytes.

    Args:
        path: the file.
        what: what it should hold, such as "weights".
        expected: the files that would do.

    Raises:
        InputError: names the file, what it holds instead, and how to get the right one.
    """
    if not is_file(path):
        raise InputError(f"{path}: {no_file(path)}", expected=expected)
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise InputError(f"{path} is empty", cause="an interrupted download or a full disk", fix="fetch it again")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(
            f"{path} is a Git LFS pointer, not the {what}",
            cause="the repository was cloned without Git LFS",
            fix="git lfs pull",
        )
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(
            f"{path} is an HTML page, not the {what}",
            cause="the link led to a web page (a log-in, an error, a file viewer)",
            fix="use the link of the raw file",
        )
