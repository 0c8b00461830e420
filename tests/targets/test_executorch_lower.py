"""Programs in float16 for ExecuTorch: what XNNPACK has kernels for is, and nothing else; they compute the same."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from hamsa_deploy import to_real
from hamsa_deploy.targets.executorch_lower import fp16_program, int8_program
from hamsa_deploy.targets.record import Order
from hamsa_runtime.manifest import InputSpec

aten = torch.ops.aten
Shape = tuple[int | str, ...]


def order_of(model: nn.Module, *shapes: Shape, float32: Sequence[str] = ()) -> Order:
    """Of inputs x, y, ..., whose batch is free where it is called so."""
    inputs = tuple(InputSpec(name, "float32", shape) for name, shape in zip("xy", shapes, strict=False))
    zeros = tuple(torch.zeros([2 if size == "batch" else int(size) for size in shape]) for shape in shapes)
    free = tuple({0: Dim("batch")} if shape[0] == "batch" else {} for shape in shapes)
    program = to_real(model.eval(), zeros, dynamic_shapes=free, target="executorch")
    return Order("fp16", program=program, inputs=inputs, float32=frozenset(float32))


NEEDS = "executorch is not installed: pip install 'hamsa-deploy[executorch]'"
needs_executorch = pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason=NEEDS)


def types_of(program: ExportedProgram) -> dict[str, torch.dtype]:
    """Operator -> the type of what it computes, and of each constant by its name."""
    return {
        str(node.target): node.meta["val"].dtype
        for node in program.graph.nodes
        if isinstance(node.meta.get("val"), Tensor)
    }


class Mixed(nn.Module):
    """Linear layers, and what XNNPACK has no kernels in float16 for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.norm(nn.functional.silu(self.first(x)))
        return self.last(nn.functional.gelu(y)).transpose(-1, -2), (y > 0).sum(-1)


def test_layers_are_float16_norms_and_borders_float32() -> None:
    torch.manual_seed(0)
    model, x = Mixed(), torch.randn(5, 3, 8)
    typed = fp16_program(order_of(model, ("batch", 3, 8)))
    types = types_of(typed)
    assert types["aten.linear.default"] == types["aten.sigmoid.default"] == types["aten.mul.Tensor"] == torch.float16
    assert types["aten.layer_norm.default"] == types["aten.gelu.default"] == torch.float32
    assert "aten.silu.default" not in types
    weights = {name: tensor.dtype for name, tensor in typed.state_dict.items()}
    assert len(weights) == 6  # each once
    assert [name for name, dtype in weights.items() if dtype == torch.float32] == ["norm.weight", "norm.bias"]
    found, expected = typed.module()(x), model(x)
    assert [each.dtype for each in found] == [torch.float32, torch.int64]
    torch.testing.assert_close(found[0], expected[0], atol=2e-3, rtol=0)
    assert not torch.equal(found[0], expected[0])


def test_the_order_keeps_its_program_in_float32() -> None:
    order = order_of(Mixed(), ("batch", 3, 8))
    fp16_program(order)
    assert order.program is not None
    assert {tensor.dtype for tensor in order.program.state_dict.values()} == {torch.float32}
    assert torch.float16 not in types_of(order.program).values()


def test_what_is_kept_stays_in_float32_with_its_constant() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(nn.functional.linear(x, self.shared), self.shared)

    typed = fp16_program(order_of(Two(), ("batch", 4), float32=["linear"]))
    linears = [node for node in typed.graph.nodes if node.target == aten.linear.default]
    assert [node.meta["val"].dtype for node in linears] == [torch.float32, torch.float16]
    assert sorted(str(tensor.dtype) for tensor in typed.state_dict.values()) == ["torch.float16", "torch.float32"]


class Written(nn.Module):
    """Writes into a part of what it has computed."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y[:, 1:3] += 1
        torch.sin_(y[:, :2])
        return y + x


class Parts(nn.Module):
    """Takes one tensor apart, and puts it together in another way; adds whole numbers."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = (x * 3).chunk(2, dim=-1)
        return torch.cat([b.sigmoid(), a], dim=-1).unflatten(-1, (2, 3)).flip(-1) + torch.arange(3)


class Two(nn.Module):
    """Takes two inputs, and gives one of them back."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.matmul(x, y), y


@pytest.mark.parametrize(
    ("model", "shapes"),
    [(Written(), [("batch", 6)]), (Parts(), [("batch", 6)]), (Two(), [("batch", 3, 6), (6, 5)])],
    ids=["written", "parts", "two"],
)
def test_it_computes_the_same_at_any_batch(model: nn.Module, shapes: list[Shape]) -> None:
    typed = fp16_program(order_of(model, *shapes)).module()
    for batch in (1, 3):
        seeded = torch.Generator().manual_seed(batch)
        given = [
            torch.randn([batch if size == "batch" else int(size) for size in shape], generator=seeded)
            for shape in shapes
        ]
        found, expected = typed(*given), model(*given)
        torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


@needs_executorch
@pytest.mark.filterwarnings("ignore")
def test_weights_of_any_size_have_all_levels_of_int8() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(64, 8, bias=False), torch.randn(5, 64)
    with torch.no_grad():
        model.weight *= 10.0 ** -torch.arange(8.0)[:, None]
    found, expected = int8_program(order_of(model, ("batch", 64))).module()(x), model(x)
    assert ((found - expected).abs().amax(0) / expected.abs().amax(0)).max() < 0.02


@needs_executorch
@pytest.mark.filterwarnings("ignore")
def test_products_with_what_is_computed_are_no_layers() -> None:
    class Computed(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return nn.functional.linear(x, y * 2)

    with pytest.raises(ValueError, match="no linear layers"):
        int8_program(order_of(Computed(), ("batch", 8), (4, 8)))
