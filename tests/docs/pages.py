"""What users read: README.md and docs/*.md, in the order in which a reader would run what stands in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# They write what blocks of others read: `mynet.py`, `out/digits`.
FIRST = [DOCS / "own-models.md", DOCS / "export.md", ROOT / "README.md"]
PAGES = [*FIRST, *sorted(set(DOCS.glob("*.md")) - set(FIRST))]


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str, *pages: Path) -> list[str]:
    """The fenced blocks of a language, of all pages unless some are named."""
    return [
        block for page in pages or PAGES for block in re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)
    ]
