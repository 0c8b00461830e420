"""Class labels from the file that an option names."""

from __future__ import annotations

from pathlib import Path

from hamsa_runtime.errors import InputError


def read_labels(path: Path) -> list[str]:
    """Class names, one per line, in order of the logits."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: the labels cannot be read ({error})",
            expected="a UTF-8 text file, one class name per line",
        ) from error
    labels = [line.strip() for line in lines]
    while labels and not labels[-1]:
        labels.pop()
    if not labels or "" in labels:
        found = f"an empty line, number {labels.index('') + 1}" if labels else "no labels"
        raise InputError(f"{path}: {found}", expected="one class name per line")
    return labels
