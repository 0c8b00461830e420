"""Every metric, once: how it is computed, what it is called, how it is written, and what the verdict allows.

One entry of METRICS is all that manifests, tables, reports and the verdict need. What the numbers mean is in
`differences` (any output), `decisions` (logits), `retrieval` (embeddings) and `significance` (true classes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from hamsa_deploy.parity.decisions import in_top, rank_correlations
from hamsa_deploy.parity.differences import signal_to_noise
from hamsa_deploy.parity.pair import Pair
from hamsa_deploy.parity.retrieval import NEIGHBOURS
from hamsa_deploy.parity.significance import PairedAccuracy

TOP = 5
RANKED = 10  # classes: among fewer, two that are almost equal decide on the rank correlation


@dataclass(frozen=True)
class Thresholds:
    """What an exported model may differ by.

    Attributes:
        max_relative_error: largest allowed, of any output of any image.
        cosine: smallest allowed, likewise.
        top1: smallest allowed share of images with the same top-1, ties left aside.
        tie: margin below which a top-1 that differs is a tie, relative to the scale of the logits.
        signal_to_noise_db: smallest allowed, of any output; None for no limit.
        max_drop: largest loss of accuracy allowed, in percentage points, where true classes are known; None for no
            limit.
        correlation: smallest allowed, of any output; None for no limit.
        rank: smallest mean rank correlation of logits allowed; None for no limit.
        ties: largest share of images allowed whose top-1 is another in a tie; None for no limit.
        equal: smallest share of whole numbers and truth values allowed that are the same.
        unit: one unit in the last place of 1, in the numbers that the precision computes with: no limit, but what
            tells values that vary from rounding.
    """

    max_relative_error: float
    cosine: float
    top1: float
    tie: float = 0.0
    signal_to_noise_db: float | None = None
    max_drop: float | None = None
    correlation: float | None = None
    rank: float | None = None
    ties: float | None = None
    equal: float = 1.0
    unit: float = 2.0**-23

    def as_dict(self) -> dict[str, float]:
        """The limits that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "unit"}


# fp32: engines differ by 1e-6 (summation order); a wrong norm, kernel or layout differs by 1e-2 and more.
# fp16 and bf16 have 11 and 8 bits of significand, 5e-4 and 4e-3 for one rounding; over the depth of HAMSA-S on
# photographs 1e-3 and 1e-2 were measured. Ten times that is a fault, not rounding. A tie is twice the error allowed.
# int8 is judged by what it decides: one image in a hundred may change its class. Its error is 1 to 6 % of the largest
# value on HAMSA-S and hamsa_nano; a tie is a margin within that, not twice the error allowed, which would excuse all.
# The correlation of what the input decides is 1 - 1e-14, 0.999994 and 0.975 in fp32, bf16 and int8 on hamsa_nano, and
# 0.9999 in bf16 and 0.999 in int8 with random weights, whose outputs vary less; of unrelated networks it is near 0.
# A fifth of all images in ties is no accident of rounding, and argmax of a map may flip where two classes meet.
THRESHOLDS = {
    "fp32": Thresholds(
        max_relative_error=5e-5, cosine=0.999999, top1=1.0, tie=1e-4, correlation=0.9999, rank=0.999, ties=0.2,
        equal=0.9999, unit=2.0**-23,
    ),
    "fp16": Thresholds(
        max_relative_error=1e-2, cosine=0.9999, top1=1.0, tie=2e-2, correlation=0.99, rank=0.98, ties=0.2,
        equal=0.99, unit=2.0**-10,
    ),
    "bf16": Thresholds(
        max_relative_error=8e-2, cosine=0.999, top1=1.0, tie=0.16, correlation=0.97, rank=0.95, ties=0.2,
        equal=0.95, unit=2.0**-7,
    ),
    "int8": Thresholds(
        max_relative_error=0.3, cosine=0.98, top1=0.99, tie=0.05, correlation=0.85, rank=0.8, ties=0.2,
        equal=0.9, unit=2.0**-7,
    ),
}  # fmt: skip
# What a precision may add within one layer: 7 to 30 times what clean bundles do, as measured in layers/bands.py.
BANDS = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 5e-2, "int8": 0.2}


