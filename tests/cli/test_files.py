"""Labels from files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamsa_deploy.cli.files import read_labels
from hamsa_runtime.errors import InputError


def test_labels_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("tench\n goldfish \nΣ\n\n", encoding="utf-8")
    assert read_labels(path) == ["tench", "goldfish", "Σ"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no labels"), (b"a\n\nb\n", "an empty line, number 2"), (b"\xff\xfe", "cannot be read")],
)
def test_bad_labels_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_labels(path)
