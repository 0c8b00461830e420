"""Which files a report may replace, what it keeps, and how it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hamsa_deploy.report.document import document_of
from hamsa_deploy.report.files import sections_to_keep, write
from hamsa_deploy.report.page import html_from_document
from hamsa_runtime.errors import InputError

from .comparisons import document, facts, section


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    write(path, html_from_document(document()))
    return path


def test_a_report_of_the_same_bundle_is_kept(page: Path) -> None:
    kept, note = sections_to_keep(page, facts())
    assert (list(kept), note) == (["parity"], "")
    assert kept["parity"]["images"] == 4


def test_of_an_earlier_export_nothing_is_kept_and_that_is_said(page: Path) -> None:
    kept, note = sections_to_keep(page, facts(digest="1" * 64))
    assert kept == {}
    assert "an earlier export of this bundle" in note


def test_a_report_of_another_bundle_stays(page: Path) -> None:
    before = page.read_bytes()
    with pytest.raises(InputError, match="a report of another bundle: nano for onnx, int8; it is not replaced"):
        sections_to_keep(page, facts(name="small"))
    assert page.read_bytes() == before


@pytest.mark.parametrize("content", [b"<h1>my page</h1>", b"\xff\xfe", b""])
def test_what_is_no_report_stays(tmp_path: Path, content: bytes) -> None:
    for name in ("page.html", "page.md", "page.xml"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="it is not replaced"):
            sections_to_keep(tmp_path / name, facts())


def test_a_damaged_report_is_noticed_before_the_work(tmp_path: Path) -> None:
    text = html_from_document(document_of(facts(), {"parity": section()}))
    path = tmp_path / "report.html"
    path.write_text(text.replace('"cosine": 0', '"sine": 0'))
    with pytest.raises(InputError, match="a damaged report"):
        sections_to_keep(path, facts())


def test_a_disk_that_is_full_leaves_the_older_report(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = page.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write(page, "new")
    assert page.read_bytes() == before
    assert [path.name for path in page.parent.iterdir()] == [page.name]