@dataclass(frozen=True)
class Judgement:
    """What the verdict allows of a metric, and the words of a sentence about it.

    Attributes:
        limit: of thresholds; None for no limit.
        is_upper: whether values up to the limit are right, else from it on.
        words, form, after: what the metric is called in a sentence, how its value is written, and what stands after
            the limit.
        best: the value of outputs that do not differ, from which on a value uses up what is allowed; None where there
            is no such value, and `after` is the unit.
    """

    limit: Callable[[Thresholds], float | None]
    is_upper: bool
    words: str
    form: str
    after: str = ""
    best: float | None = None


@dataclass(frozen=True)
class Metric:
    """One number about one output.

    Attributes:
        name: in manifests and other documents.
        label: of its row in tables; empty for what is said in sentences only.
        form: how it is written.
        value: computes it.
        where: which outputs have it.
        judged: how, if the verdict depends on it.
    """

    name: str
    label: str
    form: Callable[[float], str]
    value: Callable[[Pair], float]
    where: Callable[[Pair], bool] = lambda pair: True
    judged: Judgement | None = None


def error_text(value: float) -> str:
    """1.4e-01."""
    return f"{value:.1e}" if value else "0"


def share_text(value: float) -> str:
    """0.8333 -> 83.33 %."""
    return f"{100 * value:.2f} %"


def metrics_of(pair: Pair) -> dict[str, float]:
    """Name -> value, of all metrics that an output has: float, and int for those that count."""
    values = {metric.name: metric.value(pair) for metric in METRICS if metric.where(pair)}
    return {name: value if isinstance(value, int) else float(value) for name, value in values.items()}


def _of_floats(
    name: str, label: str, form: Callable[[float], str], value: Callable[[Pair], float], judged: Judgement | None = None
) -> Metric:
    return Metric(name, label, form, value, lambda pair: not pair.is_exact, judged)


def _of_logits(
    name: str, label: str, form: Callable[[float], str], value: Callable[[Pair], float], judged: Judgement | None = None
) -> Metric:
    return Metric(name, label, form, value, lambda pair: pair.has_classes, judged)


def _of_accuracy(
    name: str, form: Callable[[float], str], value: Callable[[PairedAccuracy], float], judged: Judgement | None = None
) -> Metric:
    """Said in a sentence of its own, all together."""

    def of_pair(pair: Pair) -> float:
        assert pair.accuracy is not None
        return value(pair.accuracy)

    return Metric(name, "", form, of_pair, lambda pair: pair.accuracy is not None, judged)


def _recall(k: int) -> Metric:
    label = f"nearest image{'' if k == 1 else 's'}, recall@{k}"
    return Metric(f"recall_at_{k}", label, share_text, lambda pair: pair.recalls[k], lambda pair: k in pair.recalls)


_COSINE, _CHANGE, _POINTS, _COUNT = "{:.7f}".format, "{:+.1e}".format, "{:+.2f}".format, "{:.0f}".format

