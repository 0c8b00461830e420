"""Both files on ONNX Runtime: what decides, and what is said where they cannot be run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hamsa_runtime.errors import ParityError
from hamsa_runtime.fix.whole_file import compare

from .files import DOUBLE, FLOAT, INT64, dft_model, graph_model, saved, scalar


def scaled(factor: float, n: int = 6) -> onnx.ModelProto:
    """y = factor x."""
    constant = numpy_helper.from_array(np.array(factor, np.float32), "factor")
    return graph_model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])], ["N", n], 2, constants=[constant], dtype=FLOAT
    )


def test_files_that_compute_the_same_are_hardly_apart(tmp_path: Path) -> None:
    path = saved(scaled(2), tmp_path)
    whole = compare(path, scaled(2 * (1 + 1e-6)).SerializeToString(), [])
    assert whole.apart is not None
    assert 0 < whole.apart < 2e-6
    assert whole.not_run == ""


@pytest.mark.parametrize("factor", [2.001, float("nan")])
def test_files_that_do_not_compute_the_same_are_refused(tmp_path: Path, factor: float) -> None:
    path = saved(scaled(2), tmp_path)
    with pytest.raises(ParityError, match="differ by"):
        compare(path, scaled(factor).SerializeToString(), [])


def test_the_reference_decides_where_the_original_is_the_one_that_is_off(tmp_path: Path) -> None:
    """The logarithm of what cancels magnifies the error of ONNX Runtime's DFT."""
    nodes = [
        helper.make_node("DFT", ["x", "", "axis"], ["z"]),
        helper.make_node("DFT", ["z", "", "axis"], ["w"], inverse=1),
        helper.make_node("Sub", ["w", "x"], ["d"]),
        helper.make_node("Add", ["d", "small"], ["e"]),
        helper.make_node("Abs", ["e"], ["a"]),
        helper.make_node("Log", ["a"], ["y"]),
    ]
    constants = [scalar("axis", 1), numpy_helper.from_array(np.array(1e-5, np.float32), "small")]
    path = saved(graph_model(nodes, ["N", 97, 2], 3, constants=constants, dtype=FLOAT), tmp_path)
    right = graph_model(
        [
            helper.make_node("Mul", ["x", "zero"], ["d"]),
            helper.make_node("Add", ["d", "small"], ["a"]),
            helper.make_node("Log", ["a"], ["y"]),
        ],
        ["N", 97, 2],
        3,
        constants=[numpy_helper.from_array(np.array(0, np.float32), "zero"), constants[1]],
        dtype=FLOAT,
    )
    whole = compare(path, right.SerializeToString(), [])
    assert whole.apart is not None
    assert whole.original is not None
    assert whole.repaired is not None
    assert whole.apart > 1e-3
    assert whole.original > 1e-3
    assert whole.repaired < 1e-4


def test_a_new_file_that_does_not_run_is_refused(tmp_path: Path) -> None:
    path = saved(scaled(2), tmp_path)
    broken = graph_model([helper.make_node("MatMul", ["x", "x"], ["y"])], ["N", 6], 2, dtype=FLOAT)
    with pytest.raises(ParityError, match="and not what it became"):
        compare(path, broken.SerializeToString(), [])


def test_sizes_that_may_be_any_and_other_types_are_drawn(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("Where", ["mask", "rows", "zero"], ["y"]),
        ],
        "graph",
        [
            helper.make_tensor_value_info("ids", INT64, ["N", "T"]),
            helper.make_tensor_value_info("mask", onnx.TensorProto.BOOL, ["N", "T", 3]),
        ],
        [helper.make_tensor_value_info("y", DOUBLE, ["N", "T", 3])],
        [
            numpy_helper.from_array(np.arange(6.0).reshape(2, 3), "table"),
            numpy_helper.from_array(np.array(0.0), "zero"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = saved(proto, tmp_path)
    assert compare(path, path.read_bytes(), []).apart == 0


def test_it_says_why_it_has_not_run_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = graph_model([helper.make_node("Mystery", ["x"], ["y"], domain="ours")], ["N", 6], 2, dtype=FLOAT)
    unknown.opset_import.append(helper.make_opsetid("ours", 1))
    path = saved(unknown, tmp_path)
    assert "does not run the original" in compare(path, path.read_bytes(), []).not_run
    text = graph_model([helper.make_node("Identity", ["x"], ["y"])], ["N"], 1, dtype=onnx.TensorProto.STRING)
    path = saved(text, tmp_path)
    assert "no numbers" in compare(path, path.read_bytes(), []).not_run
    path = saved(dft_model([2, 6, 1], axis=1), tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert compare(path, path.read_bytes(), []).not_run == "onnxruntime is not installed"


def test_a_file_that_fills_the_memory_is_not_run_here(tmp_path: Path) -> None:
    """2^33 numbers from a handful of bytes: the node of the transform is checked all the same."""
    nodes = [
        helper.make_node("Expand", ["x", "huge"], ["many"]),
        helper.make_node("ReduceSum", ["many"], ["y"], keepdims=0),
    ]
    huge = numpy_helper.from_array(np.array([2**17, 2**16], dtype=np.int64), "huge")
    path = saved(graph_model(nodes, [1, 1], [], constants=[huge], dtype=FLOAT), tmp_path)
    assert "needs more than" in compare(path, path.read_bytes(), []).not_run
