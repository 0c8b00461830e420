"""What is said when a lower precision does not pay, or is not what runs."""

from __future__ import annotations

import openvino
import pytest

from hamsa_deploy.measure.execution import pays, warnings_of
from hamsa_runtime.manifest import Execution


def execution(ratio: float = 0.5, products: dict[str, int] | None = None, not_int8: tuple[str, ...] = ()) -> Execution:
    return Execution("a processor", 1, products or {"i8": 9, "f32": 3}, {"f32": 7}, 0, not_int8, ratio * 8, 8.0, ratio)


def test_nothing_is_said_where_all_is_well() -> None:
    assert warnings_of(execution(0.95), "openvino", "int8") == []
    assert warnings_of(execution(products={"bf16": 12}), "openvino", "bf16") == []


@pytest.mark.parametrize("ratio", [0.96, 1.0, 1.3])
def test_what_is_hardly_faster_does_not_pay(ratio: float) -> None:
    assert not pays(execution(ratio))
    (sentence,) = warnings_of(execution(ratio), "onnx", "int8")
    assert sentence == f"int8 does not pay on this machine: {ratio:.2f} times the time of float32; use --fp32"


def test_other_precisions_are_named_where_the_processor_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = execution(1.3, {"f16": 12})
    (onnx,) = warnings_of(slow, "onnx", "fp16")
    assert onnx.endswith("use --fp32, or try --int8")

    class Machine(openvino.Core):
        capabilities = ("FP32", "FP16", "BF16", "INT8")

        def get_property(self, device: str, name: str) -> tuple[str, ...]:
            return self.capabilities

    monkeypatch.setattr("hamsa_runtime.backends.openvino.shared_core", Machine)
    (sentence,) = warnings_of(slow, "openvino", "fp16")
    assert sentence.endswith("use --fp32, or try --bf16 or --int8")
    monkeypatch.setattr(Machine, "capabilities", ("FP32", "FP16", "INT8"))
    (sentence,) = warnings_of(slow, "openvino", "fp16")
    assert sentence.endswith("use --fp32, or try --int8")


def test_products_in_another_precision_are_counted() -> None:
    assert warnings_of(execution(products={"f32": 11, "f16": 2}), "onnx", "fp16") == [
        "11 of 13 products do not run in fp16, although it was asked for: 11 float32"
    ]


def test_layers_that_lost_int8_are_named() -> None:
    lost = tuple(f"blocks.{i}" for i in range(7))
    (sentence,) = warnings_of(execution(not_int8=lost), "openvino", "int8")
    assert sentence.startswith("7 layers do not run in int8")
    assert sentence.endswith("blocks.0, blocks.1, blocks.2, blocks.3, blocks.4 and 2 more")
