"""What observers see of a graph's values, against numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir import DataType

from hamsa_deploy.precision.int8.histogram import HISTOGRAMS, Histogram
from hamsa_deploy.precision.observers import RANGES, float32_values
from hamsa_runtime.errors import InputError


def model() -> ir.Model:
    """y = log(relu(x)); x (batch, 3)."""
    x = ir.val("x", DataType.FLOAT, ["batch", 3])
    relu = ir.node("Relu", [x])
    log = ir.node("Log", [relu.outputs[0]])
    for name, node in (("r", relu), ("y", log)):
        node.outputs[0].name, node.outputs[0].dtype = name, DataType.FLOAT
        node.outputs[0].shape = ir.Shape(["batch", 3])
    graph = ir.Graph([x], list(log.outputs), nodes=[relu, log], opset_imports={"": 18}, name="g")
    return ir.Model(graph, ir_version=10)


def feeds() -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield {"x": rng.standard_normal((1, 3)).astype(np.float32)}


def test_inputs_and_inner_values_are_counted_over_all_feeds() -> None:
    found = HISTOGRAMS.watch(model(), ["x", "r"], feeds())
    x = np.concatenate([feed["x"] for feed in feeds()])
    for name, values in {"x": x, "r": np.maximum(x, 0)}.items():
        expected = Histogram()
        expected.add(values)
        np.testing.assert_array_equal(found[name].counts, expected.counts)
        assert (found[name].zeros, found[name].largest) == (expected.zeros, expected.largest)


def test_a_value_that_is_not_finite_is_named() -> None:
    with pytest.raises(InputError, match="the value 'y' holds NaN or Inf"):
        HISTOGRAMS.watch(model(), ["r", "y"], [{"x": -np.ones((1, 3), np.float32)}])


def test_ranges_are_those_of_every_float_over_all_feeds() -> None:
    found = RANGES.watch(model(), float32_values(model()), ({"x": np.abs(feed["x"])} for feed in feeds()))
    x = np.abs(np.concatenate([feed["x"] for feed in feeds()]))
    assert list(found) == ["x", "r", "y"]
    assert (found["x"], found["r"]) == (x.max(), x.max())
    assert found["y"] == pytest.approx(np.abs(np.log(x)).max(), rel=1e-6)


def test_a_range_that_was_once_nan_stays_so() -> None:
    bad = [{"x": np.full((1, 3), sign, np.float32)} for sign in (1.0, np.nan, 1.0)]
    assert np.isnan(RANGES.watch(model(), ["x"], bad)["x"])
