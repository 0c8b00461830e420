"""Where reports go: which files may be replaced, what of an older report is kept, and how they are written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hamsa_deploy.report.document import Document, title_of
from hamsa_deploy.report.page import document_in, html_from_document
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_there
from hamsa_runtime.whole_files import replace_file

HTML = ".html"
# In the first lines of reports that hold no document: nothing else is ever replaced.
MARK = "hamsa-deploy report"
LARGEST = 256 * 2**20  # bytes of an older report that are read
FIRST = 512  # characters in which the mark stands


def sections_to_keep(path: Path, bundle: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What an older report in this place has to say on the same bundle, and a note about what it has on another.

    A report of an earlier export of this bundle (the same model, target and precision, another manifest) is replaced
    as a whole: nothing in it is about this bundle. A report of another bundle is somebody's, and stays.

    Raises:
        InputError: the file is no report, a damaged one, or a report of another bundle.
    """
    if not is_there(path):
        return {}, ""
    text = _text_of(path)
    if path.suffix.lower() != HTML:
        _check_mark(path, text)
        return {}, ""
    document = document_in(text)
    if document is None:
        raise _refused(path, "not a report of this version of hamsa-deploy")
    _check_whole(path, document)
    older = document["bundle"]
    if older is None or title_of(document) != title_of({**document, "bundle": bundle}):
        raise _refused(path, f"a report of another bundle: {title_of(document)}")
    if older["manifest_sha256"] != bundle["manifest_sha256"]:
        return {}, f"{path}: was about an earlier export of this bundle; nothing of it is kept"
    return dict(document["sections"]), ""


def write(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old report or the new one, never half of one.

    Raises:
        InputError: it cannot be written; an older file is then as it was.
    """
    try:
        replace_file(Path(os.path.realpath(path)), text.encode())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror})", expected="a place with enough room"
        ) from error


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise _refused(path, f"a file of more than {LARGEST // 2**20} MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"a file that cannot be read as text ({error})") from error


def _check_mark(path: Path, text: str) -> None:
    if MARK not in text[:FIRST]:
        raise _refused(path, "not a report of hamsa-deploy")


def _check_whole(path: Path, document: Document) -> None:
    """Whatever an older document lacks must be found before minutes of work, not after them."""
    try:
        html_from_document(document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise _refused(path, f"a damaged report ({type(error).__name__}: {error})") from error


def _refused(path: Path, found: str) -> InputError:
    return InputError(
        f"--report {path}: {found}; it is not replaced",
        expected="a new file, or a report of this bundle",
        fix="another file name, or delete the file first",
    )
