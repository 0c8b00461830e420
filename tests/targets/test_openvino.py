"""ONNX file -> OpenVINO IR."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.targets.openvino import ir_from_onnx
from hamsa_runtime.errors import BuildError


def test_the_ir_computes_what_the_onnx_file_does(tmp_path):
    import openvino

    x = ir.val("x", ir.DataType.FLOAT, ["batch", 3])
    y = ir.node("Sigmoid", [x])
    y.outputs[0].dtype, y.outputs[0].shape, y.outputs[0].name = ir.DataType.FLOAT, ir.Shape(["batch", 3]), "y"
    model = ir.Model(ir.Graph([x], y.outputs, nodes=[y], opset_imports={"": 18}, name="g"), ir_version=10)
    ir.save(model, tmp_path / "model.onnx")
    ir_from_onnx(tmp_path / "model.onnx", tmp_path)
    compiled = openvino.compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    values = np.array([[-1.0, 0.0, 2.0]], np.float32)
    np.testing.assert_allclose(compiled(values)[0], 1 / (1 + np.exp(-values)), rtol=1e-6)


def test_a_file_that_openvino_cannot_read_is_a_build_error(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"garbage")
    with pytest.raises(BuildError, match=r"model\.onnx"):
        ir_from_onnx(tmp_path / "model.onnx", tmp_path)


def test_a_missing_package_is_named():  # faults.md row 37
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from pathlib import Path\nfrom hamsa_deploy.targets.openvino import ir_from_onnx\n"
        "from hamsa_runtime.errors import MissingError\n"
        "try: ir_from_onnx(Path('model.onnx'), Path('.'))\n"
        "except MissingError as error: sys.exit(0 if 'pip install openvino' in str(error) else str(error))\n"
        "sys.exit('no error')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
