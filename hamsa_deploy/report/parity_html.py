"""What hamsa-parity found, as HTML: limits, metrics, histograms, error along depth and the worst images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hamsa_deploy.parity.metrics import error_text, share_text
from hamsa_deploy.report.document import PARITY, Document
from hamsa_deploy.report.histograms import histogram_drawing
from hamsa_deploy.report.layers_html import layers_part
from hamsa_deploy.report.markup import Child, Markup, figure, joined, side_by_side, table, tag
from hamsa_deploy.report.wording import MISSING, allowed_text, metric_rows, value_text

COMMAND = "hamsa-parity BUNDLE --report FILE.html"


def parity_parts(document: Document) -> list[Markup]:
    """Sections in the order of the page; one line each where the command has not been run."""
    found = document["sections"].get(PARITY)
    if found is None:
        return [
            part("Limits and metrics", missing("agreement with the reference", COMMAND)),
            part("Error along depth", missing("the comparison layer by layer", f"{COMMAND} --layers")),
        ]
    return [
        part("Limits", *_limits(found)),
        part("Metrics", *_metrics(found)),
        part("Agreement image by image", *_histograms(found)),
        layers_part(found["layers"]),
        part("The worst images", *_worst(found)),
    ]


def part(title: str, *children: Child) -> Markup:
    """A section of the page."""
    return tag("section", tag("h2", title), *children)


def missing(what: str, command: str) -> Markup:
    """The line that stands where something could be."""
    return tag("p", f"Not in this report yet: {what}. ", tag("code", command), " adds it.", class_="empty")


def _limits(found: Mapping[str, Any]) -> list[Markup]:
    lines = [tag("p", sentence, class_="bad") for sentence in found["other_failures"]]
    if not found["limits"]:
        why = "No output could be compared."
        return [tag("p", why), tag("p", f"Expected: {found['expected']}. Likely cause: {found['cause']}."), *lines]
    closest = max((check["used"] for check in found["limits"] if check["used"] is not None), default=0.0)
    rows = [_limit_row(check, closest) for check in found["limits"]]
    head: list[Child] = ["output and metric", "", "found", "allowed", "of what is allowed"]
    notes = [tag("p", found["note"], class_="quiet")] if found["note"] else []
    return [table(head, rows, stacks=True), *notes, *lines]


def _limit_row(check: Mapping[str, Any], closest: float) -> list[Child]:
    used = check["used"]
    share: Child = MISSING
    if used is not None:
        # The less, the better: browsers show a meter in green below low, in red above high.
        bar = tag("meter", min="0", max="1", low="0.9", high="0.9999", optimum="0", value=f"{min(used, 1):.4f}")
        share = joined(f"{used:.0%} used", bar)
    elif check["unit"]:
        share = (
            f"{abs(check['value'] - check['limit']):.3g}{check['unit']} {'over' if check['failure'] else 'to spare'}"
        )
    return [
        f"{check['output']}: {check['words']}",
        _word(check, closest),
        _marked(value_text(check["metric"], check["value"]), bool(check["failure"])),
        allowed_text(check["limit"], check["is_upper"]),
        share,
    ]


def _word(check: Mapping[str, Any], closest: float) -> Markup:
    if check["failure"]:
        return tag("strong", "\N{BALLOT X} outside", class_="bad")
    nearest = ", closest" if closest > 0 and check["used"] == closest else ""
    return tag("span", "\N{CHECK MARK} kept" + nearest, class_="good")


def _metrics(found: Mapping[str, Any]) -> list[Markup]:
    if not found["metrics"]:
        return [tag("p", "None: there is nothing to compute them of.")]
    failed = {(check["output"], check["metric"]) for check in found["limits"] if check["failure"]}
    rows: list[list[Child]] = [
        [metric.label, *(_marked(text, (output, metric.name) in failed) for output, text in texts.items())]
        for metric, texts in metric_rows(found["metrics"])
    ]
    parts = [table(["", *found["metrics"]], rows)]
    parts += [line for metrics in found["metrics"].values() for line in _accuracy(metrics)]
    return parts


def _marked(text: str, failed: bool) -> Child:
    return tag("strong", f"\N{BALLOT X} {text}", class_="bad") if failed else text


def _accuracy(metrics: Mapping[str, float]) -> list[Markup]:
    if "accuracy" not in metrics:
        return []
    low, high = metrics["accuracy_change_low"], metrics["accuracy_change_high"]
    text = (
        f"Accuracy by the true classes: {share_text(metrics['accuracy_reference'])} for the reference, "
        f"{share_text(metrics['accuracy'])} for the bundle; a change of {metrics['accuracy_change']:+.2f} points, "
        f"with a 95 % interval of {low:+.2f} to {high:+.2f}. Images that were right before and are wrong now: "
        f"{metrics['accuracy_lost']:.0f}; the other way: {metrics['accuracy_gained']:.0f}; p = "
        f"{metrics['mcnemar_p']:.3g} by McNemar's exact test."
    )
    return [tag("p", text)]


def _histograms(found: Mapping[str, Any]) -> list[Markup]:
    drawings = [
        figure(
            histogram_drawing(name, each).in_page(),
            f"{name}: {each['quantity']} of each image" + _left_of_the_limit(each),
        )
        for name, histograms in found["histograms"].items()
        for each in histograms
    ]
    if not drawings:
        return [tag("p", "None: no image could be compared.")]
    about = (
        "How many images differ by how much. The error is the largest of an image's values, relative to the largest "
        "value of the reference; 1 \N{MINUS SIGN} cosine is 0 where both outputs point the same way. The axis is "
        "logarithmic: to the left is better."
    )
    return [tag("p", about, class_="quiet"), side_by_side(*drawings)]


def _left_of_the_limit(found: Mapping[str, Any]) -> str:
    return "." if found["limit"] <= 0 else f"; the dashed line is the limit, {found['limit']:.2g}."


def _worst(found: Mapping[str, Any]) -> list[Markup]:
    parts = []
    for name, rows in found["worst"].items():
        parts.append(tag("h3", f"By {name}"))
        parts.append(tag("div", *(_card(row, found) for row in rows), class_="cards"))
    about = "As the model saw them, after resizing and cropping; images whose class changed go first, then by error."
    return [tag("p", about, class_="quiet"), *parts] if parts else [tag("p", "None: no image could be compared.")]


def _card(row: Mapping[str, Any], found: Mapping[str, Any]) -> Markup:
    picture = found["pictures"].get(str(row["index"]))
    image = []
    if picture is not None:
        kind = "large" if picture.startswith("data:image/jpeg") else None
        image = [tag("img", src=picture, alt=f"image {row['name']}", class_=kind)]
    lines = [
        tag("strong", row["name"] if row["name"] != str(row["index"]) else f"number {row['index']}"),
        tag("br"),
        f"relative error {error_text(row['relative_error'])}",
        tag("br"),
        f"cosine {row['cosine']:.6f}",
        *_classes(row, found["labels"]),
    ]
    return tag(
        "div", tag("div", *image, tag("div", *lines), class_="top"), *_predictions(row, found["labels"]), class_="card"
    )


def _classes(row: Mapping[str, Any], labels: Sequence[str] | None) -> list[Markup]:
    parts = []
    if "class" in row:
        parts += [tag("br"), joined(f"true class {class_name(row['class'], labels)}")]
    if "prediction" in row and row["prediction"] != row["reference_prediction"]:
        parts += [tag("br"), tag("strong", "\N{BALLOT X} class changed", class_="bad")]
    return parts


def _predictions(row: Mapping[str, Any], labels: Sequence[str] | None) -> list[Markup]:
    """The most probable classes of both, rank by rank."""
    if "leading" not in row:
        return []
    pairs = zip(row["reference_leading"], row["leading"], strict=True)
    rows: list[list[Child]] = [
        [str(k), *(_candidate(each, labels) for each in pair)] for k, pair in enumerate(pairs, 1)
    ]
    return [table(["", "reference", "bundle"], rows)]


def _candidate(found: Sequence[Any], labels: Sequence[str] | None) -> str:
    number, probability = found
    return f"{class_name(number, labels)}: {100 * probability:.1f} %"


def class_name(number: int, labels: Sequence[str] | None) -> str:
    """Its label, or its number."""
    return str(number) if labels is None else labels[number]
