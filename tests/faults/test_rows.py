"""The table of README.md and the tests of this folder name the same faults."""

from __future__ import annotations

import re
from pathlib import Path

from .conftest import rows


def test_every_row_has_a_test_of_its_number_and_every_test_a_row() -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_*.py"))]
    tested = {int(number) for text in sources for number in re.findall(r"^def test_row_(\d+)_", text, re.MULTILINE)}
    assert tested == set(rows())
    assert list(rows()) == list(range(1, len(rows()) + 1))
