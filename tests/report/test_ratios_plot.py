"""The drawing of given tables: well-formed, to scale, and readable whatever the folders are called."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from hamsa_deploy.bench.benchmark import Row, Table
from hamsa_deploy.bench.percentiles import FASTER, SLOWER, UNCLEAR, Ratio
from hamsa_deploy.report.ratios_plot import COLOURS, LEFT, LONGEST, ratios_drawing
from hamsa_deploy.report.svg import COLOURS as WRITTEN

SVG = "{http://www.w3.org/2000/svg}"


def row(name: str, ratio: Ratio | None = None, verdict: str | None = None) -> Row:
    latency = {"p50": 12.345, "p90": None, "p99": None}
    return Row(name, "ONNX Runtime", "fp32", 5, latency, 80.0, ratio, verdict, None, None, None)


def drawn(*rows: Row) -> ElementTree.Element:
    table = Table(1, 2, 5, Ratio(1.0, 0.95, 1.05), (row("first"), *rows))
    return ElementTree.fromstring(ratios_drawing([table]).as_file())  # noqa: S314  # our own text


def bars(svg: ElementTree.Element) -> list[ElementTree.Element]:
    return [each for each in svg.iter(f"{SVG}rect") if each.get("x") == str(LEFT)]


def test_bars_are_as_long_as_the_ratios_and_coloured_by_verdict() -> None:
    svg = drawn(
        row("fast", Ratio(0.5, 0.49, 0.51), FASTER),
        row("slow", Ratio(2.0, 1.9, 2.1), SLOWER),
        row("who knows", Ratio(1.01, 0.98, 1.04), UNCLEAR),
    )
    first, fast, slow, unclear = bars(svg)
    unit = float(first.get("width", 0))
    # Coordinates are rounded to a tenth of a pixel.
    assert float(fast.get("width", 0)) == pytest.approx(0.5 * unit, abs=0.1)
    assert float(slow.get("width", 0)) == pytest.approx(2.0 * unit, abs=0.2)
    assert [each.get("fill") for each in (first, fast, slow, unclear)] == [
        WRITTEN[name][0] for name in COLOURS.values()
    ]
    texts = [each.text for each in svg.iter(f"{SVG}text")]
    assert texts.count("12.3 ms") == 4
    assert "1.01?" in texts
    assert "batch 1, 2 threads: time over that of first" in texts


def test_the_line_across_a_bar_spans_the_quartiles() -> None:
    svg = drawn(row("slow", Ratio(2.0, 1.5, 2.5), SLOWER))
    unit = float(bars(svg)[0].get("width", 0))
    (line,) = [each.get("d", "") for each in svg.iter(f"{SVG}path") if each.get("stroke-width") == "2"]
    start, end = (point.split(" ")[0] for point in line[1:].split("L"))
    assert float(start) == pytest.approx(LEFT + 1.5 * unit, abs=0.2)
    assert float(end) == pytest.approx(LEFT + 2.5 * unit, abs=0.2)


def test_a_bar_far_longer_than_the_others_has_a_gap() -> None:
    svg = drawn(row("very slow", Ratio(40.0, 39.0, 41.0), SLOWER))
    first, slow = bars(svg)
    assert float(slow.get("width", 0)) == pytest.approx(LONGEST * float(first.get("width", 0)), abs=0.5)
    end = LEFT + float(slow.get("width", 0))
    (gap,) = [
        each for each in svg.iter(f"{SVG}rect") if each.get("fill") == WRITTEN["paper"][0] and each.get("x") != "0"
    ]
    assert LEFT < float(gap.get("x", 0)) < end - float(gap.get("width", 0))
    assert "40.00" in [each.text for each in svg.iter(f"{SVG}text")]


def test_names_are_text_whatever_they_hold() -> None:
    svg = drawn(row("<b>&'\"", Ratio(0.5, 0.4, 0.6), FASTER), row("x" * 100, Ratio(0.5, 0.4, 0.6), FASTER))
    texts = [each.text or "" for each in svg.iter(f"{SVG}text") if each.get("fill") == WRITTEN["ink"][0]]
    assert "<b>&'\"" in texts
    assert any(text.startswith("…xxx") and len(text) < 40 for text in texts)
