"""What is reported of one output: summary, images, and the verdict on them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from hamsa_deploy.parity.agreement import agreement_of
from hamsa_deploy.parity.comparison import compare
from hamsa_deploy.parity.limits import swapped_classes, way_out
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.targets import all_targets
from hamsa_runtime.errors import InputError, ParityError

ANYTHING = Thresholds(max_relative_error=1e9, cosine=-1, top1=0)
# Images 0 and 1 keep their class; 2 changes it by a hair; 3 clearly.
EXPECTED = np.array([[4.0, 0, 0], [0, 4, 0], [0, 2, 1.9], [4, 0, 0]])
FOUND = np.array([[4.4, 0, 0], [0, 4, 0], [0, 1.9, 2], [0, 4, 0]])


def test_the_summary_follows_from_the_images() -> None:
    found = agreement_of("logits", FOUND, EXPECTED, Thresholds(1, 0, 1, tie=0.1))
    np.testing.assert_allclose(found.absolute_error, [0.4, 0, 0.1, 4], rtol=1e-12)
    # Of three classes: relative to 4, the largest deviation from the median of any image.
    np.testing.assert_allclose(found.relative_error, [0.1, 0, 0.025, 1], rtol=1e-4)
    metrics = found.metrics
    assert metrics["max_absolute_error"] == 4
    assert metrics["mean_absolute_error"] == pytest.approx((0.4 + 0.2 + 8) / 12)
    assert metrics["mean_relative_error"] == pytest.approx((0.4 / 4 + 0.2 / 4 + 8 / 4) / 12, rel=1e-4)
    assert metrics["cosine"] == found.cosine.min() < 1
    assert metrics["cosine_mean"] == found.cosine.mean()
    assert metrics["cosine_p1"] == np.percentile(found.cosine, 1)
    assert (metrics["top1"], metrics["top1_ties"], metrics["top1_decided"]) == (0.5, 1, 0.75)
    assert "top5" not in metrics  # of three classes all are among the best five


def test_the_worst_images_are_those_that_changed_their_class_and_then_those_with_large_errors() -> None:
    found = agreement_of("logits", FOUND, EXPECTED, ANYTHING)
    assert found.same_top1 is not None
    assert found.same_top1.tolist() == [True, True, False, False]
    assert found.worst(10) == [3, 2, 0, 1]
    assert agreement_of("features", FOUND, EXPECTED, ANYTHING).worst(2) == [3, 0]


def test_only_embeddings_are_searched_in_and_only_logits_have_classes() -> None:
    many = np.random.default_rng(0).standard_normal((30, 8))
    names = {name: set(agreement_of(name, many, many, ANYTHING).metrics) for name in ("logits", "embedding", "other")}
    assert names["embedding"] - names["other"] == {"recall_at_1", "recall_at_5", "recall_at_10"}
    assert {"top5", "kl_divergence", "tie_share", "margin_change"} <= names["logits"] - names["other"]


def test_with_true_classes_the_accuracy_of_both_is_known() -> None:
    metrics = agreement_of("logits", FOUND, EXPECTED, ANYTHING, [0, 1, 1, 0]).metrics
    assert (metrics["accuracy"], metrics["accuracy_reference"], metrics["accuracy_change"]) == (0.5, 1.0, -50)
    assert (metrics["accuracy_lost"], metrics["accuracy_gained"], metrics["mcnemar_p"]) == (2, 0, 0.5)
    assert metrics["accuracy_change_low"] < -50 < metrics["accuracy_change_high"]


def report_of(limits: Thresholds, classes: list[int] | None = None) -> ParityReport:
    return compare({"logits": FOUND}, {"logits": EXPECTED}, limits, "Net", classes)


def test_limits_on_noise_and_accuracy_fail_the_verdict_where_they_are_set() -> None:
    assert report_of(ANYTHING, [0, 1, 1, 0]).passed
    strict = Thresholds(1e9, -1, 0, signal_to_noise_db=20, max_drop=49)
    noise, drop = report_of(strict, [0, 1, 1, 0]).failures
    assert noise == "logits: signal to noise 2.4 < 20 dB"  # 10 log10((16 + 16 + 7.61 + 16) / (0.16 + 0.02 + 32))
    assert drop == "logits: change of accuracy -50.00 < -49 points"
    assert report_of(Thresholds(1e9, -1, 0, signal_to_noise_db=2, max_drop=50), [0, 1, 1, 0]).passed


def test_limits_that_are_not_set_are_not_in_the_manifest() -> None:
    names = {"max_relative_error", "cosine", "top1", "tie", "correlation", "rank", "ties", "equal"}
    assert set(THRESHOLDS["int8"].as_dict()) == names
    assert Thresholds(1, 0, 1, max_drop=0.5).as_dict()["max_drop"] == 0.5


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2, 3], [0, 1, -1, 0]])
def test_true_classes_must_fit(classes: list[int]) -> None:
    with pytest.raises(InputError, match="true classes"):
        report_of(ANYTHING, classes)


def test_the_report_as_json_names_the_worst_images() -> None:
    document = json.loads(report_of(ANYTHING, [0, 1, 1, 0]).to_json())
    worst = document["worst_images"]["logits"][0]
    assert {key: worst[key] for key in ("index", "name", "class", "prediction", "reference_prediction")} == {
        "index": 3, "name": "3", "class": 0, "prediction": 1, "reference_prediction": 0,
    }  # fmt: skip
    assert document["passed"] is True


def test_equal_outputs_make_a_report_that_json_can_hold() -> None:
    same = compare({"logits": EXPECTED}, {"logits": EXPECTED}, ANYTHING, "Net")
    assert json.loads(same.to_json())["metrics"]["logits"]["signal_to_noise_db"] == 313


def test_a_failure_says_what_to_do_in_that_precision() -> None:
    assert "--max-drop" in way_out("int8")
    for target in (each for each in all_targets() if "int8" in each.precisions):
        advised = re.findall(r"--(fp\d+|bf16)", way_out("int8", target.name))
        assert advised
        assert {*advised} <= {*target.precisions}
        assert ("--max-drop" in way_out("int8", target.name)) == (target.int8 is not None)
    assert "--fp32" in way_out("fp16")
    with pytest.raises(ParityError, match=r"top-1 agreement 0\.500"):
        report_of(Thresholds(1e9, -1, 1)).require()


def test_class_names_in_another_order_than_the_logits_are_found() -> None:
    classes = np.repeat(np.arange(5), 4)
    assert swapped_classes(classes, classes) == {}
    assert swapped_classes((classes + 1) % 5, classes) == {0: 1, 1: 2, 2: 3, 3: 4, 4: 0}
    exchanged = np.array([0, 2, 1, 3, 4])[classes]
    assert swapped_classes(exchanged, classes) == {1: 2, 2: 1}
    exchanged[4] = 0  # one image in four of class 1 is taken for something else: too few of the rest
    assert swapped_classes(exchanged, classes) == {}


def test_a_poor_model_is_not_one_with_other_names() -> None:
    classes = np.repeat(np.arange(5), 20)
    assert swapped_classes(np.zeros_like(classes), classes) == {}
    guesses = np.random.default_rng(0).integers(0, 5, 100)
    assert swapped_classes(guesses, classes) == {}


def test_permuted_labels_fail_the_verdict_although_both_models_agree() -> None:
    logits = np.eye(4)[np.repeat(np.arange(4), 5)]
    permuted = [(i // 5 + 1) % 4 for i in range(20)]
    report = compare({"logits": logits}, {"logits": logits}, THRESHOLDS["fp32"], "Net", permuted)
    assert report.metrics["logits"]["top1"] == 1
    [failure] = report.failures
    assert "another order than the logits: even the reference takes class 0 for 3" in failure


@pytest.mark.parametrize(("name", "width"), [("output", 3), ("logits", 1)])
def test_no_class_is_read_into_what_is_not_called_logits_or_has_one_number(name: str, width: int) -> None:
    found = agreement_of(name, FOUND[:, :width], EXPECTED[:, :width], ANYTHING)
    assert found.same_top1 is None
    assert "top1" not in found.metrics
