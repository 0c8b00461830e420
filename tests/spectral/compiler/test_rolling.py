"""Loops that capture unrolls: the right values, and as many operators for many steps as for few."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fft, nn

from hamsa_deploy import to_real

from ..programs import Program, check_exact

generator = torch.Generator().manual_seed(0)
W = torch.randn(4, 4, 9, dtype=torch.complex128, generator=generator)
R = torch.randn(4, 4, 16, dtype=torch.float64, generator=generator)
STEPS = 4


def empty(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[0], 4, 9, dtype=torch.complex128)


def products_of_modes(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i, mode in enumerate([3, 0, 7, 5, 1]):
        y[:, :, i] = torch.einsum("bi,io->bo", z[:, :, mode], W[:, :, i])
    return fft.irfft(y, n=16)


def modes_elsewhere(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i, mode in enumerate([3, 0, 7, 5, 1]):
        y[..., mode] = 2 * z[..., i] - W[0, 0, i] * z[..., 2]
    return fft.irfft(y, n=16)


def every_second_mode_reversed(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i in range(0, 9, 2):
        y[..., i] = z[..., -1 - i].conj()
    return fft.irfft(y, n=16)


def stacked_matrix_products(x: Tensor) -> Tensor:
    z = fft.rfft(x)
    return torch.stack([torch.matmul(z[:, None, :, i], W[:, :, i])[:, 0] for i in range(9)], -1)


def a_transform_in_each_step(x: Tensor) -> Tensor:
    return torch.stack([fft.rfft(x)[..., i].abs() * R[0, 0, i] for i in range(5)], 1)


def of_real_numbers(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    for i in range(10):
        y[:, :, i] = x[:, :, i] @ R[:, :, i]
    return fft.rfft(y).abs()


def of_parts(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), torch.zeros(x.shape[0], 4, 9, dtype=x.dtype)
    for i in range(9):
        y[..., i] = torch.view_as_real(z[..., i] * (1 + 2j))[..., 1]
    return fft.rfft(y).abs()


def along_another_axis(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i in range(4):
        y[:, i] = z[:, 3 - i] * W[0, i, :1]
    return fft.irfft(y, n=16)


def one_source_for_all(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i in range(4):
        y[..., i] = z[..., 2] * 3
    return fft.irfft(y, n=16)


def both_operands_vary(x: Tensor) -> Tensor:
    z = fft.rfft(x)
    return torch.stack([torch.einsum("bi,bo->bio", z[..., i], z[..., 8 - i]) for i in range(STEPS)], 2)


def numbers_and_real_sources(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i in range(4):
        y[..., i] = x[..., i]
        y[:, 0, 4 + i] = 1.0
        y[..., 4] = z.mean()
    return fft.irfft(y, n=16)


def read_in_between(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i in range(5):
        y[..., i] = z[..., i] + y.sum(-1)
    return fft.irfft(y, n=16)


def written_twice(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i, mode in enumerate([0, 1, -1, 1, 2]):
        y[..., mode] = z[..., i] * (i + 1)
    return fft.irfft(y, n=16)


def two_loops(x: Tensor) -> Tensor:
    z, y = fft.rfft(x), empty(x)
    for i in range(3):
        for j in range(3):
            y[:, i, j] = z[:, j, i]
    return fft.irfft(y, n=16)


LOOPS: list[Callable[[Tensor], Tensor]] = [
    products_of_modes, modes_elsewhere, every_second_mode_reversed, stacked_matrix_products, a_transform_in_each_step,
    of_real_numbers, of_parts, along_another_axis, one_source_for_all, both_operands_vary, numbers_and_real_sources,
    read_in_between, written_twice, two_loops,
]  # fmt: skip


def signal() -> Tensor:
    return torch.randn(3, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_loops_compute_what_eager_pytorch_does() -> None:
    check_exact(Program(lambda x: [loop(x) for loop in LOOPS]), signal())


class Block(nn.Module):
    """A Fourier block of FEDformer's kind: one product for each mode."""

    def __init__(self, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(4, 4, modes, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft(x)
        y = torch.zeros(x.shape[0], 4, 9, dtype=torch.cfloat)
        for i in range(self.modes):
            y[:, :, i] = torch.einsum("bi,io->bo", z[:, :, i + 1], self.weight[:, :, i])
        return torch.fft.irfft(y, n=16)


@pytest.mark.parametrize("steps", [3, 7])
def test_the_number_of_operators_does_not_grow_with_that_of_steps(steps: int) -> None:
    """Four real products, their sum and difference, and three of the transforms, whatever the number of modes."""
    program = to_real(Block(steps).eval(), (signal().float(),))
    targets = [str(node.target) for node in program.graph.nodes]
    assert targets.count("aten.matmul.default") == 4 + 3
    assert not [target for target in targets if "scatter" in target or "index_put" in target]
    assert len(targets) < 30
