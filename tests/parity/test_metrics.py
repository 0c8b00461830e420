"""Metrics on small arrays with known answers, and everything that must never pass."""

from __future__ import annotations

import numpy as np
import pytest

from hamsa_deploy.parity.comparison import compare
from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds, cosines, relative_errors
from hamsa_runtime.errors import ParityError

B = np.array([[1.0, 2.0, 4.0], [0.5, -1.0, 0.25]], np.float32)
EXACT = Thresholds(max_relative_error=1e-6, cosine=0.999999, top1=1.0)


def test_relative_errors_are_relative_to_the_largest_value_of_each_image():
    np.testing.assert_allclose(relative_errors(B + np.array([[0, 0, 0.4], [0, 0, 0]]), B), [0.1, 0.0], atol=1e-7)
    np.testing.assert_allclose(relative_errors(np.full((1, 3), 0.5), np.zeros((1, 3))), [0.5])


def test_cosines():
    np.testing.assert_allclose(cosines(B * 3, B), [1, 1])
    np.testing.assert_allclose(cosines(np.array([[1.0, 0]]), np.array([[0, 1.0]])), [0])
    np.testing.assert_allclose(cosines(np.zeros((1, 2)), np.zeros((1, 2))), [1])
    np.testing.assert_allclose(cosines(np.zeros((1, 2)), np.ones((1, 2))), [0])


def test_equal_outputs_pass_and_say_what_was_compared():
    report = compare({"logits": B}, {"logits": B}, EXACT, "Net")
    assert report.passed
    assert (report.images, report.metrics["logits"]["top1"]) == (2, 1.0)
    report.require()


def test_an_error_beyond_the_threshold_fails_with_exit_code_3():
    report = compare({"logits": B * 1.01}, {"logits": B}, EXACT, "Net")
    assert not report.passed
    with pytest.raises(ParityError, match="max relative error") as caught:
        report.require()
    assert caught.value.exit_code == 3


def test_a_changed_class_fails_but_a_tie_does_not():
    loose = Thresholds(max_relative_error=0.1, cosine=0.0, top1=1.0, tie=0.2)
    near, clear = np.array([[1.0, 0.95, 0.0]]), np.array([[1.0, 0.5, 0.0]])
    swapped = np.array([[0.95, 1.0, 0.0]])
    assert compare({"logits": swapped}, {"logits": near}, loose, "Net").passed
    report = compare({"logits": np.array([[0.5, 1.0, 0.0]])}, {"logits": clear}, loose, "Net")
    assert any("top-1" in failure for failure in report.failures)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(np.where(B == 4, np.nan, B), id="NaN"),
        pytest.param(np.where(B == 4, np.inf, B), id="infinite"),
        pytest.param(B[:, :2], id="another shape"),
        pytest.param(B[:1], id="fewer images"),
    ],
)
def test_outputs_that_cannot_be_compared_never_pass(found):  # faults.md row 18
    with pytest.raises(ParityError):
        compare({"logits": found}, {"logits": B}, THRESHOLDS["bf16"], "Net")


def test_no_images_and_other_outputs_never_pass():  # faults.md row 18
    with pytest.raises(ParityError, match="empty"):
        compare({"logits": B[:0]}, {"logits": B[:0]}, EXACT, "Net")
    with pytest.raises(ParityError, match="outputs"):
        compare({"logits": B}, {"logits": B, "embedding": B}, EXACT, "Net")
