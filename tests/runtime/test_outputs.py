"""Which output is the logits, and how many classes it has."""

from __future__ import annotations

import pytest

from hamsa_runtime.outputs import LOGITS, classes_in, named_or_only


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        (["logits"], "logits"),
        (["embedding", "logits"], "logits"),
        (["output"], "output"),
        (["embedding"], "embedding"),
        (["output_0", "output_1"], None),
        ([], None),
    ],
)
def test_the_named_output_or_the_only_one(outputs: list[str], found: str | None) -> None:
    assert named_or_only(LOGITS, outputs) == found


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        (("batch", 10), 10),
        ((4, 2), 2),
        ((4, 1), None),
        (("batch", 0), None),
        ((10,), None),
        ((), None),
        ((4, 10, 7, 7), None),
        ((1, "batch"), None),
    ],
)
def test_classes_are_the_second_of_two_dimensions(shape: tuple[int | str, ...], classes: int | None) -> None:
    assert classes_in(shape) == classes
