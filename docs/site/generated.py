"""Pages that are made whenever the site is built, of the packages and of the notebook; and what formulas become."""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hamsa_runtime.cli.hamsa import COMMANDS, main

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "runtimes/python/hamsa_runtime/manifest.schema.json"
EM = 21.0  # what formulas are drawn at; they are shown at the size of the text
MATHS = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def commands_page() -> str:
    """What each command says to --help."""
    sections = [f"## hamsa {name}\n\n```text\n{_help_of(name)}```\n" for name in COMMANDS]
    return "\n".join(["# Commands\n\nWhat each says to `--help`.\n", *sections])


def _help_of(command: str) -> str:
    said, width = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "84"
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main([command, "--help"])
    finally:
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)
    return said.getvalue()


def manifest_page() -> str:
    """The schema of manifest.json, a table for each object in it."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text("utf-8"))
    objects = {"manifest.json": schema} | {
        name: entry for name, entry in schema["$defs"].items() if entry.get("properties")
    }
    return "\n".join(["# The manifest\n", schema["description"] + "\n", *map(_object, objects, objects.values())])


def _object(name: str, entry: dict[str, Any]) -> str:
    needed = entry.get("required", ())
    rows = [
        f"| `{key}` | {_kind(value)} | {'' if key in needed else 'optional. '}{_cell(value.get('description', ''))} |"
        for key, value in entry["properties"].items()
    ]
    said = "" if name == "manifest.json" else entry.get("description", "") + "\n\n"
    return f"## {name}\n\n{said}| key | type | what it says |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _kind(value: dict[str, Any]) -> str:
    """Of a field, in a word or two; what is an object of its own is linked."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        linked = json.loads(SCHEMA.read_text("utf-8"))["$defs"][name].get("properties")
        return f"[{name}](#{name})" if linked else name
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "anyOf" in value or "oneOf" in value:
        return " or ".join(map(_kind, value.get("anyOf") or value["oneOf"]))
    if "items" in value:
        return f"list of {_kind(value['items'])}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"{_kind(value['additionalProperties'])} by name"
    kind = value.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def notebook_page(notebook: Path) -> str:
    """A notebook as Markdown: its text, its code, and what that printed."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return "\n\n".join(piece for cell in cells for piece in _cell_of_notebook(cell)) + "\n"


def _cell_of_notebook(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    printed = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell["outputs"])
    said = "".join("".join(each) for each in printed)
    if said:
        yield f"```text\n{said.rstrip()}\n```"


def with_formulas(page: str) -> str:
    """HTML with drawings in place of LaTeX: they need neither a script, nor a network, nor a font with formulas in it,
    which phones do not have."""
    return MATHS.sub(lambda found: _drawn(html.unescape(found[2]), inline=found[1] == "span"), page)


def _drawn(latex: str, *, inline: bool) -> str:
    """SVG as large as the text around it, and in its colour; an inline formula stands on the line."""
    import ziamath

    ziamath.config.svg2 = False  # no names, which would be the same ones in all formulas of a page
    drawing = ziamath.Latex(latex.replace("\n", " "), size=24, color="currentColor", inline=inline).svg()
    _, top, width, height = map(float, re.findall(r'viewBox="(\S+) (\S+) (\S+) (\S+)"', drawing)[0])
    style = f"width: {width / EM:.2f}em; height: {height / EM:.2f}em; vertical-align: {-(top + height) / EM:.2f}em"
    attributes = f'role="img" aria-label="{html.escape(latex)}" style="{style}" viewBox'
    drawing = re.sub(r' width="\S+" height="\S+" viewBox', f" {attributes}".replace("\\", r"\\"), drawing, count=1)
    return drawing if inline else f'<div class="formula">{drawing}</div>'
