"""ONNX file -> OpenVINO IR."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from hamsa_deploy import to_real
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_deploy.targets.openvino_ir import ir_from_onnx
from hamsa_runtime.errors import BuildError


def test_the_ir_computes_what_the_onnx_file_does(tmp_path: Path) -> None:
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


def test_a_file_that_openvino_cannot_read_is_a_build_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"garbage")
    with pytest.raises(BuildError, match=r"model\.onnx"):
        ir_from_onnx(tmp_path / "model.onnx", tmp_path)


@pytest.mark.parametrize("kind", ["Det", "Col2Im", "MatMul"])  # of which OpenVINO has none; its inputs do not fit
def test_what_openvino_refuses_is_named_with_module_and_line(kind: str, tmp_path: Path) -> None:
    x, weight = ir.val("x", ir.DataType.FLOAT, [2, 3]), ir.val("weight", ir.DataType.FLOAT, [5, 7])
    node = ir.node(kind, [x] if kind == "Det" else [x, weight])
    before = ir.node("Identity", [x], metadata_props={"module": "stem", "source": "model.py:11: x = x.clone()"})
    node.metadata_props.update(module="stem.fold", source="model.py:12: y = fold(x)")
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = "fold/y", ir.DataType.FLOAT, ir.Shape([2, 3])
    graph = ir.Graph([x, weight], node.outputs, nodes=[before, node], opset_imports={"": 20}, name="g")
    ir.save(ir.Model(graph, ir_version=10), tmp_path / "model.onnx")
    with pytest.raises(BuildError) as caught:
        ir_from_onnx(tmp_path / "model.onnx", tmp_path)
    assert f"the ONNX operator {kind} in module 'stem.fold', model.py:12: y = fold(x). " in caught.value.found


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from pathlib import Path\nfrom hamsa_deploy.targets.openvino_ir import ir_from_onnx\n"
        "from hamsa_runtime.errors import MissingError\n"
        "try: ir_from_onnx(Path('model.onnx'), Path('.'))\n"
        "except MissingError as error: sys.exit(0 if 'hamsa-runtime[openvino]' in str(error) else str(error))\n"
        "sys.exit('no error')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Mixer(torch.nn.Module):
    """A transform along the tokens, a gate, and linears: constant @ x beside x @ constant."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.gate = torch.nn.Linear(48, 64), torch.nn.Linear(64, 64)
        self.norm = torch.nn.LayerNorm(64)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        u = self.norm(self.lift(pixels.float() / 255 - 0.5))
        z = torch.fft.fft(u, dim=1, norm="ortho")
        return torch.fft.ifft(z * torch.sigmoid(self.gate(z.abs())), dim=1, norm="ortho").real


WrittenIr = tuple[Path, np.ndarray, np.ndarray]  # its folder, an input, what PyTorch makes of it


@pytest.fixture(scope="module")
def bfloat16_ir(tmp_path_factory: pytest.TempPathFactory) -> WrittenIr:
    torch.manual_seed(0)
    model, folder = Mixer().eval(), tmp_path_factory.mktemp("bf16")
    pixels = torch.randint(0, 256, (2, 96, 48), dtype=torch.uint8)
    program = to_real(model, (pixels,), target="openvino")
    onnx_from_program(program, folder / "model.onnx", inputs=["pixels"], outputs=["y"])
    ir_from_onnx(folder / "model.onnx", folder, "bf16")
    return folder, pixels.numpy(), model(pixels).detach().numpy()


def test_bfloat16_is_written_as_types(bfloat16_ir: WrittenIr) -> None:
    """Every product takes bfloat16; the normalisation of the pixels, and what goes in and out, does not."""
    import openvino

    model = openvino.Core().read_model(bfloat16_ir[0] / "model.xml")
    products = [node for node in model.get_ops() if node.get_type_name() == "MatMul"]
    assert len(products) >= 4
    assert {port.get_element_type() for node in products for port in node.inputs()} == {openvino.Type.bf16}
    assert {str(output.get_element_type()) for output in model.outputs} == {"<Type: 'float32'>"}
    first = next(node for node in model.get_ordered_ops() if node.get_type_name() in ("Divide", "Multiply"))
    assert first.output(0).get_element_type() == openvino.Type.f32
    size = sum(path.stat().st_size for path in bfloat16_ir[0].glob("model.bin"))
    assert size < 0.6 * (bfloat16_ir[0] / "model.onnx").stat().st_size


class Modes(torch.nn.Module):
    """The same weights for all modes, and for the first of them."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(33, 64, 64, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.fft.rfft(x, dim=1)
        y = torch.fft.irfft(torch.einsum("bmi,mio->bmo", z, self.w), dim=1)
        return y + torch.einsum("bmi,mio->bmo", z[:, :17], self.w[:17]).abs().sum(1, keepdim=True)


def test_parts_of_weights_are_cut_from_what_is_stored_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the whole would be stored in float32, too, for each of them."""
    import openvino

    monkeypatch.setattr("hamsa_deploy.spectral.compilation.LARGE", 1024)
    program = to_real(Modes().eval(), (torch.randn(2, 64, 64),), target="openvino")
    onnx_from_program(program, tmp_path / "model.onnx", inputs=["x"], outputs=["y"])
    ir_from_onnx(tmp_path / "model.onnx", tmp_path, "bf16")
    nodes = openvino.Core().read_model(tmp_path / "model.xml").get_ops()
    assert "Slice" in {node.get_type_name() for node in nodes}
    constants = [node.output(0) for node in nodes if node.get_type_name() == "Constant"]
    weights = [output for output in constants if output.get_partial_shape() == openvino.PartialShape([33, 64, 64])]
    assert len(weights) == 2
    assert {output.get_element_type() for output in weights} == {openvino.Type.bf16}


def test_the_bfloat16_ir_runs_in_bfloat16_and_is_right_to_its_rounding(bfloat16_ir: WrittenIr) -> None:
    import openvino

    folder, pixels, expected = bfloat16_ir
    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16 products (AVX512-BF16 or AMX)")
    compiled = core.compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    error = np.linalg.norm(compiled(pixels)[0] - expected) / np.linalg.norm(expected)
    assert 1e-5 < error < 1e-2  # one rounding is 4e-3; below 1e-5 it would not be bfloat16
    precisions = {
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) in ("MatMul", "FullyConnected")
    }
    assert precisions == {"bf16"}
