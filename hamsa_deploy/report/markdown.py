"""A report as Markdown, for pull requests and the job summaries of CI systems: no pictures, only what decides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hamsa_deploy.bench.benchmark import heading
from hamsa_deploy.bench.report import tables_from
from hamsa_deploy.parity.metrics import error_text
from hamsa_deploy.report.document import BENCH, PARITY, Document, title_of, verdict_of
from hamsa_deploy.report.files import MARK
from hamsa_deploy.report.markup import printable
from hamsa_deploy.report.parity_html import class_name
from hamsa_deploy.report.wording import MISSING, allowed_text, metric_rows, value_text

SYMBOLS = {"passed": "\N{WHITE HEAVY CHECK MARK} PASSED", "failed": "\N{CROSS MARK} FAILED"}


def markdown_from_document(document: Document) -> str:
    """The whole file. The first line, which no viewer shows, says what it is."""
    word, sentences = verdict_of(document)
    found, bench = (document["sections"].get(name) for name in (PARITY, BENCH))
    parts = [f"<!-- {MARK} -->", f"## {plain(title_of(document))}"]
    if found is not None:
        parts += [f"**{SYMBOLS[word]}** {plain('; '.join(sentences))}", *_parity_parts(found)]
    if bench is not None:
        parts += _bench_parts(bench["measured"])
    return "\n\n".join([*parts, _provenance(document)]) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is: in one line, with every character that means something escaped."""
    line = " ".join(printable(text).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~&!@])", lambda found: f"&#{ord(found[0])};", line)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """All columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _parity_parts(found: Mapping[str, Any]) -> list[str]:
    parts = [f"Against {plain(found.get('compared_with') or found['reference'])}, on {found['images'] or 'no'} images."]
    if found["way_out"]:
        parts.append(f"**Try** {plain(found['way_out'])}")
    if found["note"]:
        parts.append(plain(found["note"]))
    if found["limits"]:
        parts.append(_limits(found["limits"]))
    if found["layers"] is not None and found["layers"]["divergence"] is not None:
        parts.append(_divergence(found["layers"]["divergence"]))
    parts += [_worst(name, rows, found["labels"]) for name, rows in found["worst"].items()]
    return [*parts, *([_folded("All metrics", _metrics(found["metrics"]))] if found["metrics"] else [])]


def _limits(checks: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for check in checks:
        used = MISSING if check["used"] is None else f"{check['used']:.0%}"
        mark = "\N{CROSS MARK} outside" if check["failure"] else "\N{WHITE HEAVY CHECK MARK} kept"
        name = plain(f"{check['output']}: {check['words']}")
        found, allowed = value_text(check["metric"], check["value"]), allowed_text(check["limit"], check["is_upper"])
        rows.append([name, found, allowed, used, mark])
    return table(["", "found", "allowed", "of it used", ""], rows)


def _divergence(found: Mapping[str, Any]) -> str:
    where = f"{found['node']} ({found['operator']}), {found['source']}"
    return f"**First divergence** {plain(found['module'])}: {plain(where)}. {plain(found['finding'])}"


def _worst(name: str, rows: Sequence[Mapping[str, Any]], labels: Sequence[str] | None) -> str:
    lines = []
    for row in rows:
        names = [
            plain(class_name(row[key], labels)) if key in row else "-" for key in ("reference_prediction", "prediction")
        ]
        lines.append([plain(row["name"]), error_text(row["relative_error"]), f"{row['cosine']:.6f}", *names])
    head = [f"worst images, {plain(name)}", "relative error", "cosine", "reference", "bundle"]
    return table(head, lines)


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> str:
    rows = [[metric.label, *texts.values()] for metric, texts in metric_rows(metrics)]
    return table(["", *map(plain, metrics)], rows)


def _bench_parts(bench: Mapping[str, Any]) -> list[str]:
    parts = []
    for found in tables_from(bench):
        rows = []
        for row in found.rows:
            ratio = ["1", ""] if row.ratio is None else [f"{row.ratio.median:.2f}", row.ratio.quartiles]
            rows.append([plain(row.name), *ratio, plain(row.verdict or "-"), f"{row.latency['p50']:.4g} ms"])
        title = f"time, {heading(found.batch, found.threads)}"
        parts.append(table([title, "of the first", "quartiles", "", "p50"], rows))
    return [*parts, f"Energy: {plain(bench['energy'])}"]


def _provenance(document: Document) -> str:
    lines = []
    if document["bundle"] is not None:
        lines.append(f"manifest.json: SHA-256 {document['bundle']['manifest_sha256']}")
    for section in document["sections"].values():
        lines.append(f"{plain(section['command'] or 'from Python')}, {section['written']}, {plain(section['machine'])}")
    return _folded("Provenance", "\n".join(f"- {line}" for line in lines))


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"
