"""What pages link to is there: files, and headings in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, text_of

# Pages beside the code, which link as well.
OTHERS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("examples/*/README.md"),
    *ROOT.glob("runtimes/*/README.md"),
    ROOT / "docs/results/README.md",
]


def heading_anchors(page: Path) -> set[str]:
    """As GitHub and the site make them: lower case, words joined by hyphens."""
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    found = []
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text_of(page)):
        file, _, anchor = target.partition("#")
        path = (page.parent / file) if file else page
        if not path.exists() or (anchor and anchor not in heading_anchors(path)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", sorted({*PAGES, *OTHERS}), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One title\n[a](page.md#one-title) [b](#other) [c](none.md) [d](https://example.org)")
    assert broken(page) == ["#other", "none.md"]


def test_the_readme_is_short() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= 150
