"""PyTorch's exporter: what it would do over and over is done once, and the file is the same."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnxscript._internal import ast_utils
from onnxscript.rewriter._matcher import SimplePatternMatcher
from torch.export import ExportedProgram
from torch.onnx._internal.exporter import _decomp
from torch.onnx._internal.exporter._registration import ONNXRegistry
from torch.onnx._internal.fx.passes.type_promotion import _TypePromotionInterpreter
from torch.onnx.errors import OnnxExporterError

from hamsa_deploy import to_real
from hamsa_deploy.targets import onnx_exporter
from hamsa_deploy.targets.onnx_file import OPSET, onnx_from_program
from hamsa_runtime.errors import BuildError


def test_the_exporters_translations_are_read_once_and_it_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write() -> bytes:
        program = to_real(torch.nn.Hardswish().eval(), (torch.randn(2, 3),))
        onnx_from_program(program, tmp_path / "model.onnx", inputs=["x"], outputs=["y"])
        return (tmp_path / "model.onnx").read_bytes()

    first, reads = write(), ONNXRegistry.from_torchlib
    monkeypatch.setattr(inspect, "getsource", None)
    assert write() == first
    assert reads == ONNXRegistry.from_torchlib


@pytest.mark.parametrize(
    ("model", "times"), [(torch.nn.Hardswish(), 0), (torch.nn.RMSNorm(3), 0), (torch.nn.Softshrink(), 1)], ids=repr
)
def test_only_what_has_no_translation_of_its_own_is_traced_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module, times: int
) -> None:
    """Nor is it listed, for others, how operators are taken apart. And the program stays as it was."""
    traced: list[None] = []
    listed: list[None] = []
    again, table_of = ExportedProgram.run_decompositions, _decomp.create_onnx_friendly_decomposition_table

    def noted(self: ExportedProgram, table: Any = None) -> ExportedProgram:
        traced.append(None)
        return again(self, table)

    def noted_table(registered: Any) -> Any:
        listed.append(None)
        return table_of(registered)

    program = to_real(model.eval(), (torch.randn(2, 3),))
    before = str(program.graph)
    monkeypatch.setattr(ExportedProgram, "run_decompositions", noted)
    monkeypatch.setattr(_decomp, "create_onnx_friendly_decomposition_table", noted_table)
    onnx_from_program(program, tmp_path / "model.onnx", inputs=["x"], outputs=["y"])
    assert (len(traced), len(listed), str(program.graph)) == (times, times, before)
    assert _decomp.create_onnx_friendly_decomposition_table is noted_table
    x = torch.randn(2, 3)
    found = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(found, model(x).detach(), rtol=1e-5, atol=1e-6)


def test_patterns_are_tried_at_their_own_operator_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 130; some walk over the whole graph each time."""
    tried: list[tuple[Any, tuple[str, str]]] = []
    everywhere = SimplePatternMatcher.match

    def noted(self: Any, model: Any, graph: Any, node: ir.Node, **options: Any) -> Any:
        tried.append((self.pattern.output_nodes[0].op_identifier(), (node.domain, node.op_type)))
        return everywhere(self, model, graph, node, **options)

    monkeypatch.setattr(SimplePatternMatcher, "match", noted)

    class Halves(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :4].sin() + x[:, 4:].cos()

    program = to_real(Halves(), (torch.randn(2, 8),))
    onnx_from_program(program, tmp_path / "m.onnx", inputs=["x"], outputs=["y"])
    assert ("", "Slice") in {operator for _, operator in tried}
    assert all(wanted is None or wanted[:2] == operator for wanted, operator in tried)
    assert vars(SimplePatternMatcher)["match"] is noted


class OfTwoTypes(torch.nn.Module):
    """Whole numbers and others: PyTorch promotes types, ONNX does not."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return (x + n).sin() * 2.0 + torch.true_divide(n, 3)


def test_types_are_promoted_and_other_operators_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    run = torch.fx.Interpreter.call_function

    def noted(self: Any, target: Any, args: Any, kwargs: Any) -> Any:
        ran.append(target._schema.name.removeprefix("aten::"))
        return run(self, target, args, kwargs)

    inputs = torch.randn(2, 3, generator=torch.manual_seed(0)), torch.tensor([[0, 1, 2], [3, 4, 5]])
    program = to_real(OfTwoTypes(), inputs)
    monkeypatch.setattr(torch.fx.Interpreter, "call_function", noted)
    onnx_from_program(program, tmp_path / "m.onnx", inputs=["x", "n"], outputs=["y"])
    assert "add" in ran
    assert {"sin", "mul"}.isdisjoint(ran)
    assert vars(_TypePromotionInterpreter)["run_node"].__module__ == _TypePromotionInterpreter.__module__
    given = {"x": inputs[0].numpy(), "n": inputs[1].numpy()}
    found = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, given)[0]
    np.testing.assert_allclose(found, OfTwoTypes()(*inputs), rtol=1e-6)


def test_translations_are_read_without_their_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ONNXRegistry.from_torchlib(opset_version=OPSET).functions
    monkeypatch.setattr(ast_utils, "get_src_and_ast", None)
    found = onnx_exporter.without_sources(ONNXRegistry.from_torchlib)(opset_version=OPSET).functions
    assert len(expected) > 400  # operators, of 497 translations
    assert {target: str(each) for target, each in found.items()} == {t: str(each) for t, each in expected.items()}
    with pytest.raises(TypeError):
        ONNXRegistry.from_torchlib()


def test_what_the_exporter_cannot_do_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise OnnxExporterError("Failed. Next steps:\n## Exception summary\n\n<class 'AssertionError'>: not\n so\n")

    program = to_real(torch.nn.Hardswish().eval(), (torch.randn(2, 3),))
    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(BuildError, match=r"PyTorch 2\.\S+ fails: <class 'AssertionError'>: not so") as raised:
        onnx_from_program(program, tmp_path / "model.onnx", inputs=["x"], outputs=["y"])
    assert "another version of PyTorch" in raised.value.fix


@pytest.mark.parametrize(("name", "part"), [("cumprod", "prims.prod"), ("mode", "aten.mode")])
def test_an_operator_without_a_form_is_named_with_its_line(name: str, part: str) -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.cumprod(x, -1) if name == "cumprod" else torch.mode(x, -1).values
            return y.relu()

    program = to_real(Model().eval(), (torch.randn(2, 3),))
    with pytest.raises(BuildError, match=rf"the operator '{name}', \S+test_onnx_exporter\.py:\d+: y = ") as raised:
        onnx_exporter.onnx_model(program, ["x"], ["y"], OPSET)
    assert part in raised.value.parts["cause"]
