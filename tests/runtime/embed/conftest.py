"""The images of `inputs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .inputs import COUNT, png


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven images, some in a folder of their own, and files that are no images."""
    folder = tmp_path / "photos"
    (folder / "a b").mkdir(parents=True)
    for i in range(COUNT):
        (folder / ("a b" if i % 2 else "") / f"{i}.png").write_bytes(png(i))
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"no image")
    return folder
