"""Products that stand in for PyTorch's while a graph is traced: the same graph, in which each is PyTorch's again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hamsa_deploy import to_real
from hamsa_deploy.spectral.compiler.capture import capture_model
from hamsa_deploy.spectral.compiler.stand_ins import NAMES, StandIns, by_their_names

from ..programs import Program

X = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
WEIGHT, BIAS, SQUARE = X[0, :5], X[0, :5, 0], X[0] @ X[0].T

PRODUCTS: dict[str, Callable[[Tensor], Tensor]] = {
    "a layer": lambda x: functional.linear(x, WEIGHT, BIAS),
    "without a bias, of an input in another order": lambda x: functional.linear(x.transpose(1, 2), SQUARE),
    "of two axes": lambda x: functional.linear(x.flatten(0, 1), WEIGHT),
    "complex": lambda x: functional.linear(x.to(torch.complex64), WEIGHT.to(torch.complex64)),
    "a matrix on the left": lambda x: SQUARE @ x,
    "one on the right, in another order": lambda x: x.matmul(WEIGHT.T),
    "of four axes and three": lambda x: torch.matmul(torch.ones(5, 2, 6), x.unsqueeze(1).expand(-1, 5, 6, 4)),
    "of the sample with itself, which is left to PyTorch": lambda x: x @ x.transpose(1, 2),
    "a vector, which is, too": lambda x: x @ WEIGHT[0],
}


def traced(forward: Callable[[Tensor], Tensor]) -> torch.export.ExportedProgram:
    shapes = (({0: torch.export.Dim("batch")},),)
    with torch.no_grad():
        return torch.export.export(Program(forward), (X,), dynamic_shapes=shapes)


def described(program: torch.export.ExportedProgram) -> list[Any]:
    found: list[Any] = []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        of_value = (str(value.shape), str(value.stride()), value.dtype) if isinstance(value, Tensor) else str(value)
        found.append((node.name, node.target, str(node.args), of_value, node.meta.get("torch_fn")))
    return found


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_graph_is_the_one_that_pytorch_traces(name: str) -> None:
    expected = described(traced(PRODUCTS[name]))
    with StandIns():
        program = traced(PRODUCTS[name])
        computed = PRODUCTS[name](X)
    assert torch.equal(computed, PRODUCTS[name](X))
    has_any = any(node.target in NAMES for node in program.graph.nodes)
    assert has_any != name.endswith(("left to PyTorch", "which is, too"))
    by_their_names(program.graph_module)
    assert described(program) == expected


def test_the_real_form_has_products_by_their_names() -> None:
    program = to_real(Program(lambda x: torch.fft.rfft(functional.linear(x, WEIGHT) @ WEIGHT).abs()), (X,))
    targets = {node.target for node in program.graph.nodes}
    assert not set(NAMES) & targets
    assert set(NAMES.values()) <= targets


def test_products_in_branches_have_their_names_again() -> None:
    def forward(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x @ WEIGHT.T, lambda x: functional.linear(x, WEIGHT), (x,))

    program, *_ = capture_model(Program(forward), (X[0, :2],), {})
    modules = [each for each in program.graph_module.modules() if isinstance(each, torch.fx.GraphModule)]
    targets = [node.target for module in modules for node in module.graph.nodes]
    assert not set(NAMES) & set(targets)
    assert set(NAMES.values()) <= set(targets)


def test_autocast_chooses_the_type() -> None:
    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return functional.linear(x, WEIGHT)

    program, *_ = capture_model(Program(forward), (X[0, :2],), {})
    assert program.module()(X[0, :2]).dtype is torch.bfloat16
    assert program.graph.output_node().args[0][0].meta["val"].dtype is torch.bfloat16


@pytest.mark.parametrize(
    "call",
    [
        lambda x: functional.linear(x, WEIGHT.T),
        lambda x: functional.linear(x, WEIGHT.double()),
        lambda x: functional.linear(x, WEIGHT, BIAS[:2]),
        lambda x: x @ WEIGHT,
        lambda x: x.expand(2, 2, 4) @ torch.ones(3, 4, 2),
    ],
)
def test_what_is_wrong_is_said_by_pytorch(call: Callable[[Tensor], Tensor]) -> None:
    x = X[0, :2]
    with pytest.raises(RuntimeError) as expected:
        call(x)
    with StandIns(), pytest.raises(RuntimeError) as found:
        call(x)
    assert str(found.value) == str(expected.value)


def test_a_subclass_computes_as_it_does() -> None:
    class Doubled(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = super().__torch_function__(func, types, args, kwargs or {})
            return 2 * result.as_subclass(Tensor) if func is functional.linear else result

    with StandIns():
        found = functional.linear(X, WEIGHT.as_subclass(Doubled))
    assert torch.equal(found, 2 * functional.linear(X, WEIGHT))
