"""Small programs with complex tensors, each a function of real or complex tensors, and how they are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamsa_deploy import to_real
from hamsa_deploy.spectral.separable import OneAxisAtATime

# Rounding is 1e-16 in float64 and 6e-8 in float32. Random programs amplify it 10 times at most (random_scope.py).
# float64: a transform of 509 points errs by 1e-15; a constant kept in float32 would show as 1e-8, a wrong sign as 1.
FLOAT64_LIMIT = 1e-12
# float32: one dense product over 509 points errs by 5e-7, relative to the rms of its result; everything else by less.
FLOAT32_LIMIT = 5e-6


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
    with OneAxisAtATime():
        expected = model(*inputs)
    found = program.module()(*as_real(inputs))
    for a, b in zip(as_real(found), as_real(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert relative_error(found, expected) < 1e-12
    assert_real(program)
    return program


class BothPrecisions(nn.Module):
    """One model in float64 and in float32: one compilation, which is what a check costs, for both."""

    def __init__(self, make: Callable[[torch.dtype, torch.dtype], nn.Module]) -> None:
        super().__init__()
        self.double_form = make(torch.float64, torch.complex128)
        self.single_form = make(torch.float32, torch.complex64)

    def forward(self, *inputs: Tensor) -> Any:
        half = len(inputs) // 2
        return self.double_form(*inputs[:half]), self.single_form(*inputs[half:])


def check_both_precisions(
    make: Callable[[torch.dtype, torch.dtype], nn.Module],
    make_inputs: Callable[[torch.dtype, torch.dtype], tuple[Tensor, ...]],
    **options: Any,
) -> torch.export.ExportedProgram:
    """The real forms of a model in float64 and in float32 equal eager PyTorch in float64.

    Args:
        make: gives the model for a real and a complex dtype; its numbers are exact in float32.
        make_inputs: gives its inputs, likewise.
        options: of to_real.
    """
    wide, narrow = make_inputs(torch.float64, torch.complex128), make_inputs(torch.float32, torch.complex64)
    model = BothPrecisions(make)
    program = to_real(model, (*wide, *narrow), dynamic_shapes={}, **options)
    assert_real(program)
    with torch.no_grad(), OneAxisAtATime():
        expected = as_real(model.double_form(*wide))
        found = as_real(program.module()(*as_real((*wide, *narrow))))
    half = len(expected)
    for dtype, limit, outputs in (
        (torch.float64, FLOAT64_LIMIT, found[:half]),
        (torch.float32, FLOAT32_LIMIT, found[half:]),
    ):
        for number, (a, b) in enumerate(zip(outputs, expected, strict=True)):
            assert (a.shape, a.dtype) == (b.shape, dtype), f"output {number}"
            assert relative_error(a, b) < limit, f"output {number} in {dtype}"
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
