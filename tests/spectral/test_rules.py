"""Every rule, against eager PyTorch in complex128: no tolerance but rounding.

The table below is keyed by the rule that a program must reach; a rule without a program fails the last test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fft, nn

from hamsa_deploy import to_real
from hamsa_deploy.scan import linear_recurrence
from hamsa_deploy.spectral import dispatch
from hamsa_deploy.spectral.compiler import supported_operators
from hamsa_deploy.spectral.compiler.table import COMPOSITES
from hamsa_deploy.spectral.values import Rule

from .programs import Program, as_real, assert_real, check_exact, relative_error

generator = torch.Generator().manual_seed(1)
# A constant, on purpose not an input: products with it are folded.
W = torch.randn(6, 6, dtype=torch.complex128, generator=generator)
MODES = torch.randn(6, 6, 12, dtype=torch.complex128, generator=generator)
KERNEL = torch.randn(4, 12, 3, dtype=torch.complex128, generator=generator)
WINDOW = torch.tensor([0.4, 0.9, 1.0, 0.7], dtype=torch.float64)
INDEX = torch.tensor([3, 1, 1])


def spectrum(x: Tensor) -> Tensor:
    """Complex with halves known: Mirrored parts."""
    z = fft.fft(x, dim=1)
    return torch.complex(z.real, z.imag)


def pair(x: Tensor) -> Tensor:
    """Complex of two plain tensors."""
    return torch.complex(x, x * x - 0.5)


def assigned(z: Tensor) -> Tensor:
    z = z.clone()
    z[:, 1] = 0
    z[:, 2:4] = z[:, 5:7] * 2
    return z


def real_assigned(z: Tensor, x: Tensor) -> Tensor:
    z = z.clone()
    z.real.copy_(x)
    z.imag[:, 0] = 0.25
    return z


def integer_assigned(z: Tensor, x: Tensor) -> Tensor:
    z = z.clone()
    z[:, 1] = (3 * x[:, 1]).long()
    return z


ON_COMPLEX: dict[str, list[Callable[[Tensor, Tensor], Tensor | list[Tensor]]]] = {
    "_assert_tensor_metadata _to_copy": [
        lambda z, x: z.to(torch.complex64).to(torch.complex128),
        lambda z, x: (1j * z.real * (x > 0)).to(torch.bool),
    ],
    "abs": [lambda z, x: z.abs(), lambda z, x: (x * z).abs(), lambda z, x: (z * z).abs()],
    "add": [lambda z, x: z + x, lambda z, x: z + 2j * z, lambda z, x: x + (1 + 2j), lambda z, x: z + 3],
    "alias": [lambda z, x: z[:, :] * 1],
    "angle": [lambda z, x: z.angle()],
    "bmm": [lambda z, x: torch.bmm(z, z.transpose(1, 2))],
    "cat": [lambda z, x: torch.cat([z, 2 * z], 1), lambda z, x: torch.cat([z, x.to(z.dtype)], 2)],
    "clone": [lambda z, x: z.clone() * 1],
    "addmm": [
        lambda z, x: torch.addmm(z[0], z[0], W, beta=0.5, alpha=2j),
        lambda z, x: torch.addmm(z[0], z[0], W, beta=0),
    ],
    "addmv": [lambda z, x: torch.addmv(z[0, :, 0], z[0], W[0])],
    "baddbmm": [lambda z, x: torch.baddbmm(z, z, W.expand(2, 6, 6), alpha=3)],
    "addbmm": [lambda z, x: torch.addbmm(z[0], z, W.expand(2, 6, 6))],
    "all": [lambda z, x: [(z * (x > 0)).all(1), z.all()]],
    "any": [lambda z, x: [(z * (x > 1)).any(1), (0 * z).any()]],
    "_conj": [lambda z, x: z.conj() * z, lambda z, x: z.conj().abs()],
    "_conj_physical": [lambda z, x: torch.conj_physical(z) * 2],
    "concat": [lambda z, x: torch.concat([z, 2 * z], 1)],
    "pad": [lambda z, x: F.pad(z, (1, 2)), lambda z, x: F.pad(z, (1, 2), value=1.5)],
    "constant_pad_nd": [lambda z, x: torch.constant_pad_nd(z, (0, 0, 1, 2))],
    "conv1d": [
        lambda z, x: F.conv1d(z, KERNEL, W[0, :4]),
        lambda z, x: F.conv1d(z, KERNEL),
        lambda z, x: F.conv1d(z[0], KERNEL, W[0, :4], padding="same"),
    ],
    "conv2d": [lambda z, x: F.conv2d(z[:, None], KERNEL[:, :1, None].expand(4, 1, 2, 3))],
    "conv_transpose1d": [lambda z, x: F.conv_transpose1d(z[:, :4], KERNEL, W[0].repeat(2), stride=2)],
    "conv_transpose2d": [lambda z, x: F.conv_transpose2d(z[:, None], KERNEL[:1, :, None])],
    "conv_transpose3d": [lambda z, x: F.conv_transpose3d(z[None, None], KERNEL[:1, :, None, None])],
    "cos": [lambda z, x: torch.cos(0.1 * z)],
    "cosh": [lambda z, x: torch.cosh(0.1 * z)],
    "cumprod": [lambda z, x: (0.1 * z).cumprod(1), lambda z, x: z.cumprod(2)],
    "conv3d": [lambda z, x: F.conv3d(z[None, None], KERNEL[:, :1, None, None].expand(4, 1, 2, 2, 3))],
    "copy": [lambda z, x: integer_assigned(z, x)],
    "fill select_scatter slice_scatter": [lambda z, x: assigned(z)],
    "index_put": [lambda z, x: torch.index_put(z, (torch.tensor([0, 1]), torch.tensor([2, 3])), z[:, 5])],
    "cumsum": [lambda z, x: z.cumsum(1)],
    "diagonal": [lambda z, x: z.diagonal(0, 1, 2)],
    "div": [lambda z, x: z / (x + 5), lambda z, x: z / (z + 100), lambda z, x: z / (1 + 1j), lambda z, x: z / 2],
    "diag_embed": [lambda z, x: torch.diag_embed(z[0])],
    "dot": [lambda z, x: torch.dot(z[0, 0], z[0, 1])],
    "einsum": [
        lambda z, x: torch.einsum("bld,de->ble", z, W),
        lambda z, x: torch.einsum("bdl,del->bel", z.mT, MODES),
        lambda z, x: torch.einsum("edl,bld->elb", MODES.conj(), z),
        lambda z, x: torch.einsum("bld,dl->bl", z, MODES[0]),
        lambda z, x: torch.einsum("bld,del->be", z, MODES),
        lambda z, x: torch.einsum("bld,de->bl", z, W),
        lambda z, x: torch.einsum("bld,d->bl", z, W[0]),
        lambda z, x: torch.einsum("bld->lb", z),
        lambda z, x: torch.einsum("bld,bld->bl", z, z),
        lambda z, x: torch.einsum("bld,de,ef->blf", z, W, W),
        lambda z, x: torch.einsum("bld,de,ef", z, W, W),
        lambda z, x: torch.einsum("...d, de, ef, ...d -> ...f", x.to(z.dtype), W, W, z),
    ],
    "embedding": [lambda z, x: F.embedding(INDEX, z[0])],
    "empty": [lambda z, x: torch.empty(2, 12, 6, dtype=z.dtype).copy_(x) * z],
    "empty_like": [
        lambda z, x: torch.empty_like(z).copy_(x) * z,
        lambda z, x: torch.empty_like(x).copy_(x.float()) * z,
    ],
    "eq": [lambda z, x: [z == z * (x > 0), z == 0, x == z, z * 0 + 1j == 1j, x == 1j]],
    "exp": [lambda z, x: torch.exp(0.1 * z)],
    "exp2": [lambda z, x: torch.exp2(0.1 * z)],
    "expm1": [lambda z, x: torch.expm1(1e-9 * z), lambda z, x: torch.expm1(0.1 * z)],
    "expand": [lambda z, x: z[:, :1].expand(-1, 5, -1)],
    "flip": [lambda z, x: z.flip(1)],
    "linear_recurrence": [
        lambda z, x: linear_recurrence((0.3 * z).transpose(0, 1), x.transpose(0, 1)).transpose(0, 1),
        lambda z, x: linear_recurrence(W[:1, None], z.transpose(0, 1), x[:, 0] * 1j).transpose(0, 1),
        lambda z, x: linear_recurrence(torch.sigmoid(x).transpose(0, 1), z.transpose(0, 1)).transpose(0, 1),
    ],
    "full_like": [
        lambda z, x: torch.full_like(x, 2j, dtype=z.dtype) * x,
        lambda z, x: torch.full_like(z, 2) * z,
        lambda z, x: torch.full_like(z, 2 + 1j) * z,
    ],
    "gather": [lambda z, x: z.gather(1, INDEX.view(1, 3, 1).expand(2, 3, 6))],
    "index_add": [
        lambda z, x: torch.zeros_like(z).index_add(1, INDEX, z[:, :3], alpha=2j),
        lambda z, x: torch.zeros_like(z).index_add(1, INDEX, z[:, :3]),
    ],
    "index_fill": [lambda z, x: z.index_fill(1, INDEX, 2), lambda z, x: z.index_fill(1, INDEX, 2 - 1j)],
    "scatter": [
        lambda z, x: torch.zeros_like(z).scatter(1, INDEX.view(1, 3, 1).expand(2, 3, 6), z[:, :3]),
        lambda z, x: z.scatter(1, INDEX.view(1, 3, 1).expand(2, 3, 6), 2),
    ],
    "scatter_add": [lambda z, x: z.scatter_add(1, INDEX.view(1, 3, 1).expand(2, 3, 6), z[:, :3])],
    "detach": [lambda z, x: z.detach() * 2],
    "tile": [lambda z, x: z.tile(2, 1, 1)],
    "index": [lambda z, x: z[:, INDEX]],
    "index_select": [lambda z, x: z.index_select(1, INDEX)],
    "linear": [lambda z, x: F.linear(z, W, W[0]), lambda z, x: F.linear(z, W), lambda z, x: F.linear(z, W.real + 0j)],
    "im2col": [lambda z, x: F.unfold(z[:, None], (3, 2))],
    "_neg_view": [lambda z, x: z.conj().imag.clone().mul_(2)],
    "clamp clip": [lambda z, x: z.abs().clamp(0, 1.5) + z.real.clip(-1.5, 1)],
    "col2im": [lambda z, x: F.fold(z, (5, 3), (3, 2))],
    "isfinite": [lambda z, x: torch.isfinite(torch.complex(1 / z.real.relu(), x)) & torch.isfinite(z)],
    "isinf": [lambda z, x: torch.isinf(torch.complex(x, 1 / z.real.relu()))],
    "isnan": [lambda z, x: torch.isnan(torch.complex(x, z.real.log()))],
    "linalg_vector_norm": [
        lambda z, x: torch.linalg.vector_norm(z, dim=1),
        lambda z, x: torch.linalg.vector_norm(z, ord=1),
    ],
    "log": [lambda z, x: torch.log(z + 100), lambda z, x: torch.log(z)],
    "log2": [lambda z, x: torch.log2(z)],
    "log10": [lambda z, x: torch.log10(z)],
    "log1p": [lambda z, x: torch.log1p(1e-9 * z), lambda z, x: torch.log1p(z)],
    "logical_and": [lambda z, x: torch.logical_and(z * (x > 0), x > -1)],
    "logical_not": [lambda z, x: torch.logical_not(z * (x > 0))],
    "logical_or": [lambda z, x: torch.logical_or(z * (x > 0), x > -1)],
    "logical_xor": [lambda z, x: torch.logical_xor(z * (x > 0), z)],
    "masked_scatter": [lambda z, x: z.masked_scatter(x > 0, 2 * z)],
    "masked_fill": [lambda z, x: z.masked_fill(x > 0, 1), lambda z, x: z.masked_fill(x > 0, 1 - 2j)],
    "matmul": [lambda z, x: z @ W, lambda z, x: z @ z.transpose(1, 2)],
    "mean": [lambda z, x: z.mean((1, 2))],
    "mm": [lambda z, x: torch.mm(z[0], W)],
    "mul": [lambda z, x: z * z, lambda z, x: x * z, lambda z, x: 2.5 * z, lambda z, x: x * 1j, lambda z, x: z * W[0]],
    "mv": [lambda z, x: torch.mv(z[0], W[0])],
    "narrow": [lambda z, x: fft.fft(z, n=5, dim=1)],  # cropping, by our own rules
    "neg": [lambda z, x: -z, lambda z, x: (-z).abs()],
    "nan_to_num": [lambda z, x: torch.nan_to_num(torch.complex(x.sqrt(), z.imag), nan=3.0)],
    "ne": [lambda z, x: [z != z * (x > 0), z != 0]],
    "new_empty": [lambda z, x: z.new_empty(6).fill_(2j) * z, lambda z, x: x.new_empty(6, dtype=z.dtype).fill_(2) * x],
    "new_full": [lambda z, x: z.new_full((6,), 1 + 2j) * z, lambda z, x: x.new_full((6,), 2j, dtype=z.dtype) * x],
    "new_ones": [lambda z, x: z.new_ones(6) * z, lambda z, x: z.new_ones(6, dtype=x.dtype) + x],
    "new_zeros": [lambda z, x: z.new_zeros(6) + z, lambda z, x: x.new_zeros(6, dtype=z.dtype) + x],
    "prod": [
        lambda z, x: z.prod(1),
        lambda z, x: z.prod(1, keepdim=True),
        lambda z, x: z[:, :3].prod(1),
        lambda z, x: (z + 0.5).prod(),
    ],
    "reshape": [lambda z, x: (z[0, :2] + 0.5).prod()],  # by our own rule
    "ones_like": [lambda z, x: torch.ones_like(x, dtype=z.dtype) + x, lambda z, x: torch.ones_like(z) * z],
    "outer": [lambda z, x: torch.outer(z[0, 0], z[0, 1])],
    "permute": [lambda z, x: z.permute(2, 0, 1) * 1],
    "pow": [
        lambda z, x: z**2,
        lambda z, x: (z + 9) ** -3,
        lambda z, x: (z + 9) ** 1.7,
        lambda z, x: z**0.5,
        lambda z, x: (z * (x > 0)) ** 0,
        lambda z, x: (z + 100) ** x,
        lambda z, x: (z + 9) ** (0.1 * z),
        lambda z, x: 2 ** (0.1 * z),
        lambda z, x: (1 - 2j) ** (0.1 * x),
        lambda z, x: x ** (1 + 2j),
    ],
    "real imag": [lambda z, x: torch.real(z) + 2 * z.imag],
    "reciprocal": [lambda z, x: (z + 100).reciprocal(), lambda z, x: 1 / (z + 100)],
    "repeat": [lambda z, x: z.repeat(1, 2, 1)],
    # in place, so that the program is taken apart: of a reshape only that makes an _unsafe_view
    "_unsafe_view": [lambda z, x: torch.cat([z, z], 1).transpose(1, 2).reshape(2, 3, 4, 12).mul_(2)],
    "view": [
        lambda z, x: z.view(2, 3, 4, 6),
        lambda z, x: fft.fft(x).contiguous().view(x.dtype) * 2,
        lambda z, x: x.view(z.dtype) * 2,
        lambda z, x: z.clone(memory_format=torch.contiguous_format).view(torch.complex128) * 2,
    ],
    "roll": [lambda z, x: z.roll(3, 1)],
    "rsqrt": [lambda z, x: torch.rsqrt(z)],
    "rsub": [lambda z, x: torch.rsub(z, x)],
    "select": [lambda z, x: z[:, 3]],
    "sgn": [lambda z, x: torch.sgn(z)],
    "sigmoid": [lambda z, x: torch.sigmoid(0.3 * z)],
    "sin": [lambda z, x: torch.sin(0.1 * z)],
    "sinh": [lambda z, x: torch.sinh(0.1 * z)],
    "slice": [lambda z, x: z[:, 2:9:3]],
    "split": [lambda z, x: list(z.split(4, 1))],
    "split_with_sizes": [lambda z, x: list(z.split([4, 8], 1))],
    "sqrt": [
        lambda z, x: torch.sqrt(z),
        lambda z, x: torch.sqrt(torch.complex(x.abs(), 1e-9 * z.imag)),  # beside the real axis, on both sides
        lambda z, x: torch.sqrt(torch.complex(-x.abs(), 1e-9 * z.imag.abs() + 1e-30)),
        lambda z, x: torch.sqrt(torch.complex(-x.abs(), -0.0 * x.abs())),  # below the cut by the sign of a zero alone
        lambda z, x: torch.sqrt(torch.complex(-x.abs(), -0.0 * x.abs()).conj()),
        lambda z, x: torch.sqrt(z * (x > 0)),
    ],
    "square": [lambda z, x: torch.square(z)],
    "squeeze unsqueeze": [lambda z, x: z.unsqueeze(1).squeeze(1) * 1],
    "stack": [lambda z, x: torch.stack([z, z.conj()])],
    "sub": [lambda z, x: z - x, lambda z, x: x - z, lambda z, x: torch.sub(z, 1j * z, alpha=2)],
    "sum": [lambda z, x: z.sum(1), lambda z, x: z.sum((0, 1), dtype=torch.complex128), lambda z, x: z.sum()],
    "t": [lambda z, x: z[0].t() * 1],
    "tan": [lambda z, x: torch.tan(0.1 * z)],
    "tanh": [lambda z, x: torch.tanh(0.1 * z), lambda z, x: torch.tanh(1000 * z.real + 1j)],
    "transpose": [lambda z, x: z.transpose(1, 2) * 1],
    "tril": [lambda z, x: torch.tril(z)],
    "triu": [lambda z, x: torch.triu(z)],
    "unfold": [lambda z, x: z.unfold(1, 4, 2) * 2],
    "var": [lambda z, x: z.var(1), lambda z, x: z.var((0, 1), correction=0, keepdim=True), lambda z, x: z.var()],
    "var_mean": [lambda z, x: list(torch.var_mean(z, 1)), lambda z, x: list(torch.var_mean(z))],
    "unbind": [lambda z, x: list(z.unbind(0))],
    "view_as_real": [
        lambda z, x: torch.view_as_real(z),
        lambda z, x: torch.view_as_real(z)[..., 1] + torch.view_as_real(z).sum(-1),
    ],
    "view_as_complex": [
        lambda z, x: torch.view_as_complex(torch.stack([x, x * x], -1)) * z,
        lambda z, x: torch.view_as_complex(torch.view_as_real(z)),
        lambda z, x: real_assigned(z, x),
    ],
    "where": [
        lambda z, x: torch.where(x > 0, z, -z),
        lambda z, x: torch.where(x > 0, z, x.to(z.dtype)),
        lambda z, x: torch.where(x > 0, z, 0.5),
        lambda z, x: torch.where(x > 0, 0.5j, z),
        lambda z, x: torch.where(x > 0, x, 0.5j),
        lambda z, x: torch.where(x > 0, z, (3 * x).long()),
    ],
    "zero": [lambda z, x: z.clone().zero_() + z],
    "zeros_like": [
        lambda z, x: torch.zeros_like(x, dtype=z.dtype) + x,
        lambda z, x: torch.zeros_like(z, dtype=x.dtype) + x,
        lambda z, x: torch.zeros_like(z) + z,
    ],
    "complex": [lambda z, x: torch.complex(z.abs(), x), lambda z, x: torch.complex(x[0], z[:, :, :1].abs())],
    "polar": [lambda z, x: torch.polar(z.abs(), x)],
    "stft": [lambda z, x: torch.stft(z[:, :, 0], 4, window=WINDOW, center=False)],  # more in test_short_time.py
    "istft": [lambda z, x: torch.istft(z.transpose(1, 2), 10, window=WINDOW.repeat(3)[:10])],
    "fft_fft": [lambda z, x: fft.fft(z, dim=2), lambda z, x: fft.fft(z, dim=1)],
    "fft_ifft": [lambda z, x: fft.ifft(z * x, dim=1), lambda z, x: fft.ifft(z, dim=2).imag],
    "fft_rfft": [lambda z, x: fft.rfft(z.abs(), dim=1)],
    "fft_irfft": [lambda z, x: fft.irfft(z, dim=1), lambda z, x: fft.irfft(z, dim=2)],
    "fft_hfft": [lambda z, x: fft.hfft(z, dim=1)],
    "fft_ihfft": [lambda z, x: fft.ihfft(z.abs(), dim=1)],
    "fft_fft2": [lambda z, x: fft.fft2(z), lambda z, x: fft.fft2(x).real],
    "fft_ifft2": [lambda z, x: fft.ifft2(z), lambda z, x: fft.ifft2(z).real],
    "fft_rfft2": [lambda z, x: fft.rfft2(x)],
    "fft_irfft2": [lambda z, x: fft.irfft2(z)],
    "fft_hfft2": [lambda z, x: fft.hfft2(z)],
    "fft_ihfft2": [lambda z, x: fft.ihfft2(x)],
    "fft_fftn": [lambda z, x: fft.fftn(z), lambda z, x: fft.fftn(z, s=(14, 4), dim=(2, 1))],
    "fft_ifftn": [lambda z, x: fft.ifftn(z), lambda z, x: fft.ifftn(z, s=(5, 8))],
    "fft_rfftn": [lambda z, x: fft.rfftn(x), lambda z, x: fft.rfftn(x, s=(5, 8), dim=(1, 2), norm="ortho")],
    "fft_irfftn": [lambda z, x: fft.irfftn(z), lambda z, x: fft.irfftn(z, s=(6, 9), dim=(2, 1))],
    "fft_hfftn": [lambda z, x: fft.hfftn(z)],
    "fft_ihfftn": [lambda z, x: fft.ihfftn(x)],
    "fft_fftshift": [lambda z, x: fft.fftshift(z, dim=1), lambda z, x: fft.fftshift(x)],
    "fft_ifftshift": [lambda z, x: fft.ifftshift(z, dim=(1, 2))],
}

KINDS = (spectrum, pair)


def marks(number: int, kind: int) -> list[pytest.MarkDecorator]:
    """In every run one kind of complex value for each program, the other one for the next; at night both."""
    return [] if number % len(KINDS) == kind else [pytest.mark.nightly]


CASES = [
    pytest.param(names, make, function, id=f"{names}-{number}-{make.__name__}", marks=marks(number + place, kind))
    for place, (names, functions) in enumerate(ON_COMPLEX.items())
    for number, function in enumerate(functions)
    for kind, make in enumerate(KINDS)
]


def recorded(name: str, rule: Rule, names: set[str]) -> Rule:
    def record(*arguments: Any) -> Any:
        names.add(name)
        return rule(*arguments)

    return record


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the rules that were used."""
    names: set[str] = set()
    for table in (dispatch.COMPLEX_RULES, dispatch.ENTRY_RULES):
        for name, rule in table.items():
            monkeypatch.setitem(table, name, recorded(name, rule, names))
    return names


