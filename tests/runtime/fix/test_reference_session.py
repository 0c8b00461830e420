"""The referee: an ONNX file in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hamsa_runtime.errors import InputError
from hamsa_runtime.fix.loading import load_onnx
from hamsa_runtime.fix.reference_session import ReferenceSession

from .files import FLOAT, dft_model, graph_model, numpy_dft, saved


def signal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_a_float32_dft_of_an_awkward_length_is_exact(tmp_path: Path) -> None:
    referee = ReferenceSession(load_onnx(saved(dft_model(["N", 391, 1], axis=1, dtype=FLOAT), tmp_path)))
    x = signal(2, 391, 1)
    y = referee({"x": x})["y"]
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, numpy_dft(x, 1, None, 0, 0), rtol=0, atol=1e-11)  # sums of 391 terms, 1e-16 each
    assert referee.name == "model.onnx in float64"


def test_weights_casts_and_constants_are_widened_and_integers_stay(tmp_path: Path) -> None:
    third = numpy_helper.from_array(np.array([1 / 3], np.float32), "third")
    half_third = numpy_helper.from_array(np.array([1 / 3], np.float16))
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("Constant", [], ["b"], value=half_third),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Cast", ["c"], ["d"], to=FLOAT),
        helper.make_node("Mul", ["d", "third"], ["e"]),
        helper.make_node("Shape", ["e"], ["shape"]),
        helper.make_node("Expand", ["e", "shape"], ["y"]),
    ]
    proto = graph_model(nodes, ["N", 3], ["N", 3], constants=[third], dtype=FLOAT)
    x = signal(2, 3)
    expected = (x.astype(np.float64) + np.float16(1 / 3).astype(float)) * np.float32(1 / 3).astype(float)
    found = ReferenceSession(load_onnx(saved(proto, tmp_path)))({"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_the_file_in_memory_stays_as_it_is(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.array([2], np.float32), "weight")
    proto = graph_model([helper.make_node("Mul", ["x", "weight"], ["y"])], [1], [1], constants=[weight], dtype=FLOAT)
    file = load_onnx(saved(proto, tmp_path))
    ReferenceSession(file)
    assert [str(value.dtype) for value in file.model.graph.initializers.values()] == ["FLOAT"]


def test_an_operator_of_one_engine_only_is_an_error_that_says_so(tmp_path: Path) -> None:
    proto = graph_model([helper.make_node("Secret", ["x"], ["y"], domain="one.engine")], [1], [1], dtype=FLOAT)
    proto.opset_import.append(helper.make_opsetid("one.engine", 1))
    with pytest.raises(InputError, match="reference implementation cannot run it") as caught:
        ReferenceSession(load_onnx(saved(proto, tmp_path)))({"x": np.ones(1, np.float32)})
    assert "model.onnx" in str(caught.value)


def test_inputs_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"])]
    file = load_onnx(saved(graph_model(nodes, ["N", 3], 2, dtype=FLOAT), tmp_path))
    with pytest.raises(InputError, match="do not fit the model"):
        ReferenceSession(file)({"x": signal(2, 3)})
