"""Small programs with complex tensors, each a function of real or complex tensors, and how they are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral import to_real


class Program(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def as_real(outputs: Any) -> list[Tensor]:
    """All tensors of a result, complex ones with an extra last dimension of 2."""
    leaves = pytree.tree_leaves(outputs)
    return [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in leaves]


def relative_error(found: Any, expected: Any) -> float:
    """|found - expected| / |expected| over all outputs, in float64."""
    a = torch.cat([t.double().flatten() for t in as_real(found)])
    b = torch.cat([t.double().flatten() for t in as_real(expected)])
    return float((a - b).norm() / b.norm().clamp_min(1e-30))


def check_exact(model: nn.Module, *inputs: Tensor, **options: Any) -> torch.export.ExportedProgram:
    """The real form of a float64 model equals eager PyTorch to rounding; a wrong sign or index gives 1e-3 and more."""
    program = to_real(model, inputs, dynamic_shapes={}, **options)
    expected = model(*inputs)
    found = program.module()(*as_real(inputs))
    for a, b in zip(as_real(found), as_real(expected), strict=True):
        assert a.shape == b.shape
    assert relative_error(found, expected) < 1e-12
    assert_real(program)
    return program


def assert_real(program: torch.export.ExportedProgram) -> None:
    """No tensor is complex and no FFT operator is left."""
    for node in program.graph.nodes:
        values = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, Tensor)]
        assert not any(value.is_complex() for value in values), node
        assert "fft" not in str(node.target), node


def operators(program: torch.export.ExportedProgram) -> list[str]:
    """Names of the operators of a program, in order."""
    return [n.target._schema.name.split("::")[1] for n in program.graph.nodes if hasattr(n.target, "_schema")]
