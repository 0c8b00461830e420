"""Percentage points lost, with and without the true classes."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from hamsa_deploy.pipeline import max_drop
from hamsa_deploy.pipeline.max_drop import Accuracy
from hamsa_runtime import Bundle
from hamsa_runtime.errors import InputError

FLOAT32 = {"logits": np.eye(4)[[0, 1, 2, 3]], "embedding": np.zeros((4, 2))}
BUNDLE = cast("Bundle", None)  # its outputs are made up below
CLASSES = [0, 1, 2, 0]  # the last one is wrong in float32


@pytest.fixture
def int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differs from float32 on two inputs: one that was right, and one that was wrong and is right now."""
    found = {"logits": np.eye(4)[[0, 1, 3, 0]]}
    monkeypatch.setattr(max_drop, "run_bundle", lambda folder, data, device: found)


@pytest.mark.usefixtures("int8")
def test_with_true_classes_it_is_the_loss_of_top1() -> None:
    assert Accuracy(None, FLOAT32, CLASSES).drop(BUNDLE) == 0
    assert Accuracy(None, FLOAT32, [0, 1, 2, 3]).drop(BUNDLE) == 50


@pytest.mark.usefixtures("int8")
def test_without_it_is_disagreement() -> None:
    assert Accuracy(None, FLOAT32).drop(BUNDLE) == 50


def test_what_it_depends_on_has_a_hash_of_its_own() -> None:
    hashes = {Accuracy(None, FLOAT32, classes).sha256 for classes in (None, CLASSES, [0, 1, 2, 3])}
    assert len(hashes) == 3


def test_a_class_for_each_input_is_needed() -> None:
    with pytest.raises(InputError, match="3 true classes for 4 inputs"):
        Accuracy(None, FLOAT32, CLASSES[:3])


def test_a_model_without_classes_has_no_accuracy() -> None:
    with pytest.raises(InputError, match="output 'y' has shape"):
        Accuracy(None, {"y": np.zeros((4, 2, 2))})


def test_of_several_outputs_of_other_names_it_is_of_the_first() -> None:
    first, other = np.eye(4), -np.eye(4)
    assert Accuracy(None, {"a": first, "b": other}).sha256 == Accuracy(None, {"logits": first}).sha256
    assert Accuracy(None, {"a": other, "logits": first}).sha256 == Accuracy(None, {"logits": first}).sha256
    assert Accuracy(None, {"logits": other}).sha256 != Accuracy(None, {"logits": first}).sha256
