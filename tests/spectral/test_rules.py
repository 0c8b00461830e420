"""Every rule, against eager PyTorch in complex128: no tolerance but rounding.

The table below is keyed by the rule that a program must reach; a rule without a program fails the last test.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fft

from hamsa_deploy.spectral import dispatch, supported_operators

from .programs import Program, check_exact

generator = torch.Generator().manual_seed(1)
# A constant, on purpose not an input: products with it are folded.
W = torch.randn(6, 6, dtype=torch.complex128, generator=generator)
KERNEL = torch.randn(4, 12, 3, dtype=torch.complex128, generator=generator)
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


ON_COMPLEX: dict[str, list[Callable[[Tensor, Tensor], Tensor | list[Tensor]]]] = {
    "_assert_tensor_metadata _to_copy": [lambda z, x: z.to(torch.complex64).to(torch.complex128)],
    "abs": [lambda z, x: z.abs(), lambda z, x: (x * z).abs(), lambda z, x: (z * z).abs()],
    "add": [lambda z, x: z + x, lambda z, x: z + 2j * z, lambda z, x: x + (1 + 2j), lambda z, x: z + 3],
    "angle": [lambda z, x: z.angle()],
    "bmm": [lambda z, x: torch.bmm(z, z.transpose(1, 2))],
    "cat": [lambda z, x: torch.cat([z, 2 * z], 1), lambda z, x: torch.cat([z, x.to(z.dtype)], 2)],
    "clone": [lambda z, x: z.clone() * 1],
    "_conj": [lambda z, x: z.conj() * z, lambda z, x: z.conj().abs()],
    "_conj_physical": [lambda z, x: torch.conj_physical(z) * 2],
    "concat": [lambda z, x: torch.concat([z, 2 * z], 1)],
    "pad": [lambda z, x: F.pad(z, (1, 2)), lambda z, x: F.pad(z, (1, 2), value=1.5)],
    "constant_pad_nd": [lambda z, x: torch.constant_pad_nd(z, (0, 0, 1, 2))],
    "conv1d": [lambda z, x: F.conv1d(z, KERNEL, W[0, :4]), lambda z, x: F.conv1d(z, KERNEL)],
    "conv2d": [lambda z, x: F.conv2d(z[:, None], KERNEL[:, :1, None].expand(4, 1, 2, 3))],
    "conv3d": [lambda z, x: F.conv3d(z[None, None], KERNEL[:, :1, None, None].expand(4, 1, 2, 2, 3))],
    "copy fill select_scatter slice_scatter": [lambda z, x: assigned(z)],
    "index_put": [lambda z, x: torch.index_put(z, (torch.tensor([0, 1]), torch.tensor([2, 3])), z[:, 5])],
    "cumsum": [lambda z, x: z.cumsum(1)],
    "diagonal": [lambda z, x: z.diagonal(0, 1, 2)],
    "div": [lambda z, x: z / (x + 5), lambda z, x: z / (z + 100), lambda z, x: z / (1 + 1j), lambda z, x: z / 2],
    "dot": [lambda z, x: torch.dot(z[0, 0], z[0, 1])],
    "einsum": [
        lambda z, x: torch.einsum("bld,de->ble", z, W),
        lambda z, x: torch.einsum("bld->lb", z),
        lambda z, x: torch.einsum("bld,bld->bl", z, z),
    ],
    "exp": [lambda z, x: torch.exp(0.1 * z)],
    "expand": [lambda z, x: z[:, :1].expand(-1, 5, -1)],
    "flip": [lambda z, x: z.flip(1)],
    "full_like": [lambda z, x: torch.full_like(z, 2) * z, lambda z, x: torch.full_like(z, 2 + 1j) * z],
    "gather": [lambda z, x: z.gather(1, INDEX.view(1, 3, 1).expand(2, 3, 6))],
    "index_add": [lambda z, x: torch.zeros_like(z).index_add(1, INDEX, z[:, :3])],
    "scatter": [lambda z, x: torch.zeros_like(z).scatter(1, INDEX.view(1, 3, 1).expand(2, 3, 6), z[:, :3])],
    "detach": [lambda z, x: z.detach() * 2],
    "tile": [lambda z, x: z.tile(2, 1, 1)],
    "index": [lambda z, x: z[:, INDEX]],
    "index_select": [lambda z, x: z.index_select(1, INDEX)],
    "linear": [lambda z, x: F.linear(z, W, W[0]), lambda z, x: F.linear(z, W), lambda z, x: F.linear(z, W.real + 0j)],
    "log": [lambda z, x: torch.log(z + 100), lambda z, x: torch.log(z)],
    "masked_fill": [lambda z, x: z.masked_fill(x > 0, 1), lambda z, x: z.masked_fill(x > 0, 1 - 2j)],
    "matmul": [lambda z, x: z @ W, lambda z, x: z @ z.transpose(1, 2)],
    "mean": [lambda z, x: z.mean((1, 2))],
    "mm": [lambda z, x: torch.mm(z[0], W)],
    "mul": [lambda z, x: z * z, lambda z, x: x * z, lambda z, x: 2.5 * z, lambda z, x: x * 1j, lambda z, x: z * W[0]],
    "mv": [lambda z, x: torch.mv(z[0], W[0])],
    "narrow": [lambda z, x: fft.fft(z, n=5, dim=1)],  # cropping, by our own rules
    "neg": [lambda z, x: -z, lambda z, x: (-z).abs()],
    "ones_like": [lambda z, x: torch.ones_like(z) * z],
    "outer": [lambda z, x: torch.outer(z[0, 0], z[0, 1])],
    "permute": [lambda z, x: z.permute(2, 0, 1) * 1],
    "pow": [lambda z, x: z**2, lambda z, x: (z + 9) ** -3, lambda z, x: (z + 9) ** 1.7, lambda z, x: z**0.5],
    "reciprocal": [lambda z, x: (z + 100).reciprocal(), lambda z, x: 1 / (z + 100)],
    "repeat": [lambda z, x: z.repeat(1, 2, 1)],
    "_unsafe_view": [lambda z, x: torch.cat([z, z], 1).transpose(1, 2).reshape(2, 3, 4, 12)],
    "view": [lambda z, x: z.view(2, 3, 4, 6)],
    "roll": [lambda z, x: z.roll(3, 1)],
    "rsub": [lambda z, x: torch.rsub(z, x)],
    "select": [lambda z, x: z[:, 3]],
    "sgn": [lambda z, x: torch.sgn(z)],
    "slice": [lambda z, x: z[:, 2:9:3]],
    "split": [lambda z, x: list(z.split(4, 1))],
    "split_with_sizes": [lambda z, x: list(z.split([4, 8], 1))],
    "sqrt": [lambda z, x: torch.sqrt(z)],
    "square": [lambda z, x: torch.square(z)],
    "squeeze unsqueeze": [lambda z, x: z.unsqueeze(1).squeeze(1) * 1],
    "stack": [lambda z, x: torch.stack([z, z.conj()])],
    "sub": [lambda z, x: z - x, lambda z, x: x - z, lambda z, x: torch.sub(z, 1j * z, alpha=2)],
    "sum": [lambda z, x: z.sum(1)],
    "t": [lambda z, x: z[0].t() * 1],
    "transpose": [lambda z, x: z.transpose(1, 2) * 1],
    "tril": [lambda z, x: torch.tril(z)],
    "triu": [lambda z, x: torch.triu(z)],
    "unbind": [lambda z, x: list(z.unbind(0))],
    "view_as_real": [
        lambda z, x: torch.view_as_real(z),
        lambda z, x: torch.view_as_real(z)[..., 1] + torch.view_as_real(z).sum(-1),
        lambda z, x: z.real * z.imag,
    ],
    "view_as_complex": [
        lambda z, x: torch.view_as_complex(torch.stack([x, x * x], -1)) * z,
        lambda z, x: torch.view_as_complex(torch.view_as_real(z)),
    ],
    "where": [lambda z, x: torch.where(x > 0, z, -z), lambda z, x: torch.where(x > 0, z, x.to(z.dtype))],
    "zeros_like": [lambda z, x: torch.zeros_like(z) + z],
    "complex": [lambda z, x: torch.complex(z.abs(), x)],
    "polar": [lambda z, x: torch.polar(z.abs(), x)],
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

CASES = [
    pytest.param(names, make, function, id=f"{names}-{number}-{make.__name__}")
    for names, functions in ON_COMPLEX.items()
    for number, function in enumerate(functions)
    for make in (spectrum, pair)
]


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the rules that were used."""
    names: set[str] = set()
    for table in (dispatch.COMPLEX_RULES, dispatch.ENTRY_RULES):
        for name, rule in table.items():

            def record(func, args, kwargs, name=name, rule=rule):
                names.add(name)
                return rule(func, args, kwargs)

            monkeypatch.setitem(table, name, record)
    return names


@pytest.mark.parametrize(("names", "make", "function"), CASES)
def test_a_rule_equals_eager_pytorch(names, make, function, reached):
    x = torch.randn(2, 12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_exact(Program(lambda x: function(make(x), x)), x)
    assert set(names.split()) <= reached


def test_every_rule_has_a_program():
    tested = {name for names in ON_COMPLEX for name in names.split()}
    assert tested == set(supported_operators())
