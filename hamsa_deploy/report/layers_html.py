"""The comparison layer by layer, as HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hamsa_deploy.parity.layers.rows import HEADINGS, Divergence, LayerReport, LayerRow, table_rows
from hamsa_deploy.report.layers_plot import layers_drawing
from hamsa_deploy.report.markup import Child, Markup, facts, figure, table, tag

TITLE = "Error along depth"
NUMBERS = ("error", "own_error", "band", "before")


def layers_part(found: Mapping[str, Any] | None) -> Markup:
    """The drawing, the first divergence, and the table of all layers folded in."""
    if found is None:
        command = tag("code", "hamsa-parity BUNDLE --layers --report FILE.html")
        line = tag("p", "Not in this report yet: the comparison layer by layer. ", command, " adds it.", class_="empty")
        return tag("section", tag("h2", TITLE), line)
    report = layer_report_from(found)
    rows: list[list[Child]] = [[*cells] for cells in table_rows(report.rows)]
    caption = (
        f"Relative error on a logarithmic scale, from the first layer on the left to the outputs on the right; against "
        f"{report.reference}, the largest of {report.images} images. Hover over a point for its layer."
    )
    reasons = [tag("li", f"{name or 'the model'}: {reason}") for name, reason in report.not_comparable.items()]
    return tag(
        "section",
        tag("h2", TITLE),
        tag("p", report.sentence(), class_=None if report.passed else "bad"),
        *_divergence(report.divergence),
        figure(layers_drawing(report).in_page(), caption),
        tag("details", tag("summary", f"All {len(rows)} layers as a table"), table(list(HEADINGS), rows)),
        *([tag("details", tag("summary", f"{len(reasons)} not comparable"), tag("ul", *reasons))] if reasons else []),
        *(tag("p", note, class_="quiet") for note in report.notes),
    )


def layer_report_from(found: Mapping[str, Any]) -> LayerReport:
    """From `LayerReport.as_document`, also of one that was read from JSON; null is NaN again."""
    rows = tuple(LayerRow(**_numbers({k: v for k, v in row.items() if k != "outside"})) for row in found["rows"])
    divergence = None if found["divergence"] is None else Divergence(**_numbers(found["divergence"]))
    return LayerReport(
        reference=found["reference"],
        precision=found["precision"],
        images=found["images"],
        rows=rows,
        not_comparable=found["not_comparable"],
        divergence=divergence,
        notes=tuple(found["notes"]),
    )


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if key in NUMBERS and value is None else value for key, value in row.items()}


def _divergence(found: Divergence | None) -> list[Markup]:
    if found is None:
        return []
    rows: list[tuple[str, Child]] = [
        ("layer", tag("strong", found.module)),
        ("node", f"{found.node} ({found.operator})"),
        ("line of the model", found.source),
        ("own error", f"{found.own_error:.2g}, band {found.band:.2g}; before it {found.before:.2g}"),
        ("brought in by", found.stage),
        ("finding", found.finding),
    ]
    return [facts(rows)]
