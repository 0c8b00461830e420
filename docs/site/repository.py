"""Links of pages into the repository, as a site needs them: what lies outside of docs/ becomes a page of the site.

    README.md              index.md
    docs/audio.md          audio.md
    SECURITY.md            repository/SECURITY.md
    hamsa_deploy/a.py      repository/hamsa_deploy/a.py.md    its text, highlighted
    benchmarks             repository/benchmarks.md           what is in the folder, each with its first sentence

Paths are relative to the repository's root, or, of pages of the site, to docs/; all with forward slashes.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(\))")
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".hpp": "cpp", ".h": "c", ".cpp": "cpp", ".sh": "sh"}
# Not for a search: the code is not what a reader looks for.
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def page_of(path: str) -> str:
    """The page of the site for a path in the repository."""
    if path in ("README.md", "docs"):
        return "index.md"
    if is_in_docs(path):
        return path.removeprefix("docs/")
    return f"repository/{path}" if path.endswith(".md") else f"repository/{path}.md"


def is_in_docs(path: str) -> bool:
    """Whether MkDocs has it, as a page or as a file."""
    return path.startswith("docs/") and not path.startswith("docs/site/")


def targets_of(text: str, origin: str) -> Iterator[str]:
    """What a page links to: paths in the repository."""
    for found in LINK.finditer(_without_code(text)):
        yield _resolved(found[2], origin)


def relinked(text: str, origin: str) -> str:
    """The text of a page, with links to pages of the site.

    Args:
        text: Markdown.
        origin: where it lies in the repository.
    """
    here = posixpath.dirname(page_of(origin))

    def linked(found: re.Match[str]) -> str:
        page = page_of(_resolved(found[2], origin))
        return f"{found[1]}{posixpath.relpath(page, here or '.')}{found[3] or ''}{found[4]}"

    # Code stands between the odd ones.
    pieces = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    return "".join(piece if piece.startswith("```") else LINK.sub(linked, piece) for piece in pieces)


def outside_pages(pages: dict[str, str]) -> dict[str, str]:
    """The pages for all that pages link to outside of docs/, and that these link to.

    Args:
        pages: texts by their paths in the repository.

    Returns:
        The same for what is to be added, with `text_of_outside` of each.
    """
    found: dict[str, str] = {}
    waiting = [target for path, text in pages.items() for target in targets_of(text, path)]
    while waiting:
        path = waiting.pop()
        if path not in found and path not in ("README.md", "docs") and not is_in_docs(path):
            found[path] = text_of_outside(path)
            waiting += targets_of(found[path], path) if path.endswith(".md") else []
    return found


def text_of_outside(path: str) -> str:
    """A page's Markdown for a file or a folder of the repository."""
    file = ROOT / path
    if path.endswith(".md"):
        return UNSEARCHED + file.read_text(encoding="utf-8")
    if file.is_dir():
        lines = [f"- `{each.name}`{_said(each)}" for each in sorted(file.iterdir()) if each.suffix in LANGUAGES]
        return f"{UNSEARCHED}# {path}\n\n" + "\n".join(lines) + "\n"
    code = file.read_text(encoding="utf-8")
    return f"{UNSEARCHED}# {path}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{code}\n````\n"


def _said(file: Path) -> str:
    """The first sentence of a module's docstring, or of a file's comment."""
    text = file.read_text(encoding="utf-8")
    said = (ast.get_docstring(ast.parse(text)) or "") if file.suffix == ".py" else text.partition("\n")[0].lstrip("# ")
    first = said.partition("\n")[0]
    return f": {first}" if first and file.suffix in (".py", ".toml") else ""


def _resolved(link: str, origin: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)
