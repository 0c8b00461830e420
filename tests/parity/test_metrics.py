"""The table of metrics: each once, each threshold judged, and everything written as it is called."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from hamsa_deploy.parity.agreement import agreement_of
from hamsa_deploy.parity.limits import Limit, failures_of, limits_of
from hamsa_deploy.parity.metrics import METRICS, Thresholds, metrics_of
from hamsa_deploy.parity.pair import Pair

EXPECTED = np.array([[4.0, 0, 0], [0, 4, 0], [0, 2, 1.9], [4, 0, 0]])
FOUND = np.array([[4.4, 0, 0], [0, 4, 0], [0, 1.9, 2], [0, 4, 0]])
CLASSES = [0, 1, 1, 0]
ANYTHING = Thresholds(max_relative_error=1e9, cosine=-1, top1=0)
# What FOUND does not keep, one limit at a time.
TOO_STRICT = {
    "max_relative_error": 0.85, "cosine": 0.8, "top1": 0.8, "signal_to_noise_db": 20.0, "max_drop": 1.0,
    "correlation": 0.9, "rank": 0.9, "ties": 0.2,
}  # fmt: skip
NO_LIMITS = ("tie", "unit", "equal")  # whole numbers have a test of their own


def limit(metric: str, **thresholds: float) -> Limit:
    [found] = [each for each in limits_of(dataclasses.replace(ANYTHING, **thresholds)) if each.metric == metric]
    return found


def test_every_metric_has_a_name_of_its_own_and_a_value_that_json_can_hold() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    values = json.loads(json.dumps(metrics_of(Pair("logits", FOUND, EXPECTED, 0.1, CLASSES))))
    assert values["top1_ties"] == 1
    assert {type(values[name]) for name in ("top1_ties", "accuracy_lost", "accuracy_gained")} == {int}
    assert all(isinstance(metric.form(values[metric.name]), str) for metric in METRICS if metric.name in values)


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(Thresholds) if field.name not in NO_LIMITS]
)
def test_every_threshold_decides_on_the_verdict(name: str) -> None:
    strict = dataclasses.replace(ANYTHING, **{name: TOO_STRICT[name]}, tie=0.1)
    # Of ten classes, because fewer are not ranked; images 1 and 2 are in a tie.
    pad = np.tile(np.linspace(-1, -0.4, 7), (4, 1))
    expected, found_logits = np.hstack([EXPECTED, pad]), np.hstack([FOUND, pad[:, ::-1]])
    expected[1, :2], found_logits[1, :2] = (3.9, 4), (4, 3.9)
    found = agreement_of("logits", found_logits, expected, strict, CLASSES)
    assert failures_of("logits", found, ANYTHING) == []
    assert len(failures_of("logits", found, strict)) == 1


def test_how_much_of_what_is_allowed_is_used() -> None:
    assert limit("max_relative_error", max_relative_error=0.5).used(0.25) == 0.5
    assert limit("cosine", cosine=0.9).used(0.95) == pytest.approx(0.5)
    assert limit("cosine", cosine=0.9).used(1.0000001) == 0
    assert f"{limit('top1_decided', top1=0.99).used(1.0):.0%}" == "0%"  # and not -0%
    assert limit("top1_decided", top1=0.99).used(0.98) == pytest.approx(2)
    assert limit("cosine", cosine=1.0).used(0.5) is None
    assert limit("signal_to_noise_db", signal_to_noise_db=20).used(10) is None
