"""ExportedProgram -> ONNX: names, shapes, operators and provenance of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

import hamsa_deploy
from hamsa_deploy.models import load_model
from hamsa_deploy.targets.onnx_file import OPSET, check_operators, save
from hamsa_deploy.targets.tensorrt import LATER, OPERATORS
from hamsa_runtime.backends import module_of_node
from hamsa_runtime.errors import InputError
from hamsa_runtime.tensorrt.modules import log_of
from tests.precision.graphs import file_of
from tests.shared import Once


@pytest.fixture(scope="module")
def exported(once: Once) -> tuple[torch.nn.Module, Path]:
    return load_model("hamsa_nano"), file_of("nano", once)


def test_the_file_is_valid_and_its_opset_is_one_that_tensorrt_10_3_reads(
    exported: tuple[torch.nn.Module, Path],
) -> None:
    proto = onnx.load(exported[1])
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", OPSET)]
    assert OPSET <= 20


def test_names_and_the_dynamic_batch(exported: tuple[torch.nn.Module, Path]) -> None:
    graph = onnx.load(exported[1]).graph
    shapes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.output)
    }
    assert shapes == {"images": ["batch", 3, 32, 32], "logits": ["batch", 10], "embedding": ["batch", 64]}


def test_operators_that_runtimes_fuse_are_whole_and_none_is_exotic(exported: tuple[torch.nn.Module, Path]) -> None:
    kinds = {node.op_type for node in onnx.load(exported[1]).graph.node}
    assert {"LayerNormalization", "MatMul", "Gemm", "Conv"} <= kinds
    assert not {"DFT", "STFT", "Loop", "Scan", "If", "ScatterND", "Gather", "ReduceL2", "Einsum"} & kinds


def test_nodes_keep_module_and_source_and_no_path_of_this_machine(exported: tuple[torch.nn.Module, Path]) -> None:
    nodes = onnx.load(exported[1]).graph.node
    roots = [{p.key: p.value for p in node.metadata_props} for node in nodes if node.op_type == "Sqrt"]
    assert len(roots) == 5
    for metadata in roots:
        assert metadata["module"].endswith("hss.sass")
        assert metadata["source"].split(":")[0].endswith("sass.py")
    assert str(Path(__file__).parents[2]).encode() not in exported[1].read_bytes()


def test_nodes_are_named_by_the_users_modules(exported: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    model = ir.load(exported[1])
    entering = model.graph.node(0).outputs
    model.graph.append(ir.node("Identity", entering, metadata_props={"module": "stem"}, name="new"))
    save(model, tmp_path / "model.onnx")  # again: only what is new gets a name
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    assert names[:-1] == [node.name for node in onnx.load(exported[1]).graph.node]
    assert names[-1] == "stem/new"
    for node in nodes:
        (module,) = (entry.value for entry in node.metadata_props if entry.key == "module")
        assert module_of_node(node.name) == module
    assert sum(name.startswith("/") for name in names) < 0.1 * len(names)  # of the model itself


def test_onnxruntime_computes_what_pytorch_computes(exported: tuple[torch.nn.Module, Path]) -> None:
    model, path = exported
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = model(x)
    for found, b in zip(session.run(None, {"images": x.numpy()}), expected.values(), strict=True):
        # float32 rounds to 6e-8; over the depth of the network 5e-7 was measured
        assert np.abs(found - b.numpy()).max() / b.abs().max() < 5e-6


def test_an_operator_that_the_device_would_refuse_is_named_with_its_line(tmp_path: Path) -> None:
    class Determinant(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.det(x)

    with pytest.raises(InputError) as caught:
        hamsa_deploy.export(Determinant().eval(), (torch.eye(3)[None],), to="tensorrt", output=tmp_path / "bundle")
    assert "the ONNX operator Det" in caught.value.found
    assert "test_onnx_file.py" in caught.value.found
    assert "the parser of TensorRT has no Det" in caught.value.cause
    assert not (tmp_path / "bundle").exists()


def test_tensorrt_rtx_knows_the_operators_that_are_listed() -> None:
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx")
    network = tensorrt_rtx.Builder(log_of(tensorrt_rtx)).create_network(0)
    parser = tensorrt_rtx.OnnxParser(network, log_of(tensorrt_rtx))
    unknown = {name for name in OPERATORS if not parser.supports_operator(name)}
    assert unknown <= {"DeformConv"}  # a plugin of TensorRT's
    assert not {"Col2Im", "DFT"} & OPERATORS
    assert {"Swish", "STFT", "Attention"} <= {name for name in LATER if parser.supports_operator(name)}


def test_an_operator_of_newer_parsers_is_refused_with_the_version_that_has_it() -> None:
    x = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("Swish", [x], metadata_props={"module": "act", "source": "model.py:7"})
    model = ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 24}), ir_version=10)
    with pytest.raises(InputError) as caught:
        check_operators(model, OPERATORS, "TensorRT", LATER)
    assert caught.value.found == "the ONNX operator Swish in module 'act', model.py:7"
    assert "no Swish before version 11.0" in caught.value.cause
