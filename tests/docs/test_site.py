"""What the site is made of: links into the repository, pages of the packages, and a menu that has every page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from .pages import DOCS, PAGES, ROOT, text_of

sys.path.insert(0, str(DOCS / "site"))

import generated
import repository


def test_every_page_is_in_the_menu() -> None:
    menu = set(re.findall(r"^ *- (?:\w+: )?(\S+\.md)$", text_of(ROOT / "mkdocs.yml"), re.MULTILINE))
    pages = {page.name for page in PAGES if page.parent == DOCS}
    made = {"index.md", "tour.md", "reference/commands.md", "reference/manifest.md", "results/README.md"}
    assert menu - made == pages | {f"reference/{page.name}" for page in (DOCS / "reference").glob("*.md")}


@pytest.mark.parametrize(
    ("link", "origin", "made"),
    [
        ("docs/audio.md#a", "README.md", "audio.md#a"),
        ("docs", "README.md", "index.md"),
        ("SECURITY.md", "README.md", "repository/SECURITY.md"),
        ("audio.md", "docs/mamba.md", "audio.md"),
        ("../README.md#speed", "docs/mamba.md", "index.md#speed"),
        ("../SECURITY.md", "docs/mamba.md", "repository/SECURITY.md"),
        ("../export/x.toml", "docs/mamba.md", "repository/export/x.toml.md"),
        ("../runtime-python.md", "docs/reference/a.md", "../runtime-python.md"),
        ("../../benchmarks", "docs/results/README.md", "../repository/benchmarks.md"),
        ("../../docs/runtime-cpp.md", "examples/cpp_app/README.md", "../../../runtime-cpp.md"),
        ("https://example.org/a.md", "docs/mamba.md", "https://example.org/a.md"),
    ],
)
def test_a_link_leads_to_a_page_of_the_site(link: str, origin: str, made: str) -> None:
    assert (
        repository.relinked(f"[a]({link}) and\n```\n[b]({link})\n```", origin)
        == f"[a]({made}) and\n```\n[b]({link})\n```"
    )


def test_pages_outside_of_docs_come_with_what_they_link_to() -> None:
    pages = repository.outside_pages({"docs/errors.md": text_of(DOCS / "errors.md")})
    assert "tests/faults/README.md" in pages  # which errors.md links to
    assert any(path.startswith("runtimes/") for path in pages)  # which SECURITY.md links to
    code = repository.outside_pages({"docs/a.md": "[a](../hamsa_deploy/spectral/values.py)"})
    assert "````python\n" in code["hamsa_deploy/spectral/values.py"]
    folder = repository.outside_pages({"docs/a.md": "[a](../benchmarks)"})["benchmarks"]
    assert "- `growth.py`: " in folder


def test_the_manifest_has_a_line_for_each_field() -> None:
    page = generated.manifest_page()
    schema = json.loads((ROOT / "runtimes/python/hamsa_runtime/manifest.schema.json").read_text())
    assert all(f"| `{key}` |" in page for key in schema["properties"])
    assert "| `preprocessing` | [preprocessing](#preprocessing) or null |" in page
    assert "## preprocessing" in page


def test_a_notebook_is_a_page_with_what_it_printed(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {
            "cell_type": "code",
            "source": ["print(1)\n", "2"],
            "outputs": [{"text": ["1\n"]}, {"data": {"text/plain": "2"}}],
        },
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    page = generated.notebook_page(tmp_path / "a.ipynb")
    assert page == "# Title\n\n```python\nprint(1)\n2\n```\n\n```text\n1\n2\n```\n"


@pytest.mark.slow  # a kernel, a training and an export
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "transforms left: 0" in printed
    assert "passed: True" in printed
