"""A model is traced once, and its real form recorded; where sizes decide on more than that has shown, traced again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fft, nn
from torch.export import Dim, ExportedProgram
from torch.fx.passes.runtime_assert import insert_deferred_runtime_asserts
from torch.utils._pytree import tree_leaves

from hamsa_deploy import to_real
from hamsa_deploy.models import SASS
from hamsa_deploy.spectral.compiler import real_program, rewriting
from hamsa_deploy.spectral.compiler.capture import FixedSizeError
from hamsa_deploy.spectral.dispatch import apply

from ..programs import Program, relative_error

FLOAT32 = 2e-6  # relative, as the transforms of test_factorisations.py are held to


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that torch.export has captured, one after the other."""
    made: list[str] = []
    export = torch.export.export

    def counted(model: nn.Module, *args: Any, **options: Any) -> ExportedProgram:
        made.append(type(model).__name__)
        return export(model, *args, **options)

    monkeypatch.setattr(torch.export, "export", counted)
    return made


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """Parameters, constants of ours, two names for one parameter, and an input called as a function of Python."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sass = SASS((4, 4), 6, norm="ortho", complex_w1=True)
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 6)
        self.last.weight = self.first.weight

    def forward(self, input: Tensor) -> dict[str, Tensor]:
        mixed = self.sass(self.first(input))
        return {"mixed": self.last(mixed), "spectrum": fft.rfft(mixed, dim=1)}


class Delay(nn.Module):
    """Keeps the end of its input for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.tail: Tensor
        self.register_buffer("tail", torch.zeros(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.tail, x], -1)
        self.tail.copy_(x[:, -4:])
        return fft.rfft(joined).abs()


def there_and_back(x: Tensor) -> Tensor:
    z = torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True)
    return torch.istft(z * z.abs(), 16, 4, window=torch.hann_window(16))


FREE = ({0: Dim("batch"), 1: Dim("samples", min=32)},)
ONCE: dict[str, tuple[nn.Module, tuple[Tensor, ...], dict[str, Any]]] = {
    "a batch that varies": (Block(), (noise(2, 16, 6),), {}),
    "fixed shapes": (Block(), (noise(2, 16, 6),), {"dynamic_shapes": {}}),
    "frames of a signal of any length": (Program(there_and_back), (noise(2, 64),), {"dynamic_shapes": (FREE,)}),
    "pixels": (Program(lambda x: fft.rfft(x.float() / 255).abs()), (torch.full((2, 12), 7, dtype=torch.uint8),), {}),
    "complex inputs": (Program(lambda x: fft.ifft(x).real), (torch.complex(noise(2, 12), noise(2, 12)),), {}),
    "state": (Delay().eval(), (noise(1, 12),), {"dynamic_shapes": {}}),
}


@pytest.mark.parametrize("case", ONCE)
def test_a_model_is_captured_once(case: str, captures: list[str]) -> None:
    model, inputs, options = ONCE[case]
    to_real(model, inputs, **options)
    assert captures == [type(model).__name__]


@pytest.mark.parametrize("case", ONCE)
def test_what_is_recorded_is_what_torch_export_traces(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, options = ONCE[case]
    recorded = to_real(model, inputs, **options)
    monkeypatch.setattr(rewriting, "recorded", lambda *arguments: None)
    traced = to_real(model, inputs, **options)

    def described(program: ExportedProgram) -> Any:
        nodes = [(node.op, node.name, str(node.target), str(node.args)) for node in program.graph.nodes]
        signature, meta = program.graph_signature, program.graph_module.meta
        limits = [str(each) for each in program.range_constraints.values()]
        return nodes, str(signature), list(program.state_dict), meta["transforms"], limits

    assert described(recorded) == described(traced)


def test_of_each_constant_there_is_one_placeholder() -> None:
    program = to_real(Program(lambda x: fft.fft(fft.fft(x).real).abs()), (noise(2, 12),))
    held = program.graph_signature.inputs_to_buffers.values()
    assert sorted(held) == sorted(set(held)) == sorted(program.state_dict)


class TakesASize(nn.Module):
    """Its rule makes a number of what varies, which holds for the example."""

    def forward(self, x: Tensor) -> Tensor:
        return fft.rfft(x, dim=-1).abs()


def test_what_the_example_has_decided_is_traced_anew(captures: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that compares the batch with a number: recorded, the program would be right for the example alone."""

    def comparing(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = apply(func, args, kwargs)
        return result * 2 if isinstance(result, Tensor) and result.shape[0] == 3 else result

    monkeypatch.setattr(real_program, "apply", comparing)
    with pytest.raises(FixedSizeError, match="takes 3 only"):
        to_real(TakesASize(), (noise(3, 12),), batch_must_vary=True)
    assert captures[:2] == ["TakesASize", "Interpreted"]


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Program(lambda x: (x + 1, 3, fft.rfft(x).abs())), (noise(2, 12),)),
        (Program(lambda x, n: fft.rfft(x, n).abs()), (noise(2, 12), 8)),
    ],
    ids=["returns a number", "takes one"],
)
def test_borders_of_other_things_than_tensors_are_left_to_torch_export(
    model: nn.Module, inputs: tuple[Any, ...], captures: list[str]
) -> None:
    program = to_real(model, inputs, dynamic_shapes={})
    assert captures == ["Program", "Interpreted"]
    found, expected = (tree_leaves(run(*inputs)) for run in (program.module(), model))
    assert relative_error(found[-1], expected[-1]) < FLOAT32


def test_pytorch_with_other_parts_inside_costs_a_trace_and_no_more(
    captures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(real_program, "insert_deferred_runtime_asserts")
    program = to_real(Block(), (noise(2, 16, 6),))
    assert captures == ["Block", "Interpreted"]
    x = noise(5, 16, 6)
    assert relative_error(program.module()(x), Block()(x)) < FLOAT32


def test_a_size_that_is_taken_from_a_stride_is_traced_anew(
    captures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no input has that size: PyTorch's exporter does not translate strides."""

    def with_a_stride(traced: torch.fx.GraphModule, *arguments: Any, **options: Any) -> None:
        insert_deferred_runtime_asserts(traced, *arguments, **options)
        x = next(node for node in traced.graph.nodes if node.op == "placeholder" and node.name == "x")
        with traced.graph.inserting_after(x):
            stride = traced.graph.call_function(real_program.STRIDE, (x, 0))
        stride.meta["val"] = x.meta["val"].shape[0] * 2

    monkeypatch.setattr(real_program, "insert_deferred_runtime_asserts", with_a_stride)
    program = to_real(TakesASize(), (noise(2, 12),))
    assert captures == ["TakesASize", "Interpreted"]
    assert real_program.STRIDE not in {node.target for node in program.graph.nodes}
    x = noise(5, 12)
    assert relative_error(program.module()(x), TakesASize()(x)) < FLOAT32
