"""Whole numbers of 64 bits, in whose place OpenVINO computes ones of 32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from hamsa_runtime import Engine
from hamsa_runtime.errors import InputError

from .tiny_bundles import manifest_for, onnx_model, save_model, write_files

WIDE = np.array([[2**40 + 1, 3]])


def whole_number_bundle(folder: Path, target: str, *, as_float: bool) -> Path:
    """y = x + x; or, in float32, x."""
    kind = TensorProto.FLOAT if as_float else TensorProto.INT64
    node = helper.make_node("Cast", ["x"], ["y"], to=kind) if as_float else helper.make_node("Add", ["x", "x"], ["y"])
    shape = ["batch", 2]
    save_model(onnx_model([node], [("x", TensorProto.INT64, shape)], [("y", kind, shape)], {}), folder, target)
    spec = {"name": "x", "dtype": "int64", "shape": shape, "layout": None}
    output = {"name": "y", "dtype": "float32" if as_float else "int64", "shape": shape}
    changes = {"inputs": [spec], "outputs": [output], "preprocessing": None, "labels": None, "plan": []}
    return write_files(folder, manifest_for(target=target, **changes))


def test_numbers_that_openvino_would_change_are_refused_with_an_engine_that_does_not(tmp_path: Path) -> None:
    with Engine(whole_number_bundle(tmp_path / "b", "openvino", as_float=False)) as engine:
        assert (engine.infer({"x": np.array([[2**30 - 1, -(2**30)]])})["y"] == [2**31 - 2, -(2**31)]).all()
        for x in (WIDE, -WIDE):
            with pytest.raises(InputError, match=rf"the input 'x' holds {x[0, 0]}") as raised:
                engine.infer({"x": x})
            assert "a bundle for onnx" in raised.value.parts["fix"]
    with Engine(whole_number_bundle(tmp_path / "right", "onnx", as_float=False)) as engine:
        assert (engine.infer({"x": WIDE})["y"] == 2 * WIDE).all()


def test_numbers_that_become_floats_at_once_may_be_large(tmp_path: Path) -> None:
    with Engine(whole_number_bundle(tmp_path / "b", "openvino", as_float=True)) as engine:
        assert (engine.infer({"x": WIDE})["y"] == WIDE.astype(np.float32)).all()
