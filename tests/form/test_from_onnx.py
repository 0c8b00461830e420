"""OnnxFile -> RealModel: the dimensions that a bundle may leave open, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hamsa_deploy.form.from_onnx import real_model_of_file
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.onnx_import import load_onnx
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import InputSpec, OutputSpec, Transform

from ..runtime.fix.files import FLOAT, dft_model, graph_model, saved

Model = onnx.ModelProto
Shape = list[int | str]


def doubling(shape: list[int | str], dtype: int = FLOAT) -> Model:
    return graph_model([helper.make_node("Add", ["x", "x"], ["y"])], shape, len(shape), dtype=dtype)


def form(proto: Model, folder: Path, **options: Any) -> RealModel:
    return real_model_of_file(load_onnx(saved(proto, folder)), target="onnx", **options)


SETTLED: dict[str, tuple[Shape, dict[str, Any], tuple[int | Literal["batch"], ...]]] = {
    "open batch": (["N", 3], {}, ("batch", 3)),
    "fixed batch": (["N", 3], {"batch": 4}, (4, 3)),
    "batch that the file fixes": ([4, 3], {"batch": 4}, (4, 3)),
    "everything fixed": ([4, 3], {}, (4, 3)),
    "open size, settled": (["N", "W"], {"shapes": [(1, 7)]}, ("batch", 7)),
    "open size and batch, settled": (["N", "W"], {"shapes": [(1, 7)], "batch": 2}, (2, 7)),
}


@pytest.mark.parametrize(("shape", "options", "expected"), SETTLED.values(), ids=SETTLED.keys())
def test_sizes_are_those_of_the_file_or_of_the_options(
    tmp_path: Path, shape: Shape, options: dict[str, Any], expected: tuple[int | Literal["batch"], ...]
) -> None:
    found = form(doubling(shape), tmp_path, **options)
    assert found.inputs == (InputSpec("x", "float32", expected),)
    assert found.outputs == (OutputSpec("y", "float32", expected),)


REFUSED: dict[str, tuple[Model, dict[str, Any], str]] = {
    "open size": (doubling(["N", "W"]), {}, "dynamic dimension beside the batch"),
    "another batch": (doubling([4, 3]), {"batch": 2}, "the shape 2 for the input x [4, 3]"),
    "another size": (doubling(["N", 3]), {"shapes": [(1, 5)]}, "the shape 1x5 for the input x ["),
    "another rank": (doubling(["N", 3]), {"shapes": [(1, 3, 3)]}, "the shape 1x3x3"),
    "another number of inputs": (doubling(["N", 3]), {"shapes": [(1, 3), (1, 3)]}, "2 input shapes"),
    "text": (doubling(["N"], TensorProto.STRING), {}, "input 'x' is STRING"),
    "a type that no bundle has": (doubling(["N", 3], TensorProto.BFLOAT16), {}, "input 'x' is BFLOAT16"),
}


@pytest.mark.parametrize(("proto", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_bundle_can_hold_is_refused_and_the_file_named(
    tmp_path: Path, proto: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        form(proto, tmp_path, **options)
    assert message in str(caught.value)
    assert "model.onnx" in str(caught.value)


def test_a_nan_is_refused_and_a_mask_of_minus_infinity_is_not(tmp_path: Path) -> None:
    def with_weight(value: float) -> Model:
        weight = numpy_helper.from_array(np.array([value], np.float32), "mask")
        return graph_model([helper.make_node("Add", ["x", "mask"], ["y"])], ["N"], 1, constants=[weight], dtype=FLOAT)

    assert form(with_weight(-np.inf), tmp_path).parameters == 1
    with pytest.raises(InputError, match="NaN in mask"):
        form(with_weight(np.nan), tmp_path)


def test_a_size_that_only_the_options_settle_lets_the_transform_be_replaced(tmp_path: Path) -> None:
    found = form(dft_model(["N", "L", 1], axis=1, onesided=1, dtype=FLOAT), tmp_path, shapes=[(1, 6, 1)])
    assert found.outputs[0].shape == ("batch", 4, 2)
    assert found.transforms == (Transform("spectrum", 6, (6,), "dense", 1),)
    found.write(tmp_path / "real.onnx")
    onnx.checker.check_model(str(tmp_path / "real.onnx"), full_check=True)


def test_an_input_with_a_default_is_a_weight(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "weight")
    proto = graph_model([helper.make_node("Add", ["x", "weight"], ["y"])], ["N", 3], 2, constants=[weight], dtype=FLOAT)
    proto.graph.input.append(helper.make_tensor_value_info("weight", FLOAT, [3]))
    assert [spec.name for spec in form(proto, tmp_path).inputs] == ["x"]
