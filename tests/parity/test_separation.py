"""What an ONNX file does not say of its outputs, but running it does: which free size is the batch, and how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hamsa_deploy
from hamsa_deploy.services.triton import largest_batch
from hamsa_runtime import Bundle, Engine
from hamsa_runtime.errors import InputError

from ..cli.conftest import untried  # noqa: F401  # files that are ours


def exported(folder: Path, node: onnx.NodeProto, rank: int, *constants: onnx.TensorProto) -> Bundle:
    """A bundle of one node on x [N, 3, 8], whose output has no known size."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["free", *[8] * (rank - 1)])
    graph = helper.make_graph([node], "graph", [x], [y], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, folder / "file.onnx")
    return hamsa_deploy.export(folder / "file.onnx", to="tensorrt", output=folder / "b")


def constant(*values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), "c")


def test_rows_of_an_input_are_counted(tmp_path: Path) -> None:
    bundle = exported(tmp_path, helper.make_node("Reshape", ["x", "c"], ["y"]), 2, constant(-1, 8))
    [output] = bundle.manifest.outputs
    assert (output.shape, output.batch_axis) == (("3*batch", 8), 0)
    assert largest_batch(bundle.manifest) == 0
    x = np.random.default_rng(0).standard_normal((5, 3, 8)).astype(np.float32)
    with Engine(bundle.folder, backend="onnxruntime") as engine:
        np.testing.assert_array_equal(engine(x)["y"], x.reshape(-1, 8))


def test_an_output_of_all_inputs_together_is_told_from_one_of_each(tmp_path: Path) -> None:
    bundle = exported(tmp_path, helper.make_node("ReduceSum", ["x", "c"], ["y"], keepdims=0), 2, constant(0))
    [output] = bundle.manifest.outputs
    assert (output.shape, output.batch_axis) == ((3, 8), None)


def test_what_is_no_multiple_is_refused_by_name(tmp_path: Path) -> None:
    pads = constant(0, 0, 0, 1, 0, 0)
    with pytest.raises(InputError, match="the output 'y' has 3 rows for a batch of 2, 4 for 3"):
        exported(tmp_path, helper.make_node("Pad", ["x", "c"], ["y"]), 3, pads)
