"""Which form costs least, where that is known from measurements."""

from __future__ import annotations

import pytest

from hamsa_deploy.scan.forms import (
    KINDS,
    Chunks,
    Convolution,
    Form,
    Loop,
    Size,
    Tree,
    candidates,
    cheapest,
    form_of,
    kind_of,
)
from hamsa_deploy.targets import target_of

SELECTIVE = Size("selective_scan", 197, (384, 16))
VARYING, ONE_EACH, ONE = (Size("linear_recurrence", 3136, (384,), decays=decays) for decays in (0, 384, 1))


@pytest.mark.parametrize(
    ("size", "target", "kind"),
    [
        (SELECTIVE, "onnx", Loop),
        (SELECTIVE, "openvino", Loop),
        (SELECTIVE, "tensorrt", Tree),
        (ONE_EACH, "onnx", Tree),
        (ONE_EACH, "openvino", Tree),
        (ONE, "onnx", Chunks),
        (ONE, "tensorrt", Chunks),
        (Size("linear_recurrence", 1024, (64,), True, 64), "tensorrt", Convolution),
        (Size("linear_recurrence", 1024, (64,), True), "onnx", Tree),
    ],
)
def test_the_cheapest_form_follows_engine_and_size(size: Size, target: str, kind: type[Form]) -> None:
    assert isinstance(cheapest(size, target_of(target).rates), kind)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
def test_few_steps_of_one_decay_are_one_triangle(target: str) -> None:
    assert cheapest(Size("linear_recurrence", 16, (384,), decays=1), target_of(target).rates) == Chunks(16)


def test_forms_have_names_in_manifests() -> None:
    sizes = (SELECTIVE, ONE_EACH, Size("ssd", 50, (2, 4, 4)))
    forms = [form for size in sizes for form in candidates(size)]
    assert {kind_of(form) for form in forms} == set(KINDS)
    assert [form_of(kind_of(form), form.factors) for form in forms] == forms


def test_where_the_engine_transforms_no_scan_is_a_convolution() -> None:
    """Its own are less accurate, and were asked for where the model has transforms."""
    size, rates = Size("linear_recurrence", 197, (64,), True, 64), target_of("onnx").rates
    assert cheapest(size, rates) == Convolution()
    assert isinstance(cheapest(size, rates, transforms=False), Tree)


def test_decays_that_vary_have_no_products() -> None:
    varying = [candidates(VARYING), candidates(SELECTIVE)]
    assert not any(isinstance(form, Chunks | Convolution) for forms in varying for form in forms)
