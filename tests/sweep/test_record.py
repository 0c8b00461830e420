"""What a sweep says about itself, and what it makes of a record that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hamsa_deploy.sweep.cells import Cell
from hamsa_deploy.sweep.record import FILE, Outcome, read_made, write_record
from hamsa_runtime.errors import InputError

from .outcomes import failed, sweep_of, timed

GOOD, BAD = Cell("onnx", "fp32"), Cell("onnx", "fp16")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([0], 0), ([0, 4], 4), ([2, 4, 5], 5), ([5, 3, 4], 3), ([1, 3], 3), ([2, 1], 1), ([2, 0], 2)],
)
def test_the_exit_code_is_that_of_the_worst_cell_and_parity_is_the_worst(codes: list[int], expected: int) -> None:
    assert sweep_of(*(failed(BAD, code) for code in codes)).exit_code == expected


def test_the_document_holds_every_cell_with_its_status() -> None:
    document = sweep_of(timed(GOOD, 2.0, 60.0, 0.99), failed(BAD, 4)).as_document()
    good, bad = document["cells"]
    assert document["verdict"] == "failed"
    assert (good["status"], good["agreement_db"], good["same_top1"], good["latency_ms"]) == ("built", 60.0, 0.99, 2.0)
    assert (good["pareto"], good["bytes"], good["error"]) == (True, 10**6, None)
    assert (bad["status"], bad["exit_code"], bad["error"]["fix"], bad["pareto"]) == ("failed", 4, "get one", False)
    assert sweep_of(timed(GOOD, 2.0, 60.0), Outcome(BAD, "x")).as_document()["verdict"] == "unfinished"
    assert sweep_of(timed(GOOD, 2.0, 60.0)).as_document()["verdict"] == "passed"
    assert json.loads(json.dumps(document, allow_nan=False))["cells"] == document["cells"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema": 1, "made": []}', '{"schema": 1, "made": {"a": {"request": 1}}}',
             '{"schema": 9, "made": {"a": {"request": "x", "manifest": "y"}}}', "[" * 100000],
)  # fmt: skip
def test_a_damaged_record_is_discarded_and_reported(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)
    assert read_made(tmp_path) == {}
    assert "every cell is built again" in caplog.text


def test_a_record_is_read_as_it_was_written_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    assert read_made(tmp_path) == {}
    sweep = sweep_of(timed(GOOD, 2.0, 60.0))
    made = {"net-onnx-fp32": {"request": "r", "manifest": "m"}}
    write_record(tmp_path, type(sweep)(sweep.name, sweep.outcomes, sweep.table, made))
    assert read_made(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_record_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_record(tmp_path, sweep_of(failed(BAD, 4)))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