@pytest.mark.parametrize(("names", "make", "function"), CASES)
def test_a_rule_equals_eager_pytorch(
    names: str, make: Callable[[Tensor], Tensor], function: Callable[[Tensor, Tensor], Any], reached: set[str]
) -> None:
    x = torch.randn(2, 12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_exact(Program(lambda x: function(make(x), x)), x)
    assert set(names.split()) <= reached


# Of a fixed size they are constants like any other; these have the size of a batch that varies.
ON_DYNAMIC_BATCH: dict[str, Callable[[Tensor], Tensor]] = {
    "full": lambda x: x * torch.full((x.shape[0], 12, 6), 1 + 2j, dtype=torch.complex128),
    "ones": lambda x: x + torch.ones(x.shape[0], 12, 6, dtype=torch.complex128) * W[0],
    "zeros": lambda x: x + torch.zeros(x.shape[0], 12, 6, dtype=torch.complex128) + W[0].exp(),
}


class OfOneInput(nn.Module):
    """torch.export wants a named input for a dynamic shape."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(("name", "function"), ON_DYNAMIC_BATCH.items(), ids=ON_DYNAMIC_BATCH.keys())
def test_a_rule_for_a_size_that_varies(name: str, function: Callable[[Tensor], Tensor], reached: set[str]) -> None:
    x = torch.randn(3, 12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    program = to_real(OfOneInput(function), (x,))
    assert_real(program)
    for part in (x, x[:1]):
        assert relative_error(program.module()(part), function(part)) < 1e-12  # rounding in float64
    assert name in reached


def test_the_size_of_a_complex_input_may_vary(reached: set[str]) -> None:
    z = torch.randn(3, 4, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    program = to_real(OfOneInput(lambda z: z.reshape(z.shape[0], 12) * 2), (z,))
    for part in (z, z[:1]):
        assert relative_error(program.module()(*as_real(part)), 2 * part.reshape(-1, 12)) < 1e-12
    assert "sym_size" in reached


def in_place(z: Tensor, x: Tensor) -> Tensor:
    z = z.clone()
    z.mul_(2 - 1j).add_(x)
    z.masked_fill_(x > 0, 1j)
    z[x < -1] = 0.5
    z[:, INDEX[:2]] = 2 * z[:, :2]
    return z


COMPOSITE: dict[str, Callable[[Tensor, Tensor], Tensor | list[Tensor]]] = {
    "resolve_conj": lambda z, x: z.conj().resolve_conj() * 2,
    "movedim": lambda z, x: z.movedim(1, 2) * 1,
    "swapaxes": lambda z, x: z.swapaxes(1, 2) * 1,
    "flatten": lambda z, x: z.flatten(1),
    "unflatten": lambda z, x: z.unflatten(1, (3, 4)),
    "ravel": lambda z, x: z.ravel(),
    "chunk": lambda z, x: list(z.chunk(5, 1)),
    "tensor_split": lambda z, x: list(z.tensor_split(5, 1)),
    "hsplit": lambda z, x: list(z.hsplit(2)),
    "mT": lambda z, x: z.mT * 1,
    "mH": lambda z, x: z.mH @ z,
    "adjoint": lambda z, x: z.adjoint() * 1,
    "broadcast_to": lambda z, x: torch.broadcast_to(z[:, :1], z.shape) * 1,
    "broadcast_tensors": lambda z, x: torch.broadcast_tensors(z[0, 0], z)[0] * 1,
    "hstack": lambda z, x: torch.hstack([z, 2 * z]),
    "vstack": lambda z, x: torch.vstack([z, 2 * z]),
    "dstack": lambda z, x: torch.dstack([z, 2 * z]),
    "column_stack": lambda z, x: torch.column_stack([z[0], z[1]]),
    "block_diag": lambda z, x: torch.block_diag(z[0], z[1]),
    "meshgrid": lambda z, x: list(torch.meshgrid(z[0, 0], z[0, :, 0], indexing="ij")),
    "atleast_3d": lambda z, x: torch.atleast_3d(z[0]) * 1,
    "repeat_interleave": lambda z, x: z.repeat_interleave(2, 1),
    "take": lambda z, x: z.take(INDEX),
    "take_along_dim": lambda z, x: z.take_along_dim(INDEX.view(1, 3, 1), 1),
    "index_copy": lambda z, x: z.index_copy(1, INDEX[:2], 2 * z[:, :2]),
    "diag": lambda z, x: torch.diag(z[0, 0]),
    "trace": lambda z, x: z[0].trace(),
    # contiguous: torch.export itself refuses to capture kron of what fft returns
    "kron": lambda z, x: torch.kron(z[0].contiguous(), W[:2, :3]),
    "rot90": lambda z, x: z.rot90(1, (1, 2)),
    "tensordot": lambda z, x: torch.tensordot(z, W, 1),
    "inner": lambda z, x: torch.inner(z, W),
    "vdot": lambda z, x: torch.vdot(z[0, 0], W[0]),
    "linalg.vecdot": lambda z, x: torch.linalg.vecdot(z, 2j + z),
    "linalg.multi_dot": lambda z, x: torch.linalg.multi_dot([z[0], W, W]),
    "linalg.matrix_power": lambda z, x: torch.linalg.matrix_power(z[0, :6], 3),
    "linalg.cross": lambda z, x: torch.linalg.cross(z[:, :, :3], z[:, :, 3:]),
    "addcmul": lambda z, x: torch.addcmul(z, z, 1j + z, value=0.3),
    "addcdiv": lambda z, x: torch.addcdiv(z, z, z + 100, value=2),
    "addr": lambda z, x: torch.addr(z[0, :6], z[0, 0], W[0]),
    "lerp": lambda z, x: torch.lerp(z, z * z, 0.3),
    "float_power": lambda z, x: torch.float_power(z, 2),
    "sinc": lambda z, x: torch.sinc(0.1 * z * (x > 0)),
    "nn.functional.silu": lambda z, x: F.silu(0.1 * z),
    "std": lambda z, x: z.std(1),
    "std_mean": lambda z, x: list(torch.std_mean(z, 1)),
    "linalg.norm": lambda z, x: torch.linalg.norm(z[0]),
    "linalg.matrix_norm": lambda z, x: torch.linalg.matrix_norm(z),
    "norm": lambda z, x: torch.norm(z, dim=1),
    "diff": lambda z, x: z.diff(dim=1),
    "trapezoid": lambda z, x: torch.trapezoid(z, dim=1),
    "gradient": lambda z, x: list(torch.gradient(z, dim=1)),
    "vander": lambda z, x: torch.vander(z[0, 0], 4),
    "isclose": lambda z, x: torch.isclose(z, z + 1e-12 * (x > 0) + (x < -1)),
    "isreal": lambda z, x: torch.isreal(z * (x > 0)),
    "count_nonzero": lambda z, x: torch.count_nonzero(z * (x > 0), 1),
    "type_as": lambda z, x: x.type_as(z) * z,
    "nn.functional.dropout": lambda z, x: F.dropout(z, 0.5, training=False) * 1,
    "add_": in_place,
    "mul_": in_place,
    "masked_fill_": in_place,
    "x[...]=y": in_place,
    "fft.fftfreq": lambda z, x: z * fft.fftfreq(6, d=0.5, dtype=torch.float64),
    "fft.rfftfreq": lambda z, x: fft.rfft(x) * fft.rfftfreq(6, dtype=torch.float64),
}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        pytest.param(name, make, id=f"{name}-{make.__name__}", marks=marks(number, kind))
        for number, name in enumerate(COMPOSITE)
        for kind, make in enumerate(KINDS)
    ],
)
def test_what_pytorch_makes_of_operators_with_rules_equals_eager_pytorch(
    name: str, make: Callable[[Tensor], Tensor]
) -> None:
    assert name.removeprefix("nn.functional.").replace(".", "_") not in supported_operators()
    x = torch.randn(2, 12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_exact(Program(lambda x: COMPOSITE[name](make(x), x)), x)


def test_every_composite_of_the_table_has_a_program() -> None:
    assert list(COMPOSITE) == sorted(COMPOSITE, key=COMPOSITES.index)
    assert set(COMPOSITE) == set(COMPOSITES)


def test_every_rule_has_a_program() -> None:
    tested = {name for names in ON_COMPLEX for name in names.split()}
    tested |= {*ON_DYNAMIC_BATCH, "sym_size"}  # with tests of their own, above
    assert tested == set(supported_operators())


@pytest.mark.parametrize(("equation", "stored"), [("bix,iox->box", [5, 6, 6]), ("iox,bix->xbo", [5, 6, 6])])
def test_weights_of_an_einsum_are_stored_as_a_product_takes_them(equation: str, stored: list[int]) -> None:
    """And a part of them is cut from what is stored."""

    def call(x: Tensor) -> Tensor:
        z = fft.fft(x, dim=-1)
        return torch.einsum(equation, *((z, MODES[..., :5]) if equation[0] == "b" else (MODES[..., :5], z))).abs()

    program = check_exact(Program(call), torch.randn(2, 6, 5, dtype=torch.float64, generator=generator))
    names = [str(node.target) for node in program.graph.nodes]
    assert "aten.einsum.default" not in names
    assert [list(each.shape) for each in program.state_dict.values()].count(stored) == 2
