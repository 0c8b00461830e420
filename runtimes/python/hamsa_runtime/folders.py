"""What is in a folder."""

from __future__ import annotations

from pathlib import Path

from hamsa_runtime.errors import InputError


def listed(folder: Path, expected: str = "a folder that may be read") -> list[Path]:
    """Everything in a folder, sorted.

    Raises:
        InputError: it cannot be listed.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be listed ({error.strerror})", expected=expected) from error
