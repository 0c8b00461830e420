"""What not every engine has, in operators that all have: equal to eager PyTorch, without the operators in question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hamsa_deploy import to_real

from .programs import Program, check_both_precisions, operators


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


FOLDS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "frames": ((2, 16, 7), dict(output_size=(1, 40), kernel_size=(1, 16), stride=(1, 4))),
    "a hop that does not divide a frame": ((2, 16, 7), dict(output_size=(1, 46), kernel_size=(1, 16), stride=(1, 5))),
    "frames that do not overlap": ((2, 3, 4), dict(output_size=(1, 15), kernel_size=(1, 3), stride=(1, 4))),
    "padding and channels": (
        (2, 3 * 8, 10), dict(output_size=(1, 18), kernel_size=(1, 8), padding=(0, 4), stride=(1, 2)),
    ),
    "samples that are in most frames": ((2, 40, 7), dict(output_size=(1, 46), kernel_size=(1, 40), stride=(1, 1))),
    "no batch": ((16, 7), dict(output_size=(1, 40), kernel_size=(1, 16), stride=(1, 4))),
    "two axes": ((2, 2 * 9, 12), dict(output_size=(5, 6), kernel_size=3)),
    "two axes, all options": (
        (2, 2 * 6, 16), dict(output_size=(7, 9), kernel_size=(2, 3), dilation=(2, 1), padding=(1, 0), stride=(2, 2)),
    ),
    "a column": ((1, 4, 5), dict(output_size=(8, 1), kernel_size=(4, 1))),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", FOLDS)
def test_fold_is_overlap_and_add_without_col2im(name: str, kind: str) -> None:
    shape, options = FOLDS[name]

    def fold(x: Tensor) -> Tensor:
        if kind == "real":
            return F.fold(x, **options)
        z = torch.fft.fft(x, dim=-1)
        return torch.complex(F.fold(z.real, **options), F.fold(z.imag, **options))

    program = check_both_precisions(
        lambda *_: Program(fold),
        lambda real, _: (noise(*shape).to(real),),
    )
    assert "col2im" not in operators(program)


WIDTHS = {"one axis": (2, 3), "two axes": (1, 2, 3, 0), "a crop": (2, -1), "nothing": (0, 0)}


@pytest.mark.parametrize("name", WIDTHS)
def test_circular_padding_is_slices(name: str) -> None:
    def padded(x: Tensor) -> Tensor:
        return torch.fft.rfft(F.pad(x, WIDTHS[name], mode="circular"), dim=1).abs()

    shape = (2, 3, 5, 6)[-1 - len(WIDTHS[name]) // 2 - 1 :]
    program = check_both_precisions(lambda *_: Program(padded), lambda real, _: (noise(*shape).to(real),))
    assert not {"pad", "_pad_circular"} & set(operators(program))


def test_circular_padding_of_a_spectrum() -> None:
    def padded(x: Tensor) -> Tensor:
        return F.pad(torch.fft.fft(x), (2, 1), mode="circular")

    check_both_precisions(lambda *_: Program(padded), lambda real, _: (noise(2, 3, 8).to(real),))


CLAMPS: dict[str, Callable[[Tensor], Tensor]] = {
    "a float and an int": lambda x: x.clamp(1e-12, 1),
    "an int and a float": lambda x: x.clip(0, 1.5),
    "a truth value and a float": lambda x: x.clip(False, 1.5),
    "whole numbers by floats": lambda x: (x * 3).to(torch.int64).clamp(0, 1.5),
}


@pytest.mark.parametrize("name", CLAMPS)
def test_bounds_of_a_clamp_are_of_one_type(name: str) -> None:
    model, x = Program(lambda x: CLAMPS[name](torch.fft.rfft(x).abs())), noise(2, 8, dtype=torch.float32)
    program = to_real(model, (x,), dynamic_shapes={})
    found, expected = program.module()(x), model(x)
    assert found.dtype == expected.dtype
    assert torch.allclose(found, expected, atol=1e-5)
    for node in program.graph.nodes:
        if "clamp" in str(node.target):
            assert len({type(bound) for bound in node.args[1:] if bound is not None}) == 1
