"""Sessions: as a bundle would run, or node by node as the graph is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from hamsa_deploy.graph.sessions import Evaluator, session_from_model, with_states
from hamsa_runtime.manifest import State

# -(1 + x)
SUM = """
<ir_version: 10, opset_import: ["": 20]> g (float[n] one, float[n] x) => (float[n] y) {
  sum = Add (one, x)
  y = Neg (sum)
}
"""


@pytest.fixture(scope="module")
def model() -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(SUM)))


def feed(count: int = 1) -> dict[str, np.ndarray]:
    return {"one": np.ones(count, np.float32), "x": np.full(count, 0.5, np.float32)}


@pytest.mark.parametrize("optimised", [False, True])
def test_optimisations_are_all_or_none(optimised: bool, model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what ONNX Runtime is told: what it then fuses does not show in outputs, but it loses the values between."""
    levels, told = onnxruntime.GraphOptimizationLevel, []
    make = onnxruntime.InferenceSession.__init__

    def noted(
        session: onnxruntime.InferenceSession, data: bytes, options: onnxruntime.SessionOptions, **others: Any
    ) -> None:
        told.append(options.graph_optimization_level)
        make(session, data, options, **others)

    monkeypatch.setattr(onnxruntime.InferenceSession, "__init__", noted)
    session_from_model(model, optimised=optimised)
    assert told == [levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL]


def test_a_session_computes_what_is_asked_for_in_place_of_the_outputs(model: ir.Model) -> None:
    before = ir.to_proto(model)
    inner = [value for node in model.graph for value in node.outputs if value.name == "sum"]
    session = session_from_model(model, optimised=False, outputs=inner)
    assert [output.name for output in session.get_outputs()] == ["sum"]
    assert [array.item() for array in session.run(None, feed())] == [1.5]
    assert ir.to_proto(model) == before


def test_an_evaluator_joins_the_outputs_of_all_runs(model: ir.Model) -> None:
    found = Evaluator(model)([feed(2), feed(1)])
    assert list(found) == ["y"]
    np.testing.assert_array_equal(found["y"], np.full(3, -1.5, np.float32))


def test_feeds_of_calls_have_what_the_calls_before_them_left(model: ir.Model) -> None:
    """y = -(1 + x), and the next x is y: 0, -1, 0, -1."""
    state = State("x", "float32", (1,), "x", "y", stored=False)
    calls = [{"one": np.ones(1, np.float32)}] * 4
    found = with_states(model, calls, [(state, np.zeros(1, np.float32))])
    assert [float(feed["x"][0]) for feed in found] == [0, -1, 0, -1]
    assert all(sorted(feed) == ["one", "x"] for feed in found)


def test_signals_of_several_lengths_are_evaluated(model: ir.Model) -> None:
    assert Evaluator(model)([feed(1), feed(3)])["y"].tolist() == [-1.5] * 4
