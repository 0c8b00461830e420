"""How metrics are called and written, wherever they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hamsa_deploy.parity.metrics import METRICS, Metric
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.targets import target_of
from hamsa_runtime.vocabulary import ENGINES

Metrics = Mapping[str, Mapping[str, float]]
"""Output name -> metric name -> value."""

FORMS = {metric.name: metric.form for metric in METRICS}
MISSING = "-"


def metric_rows(metrics: Metrics) -> Iterator[tuple[Metric, dict[str, str]]]:
    """Each metric that has a row in tables and that any output has, with its text by output."""
    for metric in METRICS:
        if metric.label and any(metric.name in found for found in metrics.values()):
            yield (
                metric,
                {
                    output: metric.form(found[metric.name]) if metric.name in found else MISSING
                    for output, found in metrics.items()
                },
            )


def value_text(metric: str, value: float) -> str:
    """As the metric of that name is written."""
    return FORMS[metric](value)


def allowed_text(limit: float, is_upper: bool) -> str:
    """ "at most 0.3"."""
    return f"{'at most' if is_upper else 'at least'} {limit:g}"


def engine_text(report: ParityReport, target: str) -> str:
    """The engine and what it really computes on and in: "OpenVINO 2026.4.1 on CPU; layers: 153 f32, 55 i8"."""
    facts, own = report.ran_on, target_of(target).title
    counts = "".join(f"; {what}: {facts[what]}" for what in ("nodes", "layers") if what in facts)
    chosen = f", chosen by {facts['chosen_by']}" if "chosen_by" in facts else ""
    instead = f", from the ONNX file: no GPU here for {own}" if report.engine else ""
    version = facts["version"].split("-")[0]  # OpenVINO's goes on with its commit
    return f"{ENGINES[facts['backend']].title} {version} on {facts['device']}{chosen}{counts}{instead}"


def agreement_sentence(precision: str) -> str:
    """The verdict on a bundle that keeps all limits: those of its precision, or others, if none is given."""
    limits = f"the limits of {precision}" if precision else "the limits given"
    return f"the bundle agrees with its reference, within {limits}"
