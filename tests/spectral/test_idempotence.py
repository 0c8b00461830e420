"""What is real already comes back as it was: the same numbers, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fft, nn

from hamsa_deploy import to_real
from hamsa_deploy.models import load_model

from .programs import Program, as_real, operators


class Attention(nn.Module):
    """A transformer's block: layer norm, attention, MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 16))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in self.qkv(self.norm1(tokens)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(mixed)
        return tokens + self.mlp(self.norm2(tokens)), (q @ k.mT).softmax(-1)


class Convolutions(nn.Module):
    """Batch norm, group norm, strides, pooling, an embedding of integers, and logic on them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2)
        )
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.GroupNorm(2, 8), nn.GELU())
        self.names = nn.Embedding(5, 8)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        x = self.stem(images)
        x = (x + self.body(x)).mean((2, 3))
        shifted = torch.where(labels > 2, labels - 3, labels)
        return {"logits": x + self.names(labels), "labels": shifted, "top": x.topk(3).indices}


def check_identical(model: nn.Module, *inputs: Tensor) -> torch.export.ExportedProgram:
    """The real form computes the same bits."""
    program = to_real(model, inputs, dynamic_shapes={})
    with torch.no_grad():
        expected, found = model(*inputs), program.module()(*inputs)
    for a, b in zip(as_real(found), as_real(expected), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    return program


@pytest.mark.slow
def test_a_built_in_model_without_complex_tensors() -> None:
    check_identical(load_model("vminet_ti", image_size=64, num_classes=10), torch.randn(2, 3, 64, 64))


def test_layer_norm_attention_and_linear_layers() -> None:
    torch.manual_seed(0)
    program = check_identical(Attention().eval(), torch.randn(2, 7, 16))
    assert {"layer_norm", "scaled_dot_product_attention", "gelu"} <= set(operators(program))  # still whole


def test_convolutions_and_integers() -> None:
    torch.manual_seed(0)
    check_identical(Convolutions().eval(), torch.randn(3, 3, 16, 16), torch.tensor([0, 4, 2]))


def spectral_program(x: Tensor) -> Tensor:
    z = fft.rfft2(x, dim=(1, 2), norm="ortho")
    return fft.irfft2(torch.sigmoid(z.abs()) * z * (1 - 2j), s=(6, 7), dim=(1, 2), norm="ortho")


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        pytest.param(lambda: load_model("hamsa_nano"), (2, 3, 32, 32), id="hamsa_nano", marks=pytest.mark.slow),
        pytest.param(lambda: Program(spectral_program), (2, 6, 7, 3), id="a gated spectrum"),
        pytest.param(lambda: Program(lambda x: fft.fft(x, n=420)), (2, 9), id="a complex output"),
    ],
)
def test_the_real_form_is_its_own_real_form(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model, inputs = make(), torch.randn(shape)
    once = to_real(model, (inputs,), dynamic_shapes={})
    twice = to_real(once, (inputs,), dynamic_shapes={})
    for a, b in zip(as_real(twice.module()(inputs)), as_real(once.module()(inputs)), strict=True):
        assert torch.equal(a, b)