# In the order in which tables show them.
METRICS: tuple[Metric, ...] = (
    Metric("max_absolute_error", "absolute error, max", error_text, lambda pair: pair.largest_errors.max()),
    Metric("mean_absolute_error", "absolute error, mean", error_text, lambda pair: pair.mean_errors.mean()),
    _of_floats(
        "max_relative_error", "relative error, max", error_text, lambda pair: pair.relative_errors.max(),
        judged=Judgement(lambda limits: limits.max_relative_error, True, "max relative error", "{:.2g}", best=0.0),
    ),
    _of_floats(
        "mean_relative_error", "relative error, mean", error_text, lambda pair: pair.relative_errors.mean(),
    ),
    _of_floats(
        "cosine", "cosine, min", _COSINE, lambda pair: pair.cosines.min(),
        judged=Judgement(lambda limits: limits.cosine, False, "cosine", "{:.6f}", best=1.0),
    ),
    _of_floats("cosine_p1", "cosine, 1st percentile", _COSINE, lambda pair: float(np.percentile(pair.cosines, 1))),
    _of_floats("cosine_mean", "cosine, mean", _COSINE, lambda pair: pair.cosines.mean()),
    _of_floats(
        "correlation", "correlation over inputs", _COSINE, lambda pair: pair.correlation,
        judged=Judgement(lambda limits: limits.correlation, False, "correlation over inputs", "{:.6f}", best=1.0),
    ),
    Metric(
        "equal", "equal values", share_text, lambda pair: pair.equal_shares.mean(), lambda pair: pair.is_exact,
        Judgement(lambda limits: limits.equal, False, "share of equal values", "{:.4f}", best=1.0),
    ),
    _of_floats(
        "signal_to_noise_db", "signal to noise", "{:.1f} dB".format,
        lambda pair: signal_to_noise(pair.found, pair.expected),
        judged=Judgement(lambda limits: limits.signal_to_noise_db, False, "signal to noise", "{:.1f}", " dB"),
    ),
    _of_logits("kl_divergence", "KL divergence, mean", error_text, lambda pair: pair.divergences.mean()),
    _of_logits("kl_divergence_max", "KL divergence, max", error_text, lambda pair: pair.divergences.max()),
    Metric(
        "rank_correlation", "rank correlation", "{:.5f}".format,
        lambda pair: rank_correlations(pair.found, pair.expected).mean(),
        lambda pair: pair.has_classes and pair.expected.shape[1] >= RANKED,
        Judgement(lambda limits: limits.rank, False, "rank correlation", "{:.4f}", best=1.0),
    ),
    _of_logits("margin_change", "margin change, mean", _CHANGE, lambda pair: pair.margin_changes.mean()),
    _of_logits("margin_change_min", "margin change, worst", _CHANGE, lambda pair: pair.margin_changes.min()),
    _of_logits("top1", "same top-1", share_text, lambda pair: pair.same_top1.mean()),
    _of_logits("top1_ties", "", _COUNT, lambda pair: int(pair.ties.sum())),
    _of_logits(
        "tie_share", "", share_text, lambda pair: pair.ties.mean() if pair.ties.sum() > 1 else 0.0,
        Judgement(lambda limits: limits.ties, True, "share of ties", "{:.3f}", best=0.0),
    ),
    _of_logits(
        "top1_decided", "same top-1, or a tie", share_text, lambda pair: (pair.same_top1 | pair.ties).mean(),
        Judgement(lambda limits: limits.top1, False, "top-1 agreement", "{:.3f}", ", ties aside", best=1.0),
    ),
    Metric(
        "top5", "top-1 in the top-5", share_text, lambda pair: in_top(pair.found, pair.expected, TOP).mean(),
        lambda pair: pair.has_classes and pair.expected.shape[1] > TOP,
    ),
    *map(_recall, NEIGHBOURS),
    # Accuracies are shares, changes percentage points.
    _of_accuracy("accuracy", share_text, lambda found: found.accuracy),
    _of_accuracy("accuracy_reference", share_text, lambda found: found.reference_accuracy),
    _of_accuracy(
        "accuracy_change", _POINTS, lambda found: 100 * found.change,
        Judgement(
            lambda limits: None if limits.max_drop is None else -limits.max_drop,
            False, "change of accuracy", "{:+.2f}", " points",
        ),
    ),
    _of_accuracy("accuracy_change_low", _POINTS, lambda found: 100 * found.interval()[0]),
    _of_accuracy("accuracy_change_high", _POINTS, lambda found: 100 * found.interval()[1]),
    _of_accuracy("accuracy_lost", _COUNT, lambda found: found.lost),
    _of_accuracy("accuracy_gained", _COUNT, lambda found: found.gained),
    _of_accuracy("mcnemar_p", "{:.3g}".format, lambda found: found.p_value()),
)  # fmt: skip
