"""Every way in which a transform waits: spectra that are cut, rolled, filtered and padded, and results that are cut.

Each table is compiled as one program, for each of several plans; every entry is compared with eager PyTorch by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fft, nn

from hamsa_deploy import to_real
from hamsa_deploy.targets import onnx
from hamsa_runtime.dft.factorisations import Plan

from .programs import FLOAT32_LIMIT, FLOAT64_LIMIT, Program, as_real, assert_real, check_exact, relative_error

PLANS = [
    Plan(12, (12,)),
    Plan(12, (4, 3)),
    pytest.param(Plan(12, (2, 3, 2)), marks=pytest.mark.slow),
    pytest.param(Plan(9, (3, 3)), marks=pytest.mark.slow),
    pytest.param(Plan(13, ()), marks=pytest.mark.slow),
]
CHANNELS = 3


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


class Weights:
    """Constants for signals (2, n, CHANNELS) and their spectra."""

    def __init__(self, n: int) -> None:
        def kernel(*shape: int, seed: int) -> Tensor:
            return normal(*shape, seed=seed, dtype=torch.complex128)

        h = n // 2 + 1
        self.n, self.h = n, h
        self.frequency, self.frequency_half = kernel(n, 1, seed=1), kernel(h, 1, seed=2)
        self.channel = kernel(CHANNELS, seed=3)
        self.both, self.both_half = kernel(n, CHANNELS, seed=4), kernel(h, CHANNELS, seed=5)
        self.heads = kernel(4, 1, n, CHANNELS, seed=6)
        self.real = normal(n, 1, seed=7)
        self.mask = torch.arange(n).remainder(3).ne(1)[:, None]
        self.counts = torch.arange(1, n + 1)[:, None]
        self.permutation = torch.randperm(n, generator=torch.Generator().manual_seed(10))
        self.repeated = torch.tensor([1, 0, 1, n - 1, 2])
        self.batch = kernel(2, n, 1, seed=11)
        self.narrow = self.both.to(torch.complex64)


Entry: TypeAlias = Callable[[Tensor, Weights], Any]
Table: TypeAlias = dict[str, Entry]


class Entries(nn.Module):
    """Every entry of a table."""

    def __init__(self, table: Table, weights: Weights) -> None:
        super().__init__()
        self.table, self.weights = table, weights

    def forward(self, x: Tensor) -> list[Any]:
        return [function(x, self.weights) for function in self.table.values()]


def check_each(table: Table, x: Tensor, weights: Weights, *, dynamic: bool = False, **options: Any) -> None:
    """Every entry of the table, in one program, equals eager PyTorch to rounding in float64."""
    model = Entries(table, weights)
    program = to_real(model, (x,), dynamic_shapes=None if dynamic else {}, **options)
    assert_real(program)
    for name, found, expected in zip(table, as_real(program.module()(x)), as_real(model(x)), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), name
        assert relative_error(found, expected) < FLOAT64_LIMIT, name


CUTS: Table = {
    "low": lambda z, w: z[:, :4],
    "high": lambda z, w: z[:, -3:],
    "one": lambda z, w: z[:, 2:3],
    "all but the mean": lambda z, w: z[:, 1:],
    "even": lambda z, w: z[:, ::2],
    "every third": lambda z, w: z[:, 1::3],
    "low and high": lambda z, w: torch.cat([z[:, :2], z[:, -2:]], 1),
    "narrow": lambda z, w: z.narrow(1, 1, 3),
    "flip": lambda z, w: z.flip(1),
    "roll": lambda z, w: z.roll(2, 1),
    "roll back": lambda z, w: z.roll(-3, 1),
    "fftshift": lambda z, w: fft.fftshift(z, dim=1),
    "ifftshift": lambda z, w: fft.ifftshift(z, dim=1),
    "middle of fftshift": lambda z, w: fft.fftshift(z, dim=1)[:, 2:6],
    "flip of a slice": lambda z, w: z[:, 1:5].flip(1),
    "index_select": lambda z, w: z.index_select(1, w.repeated.clamp(max=z.shape[1] - 1)),
    "magnitude of a slice": lambda z, w: z[:, 1:4].abs(),
    "select": lambda z, w: z[:, 3],
    "channels": lambda z, w: z[:, :, 1:],
    "split": lambda z, w: torch.cat(z.split([2, z.shape[1] - 2], dim=1)[::-1], 1),
    "roll twice": lambda z, w: z.roll(2, 1).roll(3, 1),
    "imaginary part of the high ones": lambda z, w: z[:, -4:].imag,
}


def cut_of(whole: Entry, cut: Entry) -> Entry:
    return lambda x, w: cut(whole(x, w), w)


FORWARD: Table = {
    **{f"fft: {name}": cut_of(lambda x, w: fft.fft(x, dim=1), cut) for name, cut in CUTS.items()},
    **{f"rfft: {name}": cut_of(lambda x, w: fft.rfft(x, dim=1), cut) for name, cut in CUTS.items()},
    **{f"filtered: {name}": cut_of(lambda x, w: fft.fft(x, dim=1) * w.both, cut) for name, cut in CUTS.items()},
    **{
        f"complex: {name}": cut_of(lambda x, w: fft.fft(x * 1j + x.flip(1), dim=1), cut)
        for name, cut in list(CUTS.items())[::4]
    },
    "a permutation": lambda x, w: fft.fft(x, dim=1).index_select(1, w.permutation),
    "a permutation there and back": lambda x, w: (
        fft.ifft(
            fft.fft(x, dim=1).index_select(1, w.permutation).index_select(1, w.permutation.argsort()) * w.both, dim=1
        ).real
    ),
    "shifted, filtered, shifted back": lambda x, w: (
        fft.ifft(fft.ifftshift(fft.fftshift(fft.fft(x, dim=1), dim=1) * w.both, dim=1), dim=1).real
    ),
    "a gate between shifts": lambda x, w: fft.ifft(
        fft.ifftshift(fft.fftshift(fft.fft(x, dim=1), dim=1).abs() * w.real, dim=1), dim=1
    ),
    "an odd part rolled away from zero": lambda x, w: fft.ifft(fft.fft(x, dim=1).roll(1, 1).imag, dim=1).real + x,
    "an odd part shifted": lambda x, w: fft.ifft(fft.fftshift(fft.fft(x, dim=1), dim=1).imag * 1j, dim=1).imag + x,
    "an odd part shifted, real": lambda x, w: (
        fft.ifft(fft.fftshift(fft.fft(x, dim=1), dim=1).imag + w.real, dim=1).real
    ),
    "all but the mean, gated": lambda x, w: (
        fft.ifft(F.pad(fft.fft(x, dim=1)[:, 1:] * fft.fft(x, dim=1)[:, 1:].abs(), (0, 0, 1, 0)), dim=1).real
    ),
    "all but the mean, of another length": lambda x, w: fft.ifft(fft.fft(x, dim=1)[:, 1:].imag, dim=1).real,
    "all but the mean, filtered": lambda x, w: fft.fft(x, dim=1)[:, 1:].abs() * w.both[1:] + fft.fft(x, dim=1)[:, 1:],
    "a symmetric band": lambda x, w: (
        fft.fftshift(fft.fft(x, dim=1), dim=1)[:, w.n // 2 - 2 : w.n // 2 + 3] * 1j
    ).exp(),
    "nearly all": lambda x, w: fft.fft(x, dim=1)[:, 2:] * w.frequency[2:],
    "conjugate of the flipped spectrum": lambda x, w: (
        fft.fft(x, dim=1).flip(1).roll(1, 1).conj() - fft.fft(x, dim=1) * 2
    ),
    "empty": lambda x, w: torch.cat([fft.fft(x, dim=1)[:, :0], fft.fft(x, dim=1)[:, 1:3]], 1),
}

PADDED: Table = {
    "n=": lambda x, w: fft.fft(x[:, :-3], n=w.n, dim=1),
    "n=, one-sided": lambda x, w: fft.rfft(x[:, :2], n=w.n, dim=1).abs(),
    "before": lambda x, w: fft.fft(F.pad(x[:, 2:], (0, 0, 2, 0)), dim=1),
    "after": lambda x, w: fft.fft(F.pad(x[:, 2:], (0, 0, 0, 2)), dim=1),
    "both sides": lambda x, w: fft.rfft(F.pad(x[:, 3:], (0, 0, 1, 2)), dim=1),
    "twice": lambda x, w: fft.fft(F.pad(x[:, 3:], (0, 0, 1, 1)), n=w.n, dim=1),
    "before, filtered": lambda x, w: fft.ifft(fft.fft(F.pad(x[:, 2:], (0, 0, 2, 0)), dim=1) * w.frequency, dim=1).real,
    "both sides, filtered": lambda x, w: fft.irfft(
        fft.rfft(F.pad(x[:, 2:], (0, 0, 1, 1)), dim=1) * w.both_half, n=w.n, dim=1
    ),
    "filtered, gated": lambda x, w: fft.ifft(fft.fft(x[:, :-4], n=w.n, dim=1).abs() * w.both, dim=1),
    "along the channels, filtered": lambda x, w: fft.ifft(fft.fft(F.pad(x, (1, 2)), dim=1) * w.frequency, dim=1).real,
    "along the channels, one filter each": lambda x, w: (
        fft.ifft(fft.fft(F.pad(x[..., :2], (1, 0)), dim=1) * w.both, dim=1).real
    ),
    "along both axes": lambda x, w: fft.irfft(
        fft.rfft(F.pad(x[:, 2:], (1, 2, 2, 0)), dim=1) * w.frequency_half, n=w.n, dim=1
    ),
    "along both axes, one after the other": lambda x, w: fft.fft2(
        F.pad(F.pad(x[:, 2:], (0, 0, 2, 0)), (1, 0)), dim=(1, 2)
    ),
    "a scaled one": lambda x, w: fft.fft(F.pad(x[:, 2:], (0, 0, 2, 0)) * 2 * w.real, dim=1),
    "a sum": lambda x, w: fft.fft(F.pad(x[:, 2:], (0, 0, 2, 0)) - F.pad(x[:, :-2].sin(), (0, 0, 2, 0)), dim=1),
    "a sum of two places": lambda x, w: fft.fft(F.pad(x[:, 2:], (0, 0, 2, 0)) + F.pad(x[:, :-2], (0, 0, 0, 2)), dim=1),
    "with ones": lambda x, w: fft.fft(F.pad(x[:, 2:], (0, 0, 2, 0), value=1.0), dim=1),
    "around": lambda x, w: fft.fft(F.pad(x.transpose(1, 2)[..., 2:], (2, 0), mode="circular"), dim=2),
    "negative widths": lambda x, w: fft.fft(F.pad(x, (0, 0, -2, 2)), dim=1),
    "cropped": lambda x, w: fft.fft(torch.cat([x, x.sin()], 1), n=w.n, dim=1),
    "cropped, one-sided": lambda x, w: fft.rfft(torch.cat([x.sin(), x], 1), n=w.n, dim=1),
    "a slice of a padded signal": lambda x, w: fft.fft(F.pad(x, (0, 0, 4, 0))[:, 2 : w.n + 2], dim=1),
    "a strided slice of a padded signal": lambda x, w: fft.fft(F.pad(x, (0, 0, w.n, 0))[:, ::2], dim=1),
    "nothing but zeros": lambda x, w: fft.fft(F.pad(x, (0, 0, w.n, 0))[:, : w.n], dim=1).real + x,
    "joined channels": lambda x, w: fft.fft(
        torch.cat([F.pad(x[:, 2:], (0, 0, 2, 0)), F.pad(x[:, 2:].cos(), (0, 0, 2, 0))], 2), dim=1
    ),
    "written into zeros": lambda x, w: fft.fft(torch.zeros_like(x).slice_scatter(x[:, :-3], 1, 1, w.n - 2), dim=1),
    "written into zeros twice": lambda x, w: fft.fft(
        torch.zeros_like(x).slice_scatter(x[:, :2], 1, 3, 5).slice_scatter(x[:, 5:7], 1, 0, 2), dim=1
    ),
    "written over": lambda x, w: fft.fft(
        torch.zeros_like(x).slice_scatter(x[:, :2], 1, 3, 5).slice_scatter(x[:, 5:7], 1, 4, 6), dim=1
    ),
    "every second": lambda x, w: fft.fft(
        torch.zeros_like(x).slice_scatter(x[:, : (w.n + 1) // 2], 1, 0, None, 2), dim=1
    ),
    "a spectrum at its end": lambda x, w: fft.ifft(F.pad(fft.fft(x, dim=1)[:, :4], (0, 0, 0, w.n - 4)), dim=1),
    "a spectrum at its start": lambda x, w: fft.ifft(F.pad(fft.fft(x, dim=1)[:, -4:], (0, 0, w.n - 4, 0)), dim=1),
    "a half spectrum": lambda x, w: fft.irfft(F.pad(fft.rfft(x, dim=1)[:, :4], (0, 0, 0, w.h - 4)), n=w.n, dim=1),
    "by n=": lambda x, w: fft.irfft(fft.rfft(x, dim=1)[:, :3] * w.channel, n=w.n, dim=1),
    "by n=, two-sided": lambda x, w: fft.ifft(fft.fft(x, dim=1)[:, :3] * w.channel, n=w.n, dim=1),
    "zeros by cat": lambda x, w: fft.irfft(
        torch.cat([fft.rfft(x, dim=1)[:, :3], torch.zeros(x.shape[0], w.h - 3, CHANNELS, dtype=torch.complex128)], 1),
        n=w.n,
        dim=1,
    ),
}

INVERSES: Table = {
    "filtered": lambda x, w: fft.ifft(fft.fft(x, dim=1) * w.frequency, dim=1).real,
    "one filter each": lambda x, w: fft.ifft(fft.fft(x, dim=1) * w.both, dim=1).real,
    "filtered, imaginary": lambda x, w: fft.ifft(fft.fft(x, dim=1) * w.both, dim=1).imag,
    "filtered, one-sided": lambda x, w: fft.irfft(fft.rfft(x, dim=1) * w.both_half, n=w.n, dim=1),
    "shared, one-sided": lambda x, w: fft.irfft(fft.rfft(x, dim=1) * w.frequency_half, n=w.n, dim=1),
    "nothing between": lambda x, w: fft.ifft(fft.fft(x, dim=1), dim=1).real,
    "nothing between, one-sided": lambda x, w: fft.irfft(fft.rfft(x, dim=1), n=w.n, dim=1),
    "nothing between, scaled": lambda x, w: fft.ifft(fft.fft(x, dim=1) * 3.0, dim=1, norm="forward").real,
    "a gain for each channel": lambda x, w: fft.ifft(fft.fft(x, dim=1) * w.channel, dim=1).real,
    "an all-pass delay": lambda x, w: (
        fft.ifft(
            fft.fft(x, dim=1) * torch.polar(torch.ones(w.n).double(), torch.arange(w.n).double() * 0.7)[:, None], dim=1
        ).real
    ),
    "gated": lambda x, w: fft.ifft(fft.fft(x, dim=1) * fft.fft(x, dim=1).abs().sigmoid(), dim=1).real,
    "gated, one-sided": lambda x, w: fft.irfft(fft.rfft(x, dim=1).abs() * w.both_half, n=w.n, dim=1),
    "of another length": lambda x, w: fft.irfft(fft.rfft(torch.cat([x, x], 1), dim=1), n=w.n, dim=1),
    "of a complex signal": lambda x, w: fft.ifft(fft.fft(x * 1j + x.sin(), dim=1) * w.both, dim=1).imag,
    "of a complex signal, shared": lambda x, w: fft.ifft(fft.fft(x * 1j + x.sin(), dim=1) * w.frequency, dim=1).real,
    "zero filter": lambda x, w: fft.ifft(fft.fft(x, dim=1) * torch.zeros(w.n, 1), dim=1).real + x,
}

CUT_RESULTS: Table = {
    "prefix": lambda y, w: y[:, :5],
    "suffix": lambda y, w: y[:, -4:],
    "middle": lambda y, w: y[:, 2:7],
    "strided": lambda y, w: y[:, 1::2],
    "flip": lambda y, w: y.flip(1),
    "roll": lambda y, w: y.roll(3, 1),
    "fftshift": lambda y, w: fft.fftshift(y, dim=1),
    "index_select": lambda y, w: y.index_select(1, w.repeated),
    "repeated to full length": lambda y, w: y.index_select(1, w.permutation // 2),
    "twice": lambda y, w: y[:, 2:].flip(1)[:, :3],
    "last": lambda y, w: y[:, -1],
    "all and a part": lambda y, w: y[:, :4] + y.sum(1, keepdim=True),
    "two parts": lambda y, w: y[:, 1:] - y[:, :-1],
    "empty": lambda y, w: torch.cat([y[:, 3:3], y[:, :2]], 1),
}

PRODUCTS: Table = {
    "a number": lambda x, w: fft.fft(x, dim=1) * 0.7,
    "a whole number": lambda x, w: 3 * fft.fft(x, dim=1),
    "a complex number": lambda x, w: fft.fft(x, dim=1) * (0.3 - 2j),
    "minus": lambda x, w: -fft.fft(x, dim=1),
    "divided by a number": lambda x, w: fft.fft(x, dim=1) / 7,
    "divided by a complex number": lambda x, w: fft.fft(x, dim=1) / (0.3 - 2j),
    "a number divided by it": lambda x, w: 2 / (fft.fft(x, dim=1).abs() + 1 + fft.fft(x, dim=1)),
    "each frequency": lambda x, w: fft.fft(x, dim=1) * w.frequency,
    "each channel": lambda x, w: w.channel * fft.fft(x, dim=1),
    "both": lambda x, w: fft.fft(x, dim=1) * w.both,
    "each frequency, then each channel": lambda x, w: fft.fft(x, dim=1) * w.frequency * w.channel * 0.5,
    "more dimensions": lambda x, w: fft.fft(x, dim=1) * w.heads,
    "more dimensions, back": lambda x, w: fft.ifft(fft.fft(x, dim=1) * w.heads, dim=2).real[:, :, :4],
    "more dimensions, cut": lambda x, w: (fft.fft(x, dim=1) * w.heads)[:, :, 1:4],
    "more frequencies than there are": lambda x, w: (fft.fft(x, dim=1)[:, :1] * w.both)[:, 2:5],
    "more channels than there are": lambda x, w: fft.ifft(fft.fft(x[..., :1], dim=1) * w.both, dim=1).real,
    "each of the batch": lambda x, w: fft.ifft(fft.fft(x, dim=1) * w.batch, dim=1).real,
    "a real one": lambda x, w: fft.fft(x, dim=1) * w.real,
    "a mask": lambda x, w: fft.fft(x, dim=1) * w.mask,
    "a mask and back": lambda x, w: fft.ifft(fft.fft(x, dim=1) * w.mask, dim=1).real,
    "masked_fill": lambda x, w: fft.ifft(fft.fft(x, dim=1).masked_fill(w.mask, 0), dim=1),
    "whole numbers": lambda x, w: fft.fft(x, dim=1) * w.counts,
    "divided by whole numbers": lambda x, w: fft.ifft(fft.fft(x, dim=1) / w.counts, dim=1).real,
    "divided by a constant": lambda x, w: fft.fft(x, dim=1) / w.both,
    "divided by a real constant": lambda x, w: fft.ifft(fft.fft(x, dim=1) / (w.real.abs() + 1), dim=1).imag,
    "a constant divided by it": lambda x, w: w.both / (fft.fft(x, dim=1).abs() + 2j),
    "in float32": lambda x, w: fft.fft(x, dim=1) * w.narrow,
    "two filters": lambda x, w: fft.fft(x, dim=1) * w.both + fft.fft(x, dim=1) * w.frequency,
    "two filters of one spectrum": lambda x, w: (lambda z: fft.ifft(z * w.both - z * w.frequency * 2, dim=1).real)(
        fft.fft(x, dim=1)
    ),
    "a weighted sum of filters": lambda x, w: (lambda z: torch.add(z * w.both, z * w.real, alpha=0.5))(
        fft.fft(x, dim=1)
    ),
    "a sum with itself": lambda x, w: (lambda z: fft.ifft(z + z * w.both, dim=1).real)(fft.fft(x, dim=1)),
    "a sum of parts of different shape": lambda x, w: (lambda z: fft.ifft(z * w.channel + z * w.frequency, dim=1).imag)(
        fft.fft(x, dim=1)
    ),
    "filtered beside its magnitude": lambda x, w: (lambda z: fft.ifft(z * w.both, dim=1).real + z.abs())(
        fft.fft(x, dim=1)
    ),
    "gated by its magnitude": lambda x, w: (lambda z: fft.irfft(z * w.both_half * z.abs(), n=w.n, dim=1))(
        fft.rfft(x, dim=1)
    ),
    "magnitude of a filtered one": lambda x, w: (fft.fft(x, dim=1) * w.both).abs(),
    "phase": lambda x, w: torch.where(
        fft.rfft(x, dim=1).abs() > 0.5, (fft.rfft(x, dim=1) * w.both_half).angle().cos(), 0.0
    ),
    "autocorrelation": lambda x, w: (lambda z: fft.irfft(z * z.conj(), n=w.n, dim=1))(fft.rfft(x, dim=1)),
    "autocorrelation, two-sided": lambda x, w: (lambda z: fft.ifft(z * z.conj() * w.real, dim=1))(fft.fft(x, dim=1)),
    "correlation": lambda x, w: fft.ifft(fft.fft(x, dim=1) * fft.fft(x.sin(), dim=1).conj(), dim=1).real,
    "correlation, one-sided": lambda x, w: fft.irfft(
        fft.rfft(x, dim=1).conj() * fft.rfft(x.flip(2), dim=1), n=w.n, dim=1
    ),
    "convolution of two signals": lambda x, w: fft.irfft(fft.rfft(x, dim=1) * fft.rfft(x.cos(), dim=1), n=w.n, dim=1),
    "conjugate of a filtered one": lambda x, w: fft.ifft((fft.fft(x, dim=1) * w.both).conj(), dim=1).real,
    "time reversal": lambda x, w: fft.ifft(fft.fft(x, dim=1).conj(), dim=1).real,
    "derivative": lambda x, w: fft.irfft(
        fft.rfft(x, dim=1) * (2j * torch.pi * fft.rfftfreq(w.n, dtype=torch.float64))[:, None], n=w.n, dim=1
    ),
}

CUT_INVERSES = ["filtered", "one filter each", "nothing between", "gated, one-sided", "of a complex signal"]
ON_RESULTS: Table = {
    f"{inverse}: {cut}": cut_of(INVERSES[inverse], CUT_RESULTS[cut]) for inverse in CUT_INVERSES for cut in CUT_RESULTS
}


def in_pieces(table: Table, size: int = 40) -> list[Table]:
    """Tables of at most `size` entries."""
    names = list(table)
    return [{name: table[name] for name in names[i : i + size]} for i in range(0, len(names), size)]


TABLES = [*in_pieces(FORWARD), *in_pieces(PADDED), *in_pieces(INVERSES), *in_pieces(PRODUCTS), *in_pieces(ON_RESULTS)]


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("table", TABLES, ids=lambda table: next(iter(table)))
def test_what_waits(table: Table, plan: Plan) -> None:
    check_each(table, normal(2, plan.n, CHANNELS, seed=0), Weights(plan.n), plans={plan.n: plan})


def test_a_constant_of_more_precision_makes_the_product_precise() -> None:
    weights = normal(12, 1, seed=1, dtype=torch.complex128)
    program = Program(lambda x: (fft.fft(x, dim=1) * weights, fft.ifft(fft.fft(x, dim=1) / weights, dim=1).real))
    x = normal(2, 12, 3, seed=0, dtype=torch.float32)
    found, expected = to_real(program, (x,), dynamic_shapes={}).module()(x), program(x)
    for a, b in zip(as_real(found), as_real(expected), strict=True):
        assert a.dtype == b.dtype
        # Rounding of the transform in float32, 6e-8 for each product, in both.
        assert relative_error(a, b) < FLOAT32_LIMIT


def filtered_along(axis: int, one_sided: bool, *shape: int) -> Callable[[Tensor], Any]:
    """A filter along an axis, with weights of a shape that broadcasts against the spectrum."""
    weight = normal(*shape, seed=20, dtype=torch.complex128)

    def program(x: Tensor) -> Any:
        if one_sided:
            return fft.irfft(fft.rfft(x, dim=axis) * weight, n=x.shape[axis], dim=axis)
        z = fft.ifft(fft.fft(x, dim=axis) * weight, dim=axis)
        return z.real - 2 * z.imag

    return program


# (rank of the signal, axis, shape of the weights), for signals whose axes are 4, 6, 3, 5 long, the last `rank` of them.
FILTERS = [
    (1, 0, (5,)),
    (2, 1, (5,)),
    (2, 1, (3, 5)),
    (2, 0, (3, 1)),
    (2, 0, (3, 5)),
    (3, 0, (6, 1, 1)),
    (3, 0, (6, 1, 5)),
    (3, 0, (6, 3, 1)),
    (3, 1, (3, 5)),
    (3, 2, (3, 5)),
    (3, 2, (6, 1, 5)),
    (3, 2, (6, 3, 5)),
    (3, 1, (2, 6, 3, 1)),
    (4, 1, (6, 3, 1)),
    (4, 1, (6, 1, 5)),
    (4, 3, (6, 1, 5)),
    (4, 2, (4, 1, 3, 1)),
]


def charge_depthwise(monkeypatch: pytest.MonkeyPatch, nanoseconds: float) -> None:
    rates = dataclasses.replace(onnx.TARGET.rates, depthwise=nanoseconds)
    monkeypatch.setattr(onnx, "TARGET", dataclasses.replace(onnx.TARGET, rates=rates))


@pytest.mark.parametrize("depthwise", [0.0, 1e6], ids=["depthwise is free", "depthwise is dear"])
@pytest.mark.parametrize("case", FILTERS, ids=str)
def test_filters_along_every_axis(
    monkeypatch: pytest.MonkeyPatch, case: tuple[int, int, tuple[int, ...]], depthwise: float
) -> None:
    charge_depthwise(monkeypatch, depthwise)
    rank, axis, shape = case
    sizes = (4, 6, 3, 5)[-rank:]
    n, place = sizes[axis], axis - rank
    half = [size if i - len(shape) != place else n // 2 + 1 for i, size in enumerate(shape)]
    both = filtered_along(axis, False, *shape), filtered_along(axis, True, *half)
    check_exact(Program(lambda x: tuple(program(x) for program in both)), normal(*sizes, seed=0))


KERNEL_LENGTHS = [1, 3, 8, 11]
SIGNAL = 8


def long_convolution(kernel: Tensor, centred: bool, in_frequency: bool) -> Callable[[Tensor], Tensor]:
    """conv(x, kernel) of (B, C, SIGNAL) by zero-padded transforms; all of it from the first sample, or the middle."""
    taps = kernel.shape[-1]
    n = SIGNAL + taps - 1
    start = taps // 2 if centred else 0
    response = fft.rfft(kernel, n=n) if in_frequency else None

    def program(x: Tensor) -> Tensor:
        k = fft.rfft(kernel, n=n) if response is None else response
        return fft.irfft(fft.rfft(x, n=n) * k, n=n)[..., start : start + SIGNAL]

    return program


@pytest.mark.parametrize("depthwise", [0.0, 1e6], ids=["depthwise is free", "depthwise is dear"])
@pytest.mark.parametrize("taps", KERNEL_LENGTHS)
def test_long_convolutions(monkeypatch: pytest.MonkeyPatch, taps: int, depthwise: float) -> None:
    charge_depthwise(monkeypatch, depthwise)
    kernels = normal(taps, seed=1), normal(CHANNELS, taps, seed=2)
    programs = [long_convolution(k, c, f) for k in kernels for c in (False, True) for f in (False, True)]
    x = normal(2, CHANNELS, SIGNAL, seed=0)
    program = check_exact(Program(lambda x: [p(x) for p in programs]), x)
    for found, (kernel, centred) in zip(
        program.module()(x)[::2], [(k, c) for k in kernels for c in (False, True)], strict=True
    ):
        start = taps // 2 if centred else 0
        weight = kernel.expand(CHANNELS, taps).flip(1)[:, None]
        full = F.conv1d(x, weight, padding=taps - 1, groups=CHANNELS)
        assert relative_error(found, full[..., start : start + SIGNAL]) < FLOAT64_LIMIT


def corners(x: Tensor, sizes: tuple[int, int]) -> Tensor:
    """The four corners of a two-sided spectrum, each multiplied by a number, written into zeros."""
    z, (a, b) = fft.fft2(x), sizes
    out = torch.zeros_like(z)
    out[..., :a, :b] = z[..., :a, :b] * 0.5
    out[..., -a:, :b] = z[..., -a:, :b] * (1 - 2j)
    out[..., :a, -b:] = z[..., :a, -b:] * 3j
    out[..., -a:, -b:] = z[..., -a:, -b:].conj()
    return fft.ifft2(out).real


def mixed_modes(x: Tensor, weight: Tensor) -> Tensor:
    """A Fourier operator in one dimension, by cat with zeros."""
    m, h = weight.shape[-1], x.shape[-1] // 2 + 1
    z = torch.einsum("bix,iox->box", fft.rfft(x)[..., :m], weight)
    return fft.irfft(torch.cat([z, z.new_zeros(*z.shape[:2], h - m)], -1), n=x.shape[-1])


def mixed_modes_padded(x: Tensor, weight: Tensor) -> Tensor:
    """The same by F.pad."""
    m, h = weight.shape[-1], x.shape[-1] // 2 + 1
    z = torch.einsum("bix,iox->box", fft.rfft(x)[..., :m], weight)
    return fft.irfft(F.pad(z, (0, h - m)), n=x.shape[-1])


MODES = normal(4, 3, 3, seed=21, dtype=torch.complex128)
IMAGE_FILTER = normal(4, 6, 5, seed=22, dtype=torch.complex128)


def magnitudes_along(axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    return lambda x: fft.ifftn(fft.fftn(x, dim=axes).abs() + x, dim=axes)


def half_turns_along(axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    return lambda x: fft.irfftn(fft.rfftn(x, dim=axes) * 0.5j, s=[x.shape[a] for a in axes], dim=axes)


# Of signals (2, 4, 6, 8)
SEVERAL_AXES: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"fftn {axes}": magnitudes_along(axes) for axes in [(1, 2), (2, 1), (3, 1), (1, 2, 3), (3, 2, 1), (2, 3, 1)]},
    **{f"rfftn {axes}": half_turns_along(axes) for axes in [(1, 2), (2, 1), (3, 1), (1, 2, 3), (3, 2, 1), (2, 3, 1)]},
    "filtered": lambda x: fft.irfft2(fft.rfft2(x) * IMAGE_FILTER, s=(6, 8)),
    "filtered, then cut": lambda x: (fft.rfft2(x) * IMAGE_FILTER)[..., -2:, 1:3],
    "filtered, then rolled": lambda x: fft.fftshift(fft.rfft2(x) * IMAGE_FILTER, dim=2),
    "cut along the first axis": lambda x: fft.fft2(x)[..., 1:4, :],
    "cut along the last axis": lambda x: fft.fft2(x)[..., ::3],
    "cut along both": lambda x: (fft.fft2(x)[..., 1:] * 2)[..., :4, :],
    "shifted": lambda x: fft.fftshift(fft.fft2(x), dim=(-2, -1)).abs(),
    "one by one": lambda x: fft.ifft(fft.ifft(fft.fft(fft.rfft(x, dim=3), dim=1), dim=1), n=8, dim=3).imag,
    "filtered in between": lambda x: fft.fft(fft.fft(x, dim=3) * MODES[:1, :1, :1], dim=2)[:, :, 1:3],
    "back in another order": lambda x: fft.ifft(fft.ifft(fft.fft2(x) * (1 + 2j), dim=3), dim=2).real,
    "back along one axis": lambda x: fft.ifft(fft.fft2(x), dim=3),
    "corners": lambda x: corners(x, (2, 3)),
    "padded to s=": lambda x: fft.irfft2(fft.rfft2(x[..., :4, :5], s=(6, 8)) * IMAGE_FILTER, s=(6, 8))[..., :4, :5],
    "a softmax of magnitudes": lambda x: fft.fft2(x).abs().softmax(1),
    "a sigmoid of a real part": lambda x: fft.ifft2(torch.sigmoid(fft.fft2(x).real) * fft.fft2(x)).real,
    "odd along both": lambda x: torch.tanh(fft.fft(fft.fft(x, dim=3).imag, dim=2).imag),
    "odd, then even": lambda x: torch.relu(fft.fft(fft.fft(x, dim=3).imag, dim=2).real) * fft.fft2(x).imag,
    "a constant along one of them": lambda x: fft.fft2(x).real * IMAGE_FILTER.real[0, :, :1] + fft.fft2(x).imag,
    "a constant along both": lambda x: fft.ifft2(fft.fft2(x) * torch.arange(48.0).double().reshape(6, 8)).real,
    "where": lambda x: torch.where(fft.fft2(x).real > 0, fft.fft2(x).imag, fft.fft2(x).abs()),
    "a full signal": lambda x: fft.ifft2(fft.fft2(x) * x).real,
    "channels mixed": lambda x: fft.ifft2(torch.einsum("bchw,cd->bdhw", fft.fft2(x), MODES[:, :, 0])).real,
    "a transform of a magnitude": lambda x: fft.rfft(fft.fft2(x).abs(), dim=1).imag,
    "a filter of a magnitude": lambda x: fft.irfft(
        fft.rfft(fft.fft(x, dim=2).abs(), dim=3) * IMAGE_FILTER[0, 0], n=8, dim=3
    ),
    "a filter of a magnitude along its axis": lambda x: fft.irfft(fft.rfft(fft.fft(x).abs()) * IMAGE_FILTER[0, 0], n=8),
    "a filter of an imaginary part, one each": lambda x: fft.irfft(
        fft.rfft(fft.fft(x, dim=2).imag, dim=3) * IMAGE_FILTER[0, :, :], n=8, dim=3
    ),
    "modes by cat": lambda x: mixed_modes(x[:, :, 0], MODES),
    "modes by pad": lambda x: mixed_modes_padded(x[:, :, 0], MODES),
    "autocorrelation in two dimensions": lambda x: fft.irfft2(fft.rfft2(x) * fft.rfft2(x).conj(), s=(6, 8)),
}
GRID_PLANS = {
    "dense": (Plan(4, (4,)), Plan(6, (6,)), Plan(8, (8,))),
    "factors": (Plan(4, (2, 2)), Plan(6, (3, 2)), Plan(8, (2, 2, 2))),
}


def of_signal_only(function: Callable[[Tensor], Tensor]) -> Entry:
    return lambda x, w: function(x)


@pytest.mark.parametrize("plans", ["dense", pytest.param("factors", marks=pytest.mark.slow)])
def test_several_axes(plans: str) -> None:
    table = {name: of_signal_only(function) for name, function in SEVERAL_AXES.items()}
    check_each(table, normal(2, 4, 6, 8, seed=0), Weights(8), plans={plan.n: plan for plan in GRID_PLANS[plans]})


def test_a_batch_that_varies() -> None:
    """What reads sizes: cut results, padding, depthwise convolutions, written corners."""
    names = ["one filter each: prefix", "nothing between: roll", "filtered: empty", "of a complex signal: suffix"]
    picked = {name: ON_RESULTS[name] for name in names}
    picked |= {name: PADDED[name] for name in ("n=", "written into zeros", "zeros by cat", "nothing but zeros")}
    picked |= {name: FORWARD[name] for name in ("filtered: fftshift", "empty", "rfft: high")}
    picked |= {name: PRODUCTS[name] for name in ("more dimensions, back", "more frequencies than there are")}
    check_each(picked, normal(2, 12, CHANNELS, seed=0), Weights(12), dynamic=True)
