"""The HTML file: complete, safe whatever names hold, and readable again."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from hamsa_deploy.report import html_from_parity
from hamsa_deploy.report.document import document_of
from hamsa_deploy.report.page import document_in, html_from_document
from hamsa_deploy.report.svg import COLOURS, SERIES
from hamsa_runtime.errors import ParityError

from .browser import opened
from .comparisons import HOSTILE, PROVENANCE, STRICT, document, facts, layers, report, section

# What is written on coloured papers, by the names of both; ink and quiet are on all of them.
PAPERS: dict[str, tuple[str, ...]] = {
    "raised": ("ink", "quiet", "bad"),
    "good-paper": ("ink", "quiet", "good"),
    "bad-paper": ("ink", "quiet", "bad"),
    "unsure-paper": ("ink", "quiet", "unsure"),
}
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


def luminance(colour: str) -> float:
    """Relative, as WCAG 2 has it, of #rrggbb."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_every_paper_that_it_is_on(scheme: int) -> None:
    """WCAG 2's level AA: a contrast of 4.5 for text of any size, of 3 for what is drawn."""
    sheet = files("hamsa_deploy.report").joinpath("style.css").read_text("utf-8")
    papers = {name: found[scheme] for name in PAPERS if (found := re.findall(rf"--{name}:(#\w{{6}})", sheet))}
    papers["paper"] = COLOURS["paper"][scheme]
    assert set(papers) == {*PAPERS, "paper"}
    texts = {**PAPERS, "paper": ("ink", "quiet", "good", "bad", "unsure")}
    pairs = {(paper, name): 4.5 for paper, names in texts.items() for name in names}
    pairs |= {("paper", name): 3.0 for name in SERIES}
    for (paper, name), least in pairs.items():
        one, other = sorted(map(luminance, (papers[paper], COLOURS[name][scheme])))
        assert (other + 0.05) / (one + 0.05) >= least, f"{name} on {paper}"


def test_on_a_phone_a_wide_table_has_a_line_for_each_cell_and_a_chart_scrolls() -> None:
    page = html_from_document(document(layers=layers()))
    limits = page[page.index("<h2>Limits") : page.index("<h2>Metrics")]
    columns = re.findall(r'<td data-column="([^"]+)">', limits)
    assert columns[:3] == ["found", "allowed", "of what is allowed"]
    assert 'class="commands stacks"' in page
    # Of a phone's 390 pixels, 358 are left between the margins.
    widths = {kind: int(width) for kind, width in re.findall(r'<svg(?: class="(wide)")? viewBox="0 0 (\d+) ', page)}
    assert widths[""] <= 390 < widths["wide"]


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
