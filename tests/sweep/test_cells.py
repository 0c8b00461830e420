"""The matrix, and which options reach which cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from hamsa_deploy.form.request import Request
from hamsa_deploy.sweep.cells import Cell, matrix, requests_for
from hamsa_runtime.errors import InputError
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.vocabulary import AUTO

BASE = Request(nn.Identity(), to="openvino", batch=4)


def test_cells_go_target_by_target_and_are_named_as_single_exports_are() -> None:
    cells = matrix(["openvino", "onnx", "openvino"], ["fp32", "int8"])
    assert [str(cell) for cell in cells] == ["openvino fp32", "openvino int8", "onnx fp32", "onnx int8"]
    assert cells[1].folder("net") == "net-openvino-int8"


def test_options_reach_the_cells_that_take_them() -> None:
    base = Request(
        nn.Identity(), to="onnx", batch=4, calibration=Path("photos"), calibration_method="mse", max_drop=0.5,
        builder=BuildOptions(refit=True), require_plan=True,
    )  # fmt: skip
    requests = requests_for(base, matrix(["onnx", "tensorrt"], ["fp32", "fp16", "int8"]))
    found = {
        str(cell): (each.calibration is not None, each.calibration_method, each.max_drop, each.require_plan)
        for cell, each in requests.items()
    }
    assert found == {
        "onnx fp32": (False, AUTO, None, False),
        "onnx fp16": (True, AUTO, None, False),
        "onnx int8": (True, "mse", 0.5, False),
        "tensorrt fp32": (False, AUTO, None, True),
        "tensorrt fp16": (True, AUTO, None, True),
        "tensorrt int8": (True, "mse", 0.5, True),
    }
    assert [each.builder is not None for each in requests.values()] == [False] * 3 + [True] * 3
    assert {(each.to, each.precision, each.batch) for each in requests.values()} == {
        (cell.target, cell.precision, 4) for cell in requests
    }


@pytest.mark.parametrize(
    "changes",
    [{"calibration": Path("x")}, {"calibration_method": "mse"}, {"max_drop": 0.0}, {"builder": BuildOptions()},
     {"require_plan": True}],
)  # fmt: skip
def test_an_option_that_no_cell_takes_is_refused(changes: dict[str, Any]) -> None:
    base = Request(nn.Identity(), to="onnx", **changes)
    with pytest.raises(InputError, match="at least one cell that takes it"):
        requests_for(base, [Cell("onnx", "fp32"), Cell("openvino", "bf16")])
