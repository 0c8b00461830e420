"""How metrics are called and written, wherever they are shown."""

from __future__ import annotations

from collections.abc import Callable

from hamsa_deploy.bench.candidates import engine_title
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_runtime.vocabulary import ENGINES

Form = Callable[[float], str]


def error_text(value: float) -> str:
    """1.4e-01."""
    return f"{value:.1e}" if value else "0"


def share_text(value: float) -> str:
    """0.8333 -> 83.33 %."""
    return f"{100 * value:.2f} %"


# metric, what it is called here, how it is written
ROWS: tuple[tuple[str, str, Form], ...] = (
    ("max_absolute_error", "absolute error, max", error_text),
    ("mean_absolute_error", "absolute error, mean", error_text),
    ("max_relative_error", "relative error, max", error_text),
    ("mean_relative_error", "relative error, mean", error_text),
    ("cosine", "cosine, min", "{:.7f}".format),
    ("cosine_p1", "cosine, 1st percentile", "{:.7f}".format),
    ("cosine_mean", "cosine, mean", "{:.7f}".format),
    ("signal_to_noise_db", "signal to noise", "{:.1f} dB".format),
    ("kl_divergence", "KL divergence, mean", error_text),
    ("kl_divergence_max", "KL divergence, max", error_text),
    ("rank_correlation", "rank correlation", "{:.5f}".format),
    ("margin_change", "margin change, mean", "{:+.1e}".format),
    ("margin_change_min", "margin change, worst", "{:+.1e}".format),
    ("top1", "same top-1", share_text),
    ("top1_decided", "same top-1, or a tie", share_text),
    ("top5", "top-1 in the top-5", share_text),
    ("recall_at_1", "nearest image, recall@1", share_text),
    ("recall_at_5", "nearest images, recall@5", share_text),
    ("recall_at_10", "nearest images, recall@10", share_text),
)


def engine_text(report: ParityReport, target: str) -> str:
    """The engine and what it really computes in: "OpenVINO 2026.4.1 on CPU; layers: 153 f32, 55 i8"."""
    facts, own = report.ran_on, engine_title(target)
    layers = f"; layers: {facts['layers']}" if "layers" in facts else ""
    instead = f", from the ONNX file: no GPU here for {own}" if report.engine else ""
    version = facts["version"].split("-")[0]  # OpenVINO's goes on with its commit
    return f"{ENGINES[facts['backend']].title} {version} on {facts['device']}{layers}{instead}"


def agreement_sentence(precision: str) -> str:
    """The verdict on a bundle that keeps all limits: those of its precision, or others, if none is given."""
    limits = f"the limits of {precision}" if precision else "the limits given"
    return f"the bundle agrees with its reference, within {limits}"
