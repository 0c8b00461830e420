"""What hamsa-parity shows and writes into reports: what was compared, metrics beside their limits, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hamsa_deploy.cli.console import grid, table
from hamsa_deploy.parity.layers.rows import HEADINGS, Divergence, LayerReport, table_rows
from hamsa_deploy.parity.limits import limits_of
from hamsa_deploy.parity.metrics import error_text, share_text
from hamsa_deploy.report.document import PARITY
from hamsa_deploy.report.parity_section import section_from_error, section_from_report
from hamsa_deploy.report.precision_map import precision_maps
from hamsa_deploy.report.wording import agreement_sentence, allowed_text, engine_text, metric_rows
from hamsa_runtime.errors import ParityError

if TYPE_CHECKING:
    from hamsa_deploy.cli.parity_request import ParityRequest
    from hamsa_deploy.cli.reports import Reports
    from hamsa_deploy.parity import ParityReport
    from hamsa_deploy.parity.agreement import Agreement

SHOWN = 5  # worst images


def show_report(console: Console, request: ParityRequest, report: ParityReport) -> None:
    """Everything that is known, the verdict last."""
    manifest = request.manifest
    parts: list[RenderableType] = [
        Text.assemble((manifest.name, "bold"), " for ", (f"{manifest.target}, {manifest.precision}", "bold")),
        _facts(request, report),
        _metrics_table(report),
        *_accuracy(report),
        *_worst_images(request, report),
    ]
    for part in parts:
        console.print(part)
        console.print()
    console.print(_verdict(request, report))


def show_layers(console: Console, report: LayerReport) -> None:
    """Print the table, what could not be compared, and the verdict."""
    console.print(_layer_table(report))
    console.print()
    for name, reason in report.not_comparable.items():
        console.print(Text.assemble((f"not comparable  {name or 'the model'}: ", "yellow"), reason), soft_wrap=True)
    for note in report.notes:
        console.print(Text(note, "dim"), soft_wrap=True)
    if report.divergence is None:
        console.print(Text.assemble(("✓ ", "bold green"), report.sentence()), soft_wrap=True)
        return
    console.print(Text.assemble(("✗ first divergence  ", "bold red"), (report.divergence.module, "bold")))
    console.print(_divergence_facts(report.divergence))


def write_result(reports: Reports, request: ParityRequest, report: ParityReport, layers: LayerReport | None) -> None:
    """A comparison that was made, whatever its verdict."""
    section = section_from_report(
        report,
        manifest=request.manifest,
        data=request.data,
        labels=request.labels,
        limits_given=request.thresholds is not None,
        layers=layers,
    )
    maps = precision_maps(request.bundle, request.device)
    run_by = engine_text(report, request.manifest.target)
    reports.write(PARITY, {**section, **_origin(request), "run_by": run_by, "precision_maps": maps})


def write_failure(reports: Reports, request: ParityRequest, error: ParityError) -> None:
    """A comparison that broke off."""
    reports.write(PARITY, {**section_from_error(error, request.manifest.precision), **_origin(request)})


def _facts(request: ParityRequest, report: ParityReport) -> Table:
    facts = grid()
    rows = [
        ("bundle", str(request.bundle)),
        ("run by", engine_text(report, request.manifest.target)),
        ("against", request.reference_text),
        ("images" if request.manifest.preprocessing else "inputs", f"{report.images}, {request.data_text}"),
    ]
    for label, text in rows:
        facts.add_row(Text(label, "cyan"), Text(text))
    if report.note:
        facts.add_row(Text("note", "cyan"), Text(report.note, "yellow"))
    return facts


def _metrics_table(report: ParityReport) -> Table:
    rows = table("", *report.metrics, "allowed")
    limits = {limit.metric: limit for limit in limits_of(report.thresholds)}
    for metric, texts in metric_rows(report.metrics):
        limit = limits.get(metric.name)
        cells = []
        for output, text in texts.items():
            failed = limit is not None and limit.failure(output, report.metrics[output])
            cells.append(Text(text, "bold red" if failed else ""))
        allowed = "" if limit is None else allowed_text(limit.limit, limit.judged.is_upper)
        rows.add_row(metric.label, *cells, Text(allowed, "dim"))
    return rows


def _accuracy(report: ParityReport) -> list[RenderableType]:
    """The accuracy of both and its change, with how sure that is."""
    parts: list[RenderableType] = []
    for metrics in report.metrics.values():
        if "accuracy" in metrics:
            facts = grid()
            for label, text in _accuracy_rows(metrics, report.thresholds.max_drop):
                facts.add_row(Text(label, "cyan"), Text(text))
            parts.append(Group(Text("Accuracy, by the true classes\n", "bold"), facts))
    return parts


def _accuracy_rows(metrics: Mapping[str, float], largest: float | None) -> list[tuple[str, str]]:
    low, high = metrics["accuracy_change_low"], metrics["accuracy_change_high"]
    lost, gained = metrics["accuracy_lost"], metrics["accuracy_gained"]
    allowed = "" if largest is None else f"; allowed: a loss of {largest:g}"
    return [
        ("reference", share_text(metrics["accuracy_reference"])),
        ("bundle", share_text(metrics["accuracy"])),
        ("change", f"{metrics['accuracy_change']:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}{allowed}"),
        ("changed", f"{lost:.0f} right before and wrong now, {gained:.0f} the other way"),
        ("test", f"p = {metrics['mcnemar_p']:.3g} (McNemar's, exact)"),
    ]


def _worst_images(request: ParityRequest, report: ParityReport) -> list[RenderableType]:
    """Where something failed, or a class changed: the images with the largest errors."""
    parts: list[RenderableType] = []
    for name, agreement in report.agreements.items():
        same = agreement.same_top1
        if report.passed and (same is None or same.all()):
            continue
        parts.append(Group(Text(f"Worst images, {name}\n", "bold"), _image_table(request, report, agreement)))
    return parts


def _image_table(request: ParityRequest, report: ParityReport, agreement: Agreement) -> Table:
    classes = [("true class", agreement.classes)] if agreement.classes is not None else []
    if agreement.prediction is not None and agreement.reference_prediction is not None:
        classes += [("reference", agreement.reference_prediction), ("bundle", agreement.prediction)]
    rows = table("image", "relative error", "cosine", *(label for label, _ in classes))
    for i in agreement.worst(SHOWN):
        names = [_class_name(request, int(column[i])) for _, column in classes]
        values = error_text(agreement.relative_error[i]), f"{agreement.cosine[i]:.6f}"
        rows.add_row(Text(report.image_name(i), overflow="fold"), *values, *map(Text, names))
    return rows


def _class_name(request: ParityRequest, number: int) -> str:
    return request.labels[number] if request.labels is not None else str(number)


def _verdict(request: ParityRequest, report: ParityReport) -> Text:
    if report.passed:
        text = agreement_sentence(report.precision if request.thresholds is None else "")
        return Text.assemble(("✓ PASSED  ", "bold green"), text)
    lines = "\n          ".join(report.failures)
    cause = Text.assemble(("\nCause     ", "bold"), report.ill_conditioned) if report.ill_conditioned else ""
    return Text.assemble(("✗ FAILED  ", "bold red"), lines, cause, ("\nTry       ", "bold"), report.way_out)


def _layer_table(report: LayerReport) -> Table:
    """A row for each layer; those outside their band are red."""
    columns = table(*HEADINGS)
    columns.columns[1].justify = "left"
    for row, cells in zip(report.rows, table_rows(report.rows), strict=True):
        columns.add_row(*map(Text, cells), style="red" if row.outside else None)
    return columns


def _divergence_facts(found: Divergence) -> Table:
    rows = {
        "node": f"{found.node} ({found.operator})" + (f", {found.source}" if found.source else ""),
        "own error": f"{found.own_error:.2g}, band {found.band:.2g}; image {found.image}",
        "error before it": f"{found.before:.2g}",
        "introduced by": found.stage,
        "finding": found.finding,
    }
    facts = grid()
    for label, text in rows.items():
        facts.add_row(Text(label, "cyan"), Text(text))
    return facts


def _origin(request: ParityRequest) -> dict[str, Any]:
    return {"compared_with": request.reference_text, "data": request.data_text}
