"""Files that options name: class labels, and the user's own modules."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import small_file

EXPECTED_LABELS = "a UTF-8 text file, one class name per line"
MAX_LABEL_BYTES = 2**24


def read_labels(path: Path) -> list[str]:
    """Class names, one per line, in order of the logits."""
    try:
        lines = small_file(path, "the labels", EXPECTED_LABELS, MAX_LABEL_BYTES).decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the labels cannot be read ({error})", expected=EXPECTED_LABELS) from error
    labels = [line.strip() for line in lines]
    while labels and not labels[-1]:
        labels.pop()
    if not labels or "" in labels:
        found = f"an empty line, number {labels.index('') + 1}" if labels else "no labels"
        raise InputError(f"{path}: {found}", expected="one class name per line")
    return labels


def import_from_here() -> None:
    """Let the current folder's modules be imported: a command is run from the folder that holds the user's package."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
