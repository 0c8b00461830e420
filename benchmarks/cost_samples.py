"""What fit_costs.py measures: programs of one piece of work each, as ONNX files that the compiler itself has emitted.

A transform is measured as a round trip: forward, a gate that is not linear (so that nothing is a convolution), inverse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from measure import say
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.targets import all_targets
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_runtime.dft.costs import Work
from hamsa_runtime.dft.factorisations import Plan, candidates, plan_for

# length: for how many columns. Sizes of vision models (49 .. 24,336 = 156 x 156 tokens, 32 .. 512 channels), powers of
# two, and primes.
TRANSFORMS = {
    16: (64,), 36: (128,), 49: (128, 512), 64: (32, 256), 100: (256,), 144: (64,), 196: (64, 384),
    256: (32, 128, 512), 400: (128,), 512: (64, 256), 784: (32, 192), 1024: (128, 512), 1600: (64,), 2048: (128,),
    3136: (32, 96, 256), 4096: (64, 256), 7056: (64,), 12544: (32, 96), 24336: (64,),
    97: (128,), 197: (64, 384), 401: (128,), 601: (128,), 1021: (64, 256), 1531: (128,), 2053: (64,), 3001: (64,),
}  # fmt: skip
# taps: (length, columns); a depthwise convolution
CONVOLUTIONS = {3: (784, 192), 7: (3136, 96), 16: (784, 192), 49: (196, 384), 128: (784, 64), 512: (1024, 64)}
# length: columns; one n x n matrix
MATRICES = {64: 512, 196: 384, 400: 128, 784: 192, 1600: 64}
# How many tiny products one after the other: what operators cost by themselves, and what a call of the engine costs.
CHAINS = (1, 8, 32)
CHAIN_SIZE = 8
# Beyond this the dense form has too many numbers to be worth waiting for.
LARGEST_DENSE = 3100
# More factors than a length has factors of this size are not tried, unless the cost model chooses them.
SMALLEST_FACTOR = 6


@dataclass(frozen=True)
class Sample:
    """One piece of work.

    Args:
        name: of its file, without the ending.
        group: samples of one group are ways to compute the same thing.
        shape: of the input.
        work: what is estimated for one column.
        columns: how many there are.
        module: computes it.
        plan: of a transform.
    """

    name: str
    group: str
    shape: tuple[int, ...]
    work: Work
    columns: int
    module: nn.Module
    plan: Plan | None = None

    def file(self, folder: Path) -> Path:
        """Its ONNX file; made if it is not there."""
        path = folder / f"{self.name}.onnx"
        if not path.exists():
            say(f"building {self.name}")
            plans: Plans = {} if self.plan is None else {self.plan.n: self.plan}
            program = to_real(self.module, (torch.zeros(self.shape),), dynamic_shapes={}, plans=plans)
            made = path.with_suffix(".tmp")
            onnx_from_program(program, made, inputs=["x"], outputs=["y"])
            made.rename(path)
        return path


class RoundTrip(nn.Module):
    """Forward, gate by the power, inverse."""

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.fft(x, dim=1, norm="ortho")
        return torch.fft.ifft(z * (z.real * z.real + z.imag * z.imag), dim=1, norm="ortho").real


# Of half of a spectrum: the power (three products and sums), its product with both parts, the weights of both.
GATE_OPERATORS = 7


class Depthwise(nn.Module):
    """The depthwise convolution of spectral/convolution.py, with zeros before the signal."""

    def __init__(self, taps: int, columns: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(columns, 1, taps, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        channels, _, taps = self.kernel.shape
        before = torch.zeros(1, taps - 1, channels)
        extended = torch.permute(torch.cat([before, x], dim=1), (0, 2, 1))
        return torch.permute(torch.conv1d(extended, self.kernel, groups=channels), (0, 2, 1))


class Matrix(nn.Module):
    """One n x n matrix for every column."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(n, n, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        return self.matrix @ x


class Chain(nn.Module):
    """Tiny products, each with a matrix of its own."""

    def __init__(self, count: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        size = (CHAIN_SIZE, CHAIN_SIZE)
        self.matrices = nn.ParameterList([torch.randn(size, generator=generator) for _ in range(count)])

    def forward(self, x: Tensor) -> Tensor:
        for matrix in self.matrices:
            x = matrix @ x
        return x


def samples() -> Iterator[Sample]:
    """All of them."""
    for n, every in TRANSFORMS.items():
        for columns in every:
            for plan in plans_to_measure(n, columns):
                yield _round_trip(plan, columns)
    for taps, (n, columns) in CONVOLUTIONS.items():
        name = f"depthwise-{taps}-{n}-{columns}"
        work = Work(depthwise=n * taps, moved=3 * n + taps, operators=4)
        yield Sample(name, name, (1, n, columns), work, columns, Depthwise(taps, columns))
    for n, columns in MATRICES.items():
        name = f"matrix-{n}-{columns}"
        work = Work(plain=n * n, moved=n, stored=n * n, operators=1)
        yield Sample(name, name, (1, n, columns), work, columns, Matrix(n))
    for count in CHAINS:
        name, macs = f"chain-{count}", count * CHAIN_SIZE**2
        work = Work(plain=macs, moved=count * CHAIN_SIZE, stored=macs, operators=count)
        yield Sample(name, name, (1, CHAIN_SIZE, CHAIN_SIZE), work, CHAIN_SIZE, Chain(count))


def _round_trip(plan: Plan, columns: int) -> Sample:
    half = len(plan.half_spectrum.half)
    gate = Work(pointwise=GATE_OPERATORS * half, operators=GATE_OPERATORS)
    form = "x".join(map(str, plan.factors)) or "rader"
    group = f"{plan.n}-{columns}"
    work = plan.work + plan.work + gate
    return Sample(f"{group}-{form}", group, (1, plan.n, columns), work, columns, RoundTrip(), plan)


def plans_to_measure(n: int, columns: int) -> list[Plan]:
    """The dense form, Rader's, of every number of factors the one with the fewest multiplications and others, and what
    the cost model chooses with the rates that it has now."""
    every = list(candidates(n))
    found = [plan for plan in every if plan.is_rader or (plan.is_dense and n <= LARGEST_DENSE)]
    for count, ranks in ((2, (0, 1, 3)), (3, (0, 2)), (4, (0,))):
        if n >= SMALLEST_FACTOR**count:
            ranked = sorted((plan for plan in every if len(plan.factors) == count), key=lambda plan: plan.work.macs)
            found += [plan for rank in ranks for plan in ranked[rank : rank + 1]]
    found += [plan_for(n, target.rates, columns) for target in all_targets()]
    return list(dict.fromkeys(found))
