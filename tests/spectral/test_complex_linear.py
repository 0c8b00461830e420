"""Complex linear layers: every form is the same product, and each engine gets the one that is cheap there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.spectral.complex_linear import FORMS, STACKED, THREE, Layer, LinearForm, cheapest
from hamsa_deploy.targets import target_of
from hamsa_runtime.manifest import ComplexLinear


class Mixed(nn.Module):
    """Complex linear layers over the channels of a spectrum, which is stored by halves, and over ordinary numbers."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, 6, dtype=torch.complex128, generator=draw))
        self.bias = nn.Parameter(torch.randn(6, dtype=torch.complex128, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        z = nn.functional.linear(torch.fft.fft(x, dim=1) + 1j * x, self.weight, self.bias)
        half = nn.functional.linear(torch.fft.fft(x, dim=1), self.weight)
        return torch.cat([torch.fft.ifft(half, dim=1).real, z.real, z.imag], -1)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_form_is_the_same_product(form: LinearForm) -> None:
    model = Mixed().eval()
    x = torch.randn(2, 10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    program = to_real(model, (x,), plans={Layer(6, 6, 10): form})
    assert torch.allclose(program.module()(x), model(x), rtol=1e-13, atol=1e-13)
    assert program.graph_module.meta["linears"] == [ComplexLinear("", 6, 6, 10, form.name)] * 2
    wide = (12, 12) if form is STACKED else (12, 6) if form.name == "two" else (6, 6)
    buffers = {tuple(buffer.shape) for name, buffer in program.named_buffers() if name.startswith("constant_")}
    assert wide in buffers


@pytest.mark.parametrize("width", [64, 320, 512])
def test_three_products_are_cheapest_where_numbers_cost_most(width: int) -> None:
    for target in ("onnx", "openvino"):
        assert cheapest(Layer(width, width, 196), target_of(target).rates) is THREE


def test_one_product_is_cheapest_where_operators_cost_most() -> None:
    rates = target_of("tensorrt").rates
    assert cheapest(Layer(320, 320, 196), rates) is STACKED
    assert cheapest(Layer(64, 64, 3136), rates) is THREE
