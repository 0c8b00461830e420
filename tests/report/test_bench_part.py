"""Speed in a report: ratios with their spread, and reasons for what is missing."""

from __future__ import annotations

import dataclasses
import json

from hamsa_deploy.bench.benchmark import Row, Table
from hamsa_deploy.bench.percentiles import FASTER, UNCLEAR, Ratio
from hamsa_deploy.bench.report import document as measured
from hamsa_deploy.report.document import document_of
from hamsa_deploy.report.markdown import markdown_from_document
from hamsa_deploy.report.page import document_in, html_from_document

from .comparisons import HOSTILE, PROVENANCE, facts, section

LATENCY = {"p50": 12.345, "p90": 14.0, "p99": None}
FIRST = Row("nano", "ONNX Runtime", "int8", 5, LATENCY, 81.0, None, None, None, 7, None)
FAST = dataclasses.replace(FIRST, name="peer", ratio=Ratio(0.5, 0.49, 0.52), verdict=FASTER)
NOISY = dataclasses.replace(FIRST, name=HOSTILE, ratio=Ratio(1.01, 0.9, 1.2), verdict=UNCLEAR)
TABLE = Table(8, 1, 6, Ratio(1.0, 0.9, 1.1), (FIRST, FAST, NOISY))
BENCH = {**PROVENANCE, "measured": measured([TABLE], "left out: no meter here", ["too noisy to tell"])}


def test_ratios_have_their_spread_and_what_is_missing_its_reason() -> None:
    page = html_from_document(document_of(facts(), {"bench": BENCH}))
    # On a phone each of these is a line, with the name of its column.
    cells = (
        '<td data-column="time"><strong class="good">0.50</strong></td><td data-column="quartiles">0.49-0.52</td>'
        '<td>faster</td><td data-column="p50, ms">12.3</td>'
    )
    assert cells in page
    assert '<strong class="unsure">1.01?</strong>' in page
    assert "left out: no meter here" in page
    assert "too noisy to tell" in page
    assert "? NOT COMPARED" in page
    assert "<img" not in page


def test_both_commands_sections_stand_in_one_page_in_either_order() -> None:
    one, other = ({"parity": section(), "bench": BENCH}, {"bench": BENCH, "parity": section()})
    pages = [html_from_document(document_of(facts(), sections)) for sections in (one, other)]
    assert all("PASSED" in page and "0.49-0.52" in page for page in pages)
    again = document_in(pages[0])
    assert again is not None
    assert again == json.loads(json.dumps(document_of(facts(), one)))
    assert html_from_document(again) == pages[0]


def test_markdown_has_the_ratios_too() -> None:
    text = markdown_from_document(document_of(facts(), {"bench": BENCH}))
    assert "| peer | 0.50 | 0.49-0.52 | faster | 12.35 ms |" in text
    assert "Energy: left out: no meter here" in text
    assert "<img" not in text
