"""What MkDocs calls while it builds the site (mkdocs.yml). The work is done in the modules beside this one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))

import generated
import repository

# The path in the repository that a page is the text of, by the page.
ORIGINS: dict[str, str] = {}
DOCS = repository.ROOT / "docs"
REFERENCE = {
    "reference/commands.md": generated.commands_page,
    "reference/manifest.md": generated.manifest_page,
    "tour.md": lambda: generated.notebook_page(DOCS / "tour.ipynb"),
}


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the pages that are no files in docs/."""
    texts = {f"docs/{each.src_uri}": each.content_string for each in files.documentation_pages()}
    texts["README.md"] = (repository.ROOT / "README.md").read_text(encoding="utf-8")
    made = {page: make() for page, make in REFERENCE.items()}
    texts |= {f"docs/{page}": text for page, text in made.items()}
    outside = repository.outside_pages(texts)
    ORIGINS.update({repository.page_of(path): path for path in [*texts, *outside]})
    made |= {repository.page_of(path): text for path, text in outside.items()} | {"index.md": texts["README.md"]}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links into the repository become links of the site."""
    return repository.relinked(markdown, ORIGINS[page.file.src_uri])


def on_page_content(html: str, **_: Any) -> str:
    """Formulas."""
    return generated.with_formulas(html)
