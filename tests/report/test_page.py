"""The HTML file: complete, safe whatever names hold, and readable again."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hamsa_deploy.report import html_from_parity
from hamsa_deploy.report.document import document_of
from hamsa_deploy.report.page import document_in, html_from_document
from hamsa_runtime.errors import ParityError

from .browser import opened
from .comparisons import HOSTILE, PROVENANCE, STRICT, document, facts, layers, report, section

VOID = {"meta", "img", "br", "link"}


class Elements(HTMLParser):
    """Every element, and the text that readers see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.text += data


def test_a_verdict_its_reason_and_every_limit() -> None:
    passed, failed = (
        Elements(html_from_document(document(thresholds=limits))) for limits in (report().thresholds, STRICT)
    )
    assert "PASSED" in passed.text
    assert "the bundle agrees with its reference" in passed.text
    assert "FAILED" in failed.text
    for sentence in report(STRICT).failures:
        assert sentence in failed.text
    # Errors of 1 where 0.06 is allowed; a share of 3 of 4 where 0.7 is.
    assert "1667% used" in failed.text
    assert "83% used" in failed.text
    assert failed.text.count("outside") == 2


def test_sections_are_in_the_order_in_which_people_ask() -> None:
    page = html_from_document(document(layers=layers()))
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == [
        "Limits", "Metrics", "Agreement image by image", "Error along depth", "The worst images",
        "Precision of the layers", "Speed against the peers", "Provenance",
    ]  # fmt: skip
    assert "a" * 64 in page
    assert page.count(str(PROVENANCE["written"])) == 2  # once for people, once in the data


def test_names_are_text_whatever_they_hold() -> None:
    found = section(labels=[HOSTILE] * 3, layers=layers(passed=False))
    for row in found["worst"]["logits"]:
        row["name"] = HOSTILE
    found |= {"command": HOSTILE, "compared_with": HOSTILE, "note": HOSTILE, "sentences": [HOSTILE]}
    page = html_from_document(document_of(facts(name=HOSTILE), {"parity": found}))
    page.encode()
    elements = Elements(page)
    assert elements.names.count("script") == 1
    assert "img" not in elements.names
    assert not any(name.startswith("on") for name, _ in elements.attributes)
    assert "</script><img src=x onerror=alert(1)>" in elements.text
    assert "\x00" not in page
    again = document_in(page)
    assert again is not None
    assert again["sections"]["parity"]["labels"] == [HOSTILE] * 3


def test_nothing_is_fetched_and_no_script_runs() -> None:
    elements = Elements(html_from_document(document(layers=layers())))
    policy = next(value for name, value in elements.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    sources = [value for name, value in elements.attributes if name in ("src", "href", "action", "data", "srcset")]
    assert [each for each in sources if not each.startswith("data:image/")] == []
    assert [name for name, _ in elements.attributes if name == "style"] == []


def test_errors_that_are_not_finite_come_back_as_such() -> None:
    page = html_from_document(document(layers=layers(passed=False)))
    assert "first divergence: head" in page
    again = document_in(page)
    assert again is not None
    json.dumps(again, allow_nan=False)
    assert html_from_document(again) == page


@pytest.mark.parametrize(
    "text", ["", "<p>hello</p>", '<script id="hamsa-report">{}</script>', '<script id="hamsa-report">[</script>']
)
def test_other_pages_are_no_reports(text: str) -> None:
    assert document_in(text) is None


def test_python_has_the_same_report() -> None:
    failed = report(STRICT)
    page = Elements(html_from_parity(failed))
    assert "FAILED" in page.text
    with pytest.raises(ParityError) as error:
        failed.require()
    assert all(sentence in page.text for sentence in error.value.found.removeprefix("parity failed: ").split("; "))


def test_a_browser_shows_it(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(html_from_document(document(thresholds=STRICT, layers=layers())), encoding="utf-8")
    shown = opened(file, tmp_path / "profile")
    assert shown.rstrip().endswith("</html>")
    assert "FAILED" in Elements(shown).text
    assert {"svg", "table", "details"} <= set(Elements(shown).names)
