"""What float16 cannot hold of a program of PyTorch: by what is measured, and by where it leads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.pipeline.manifest import manifest_of
from hamsa_deploy.precision.float16.of_program import by_layer, islands_of_program


def islands(model: nn.Module, *calls: float, size: int = 4) -> dict[str, str]:
    """Of calls with arrays of one number each."""
    request = Request(model.eval(), (torch.ones(2, size),), to="executorch")
    form = real_model_of_request(request)
    assert form.program is not None
    manifest = manifest_of(request, form)
    feeds = [{"x": np.full((1, size), each, np.float32)} for each in calls]
    return by_layer(form.program, islands_of_program(form.program, manifest, feeds, form.states))


class Large(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x * 1000.0) * 2.0 + 3.0


def test_what_grows_too_large_in_any_call_stays_float32_with_room_above_it() -> None:
    assert islands(Large(), 1.0, 8.0) == {}
    found = islands(Large(), 1.0, 8.5)
    assert list(found) == ["mul", "sin"]
    assert found["mul"].startswith("overflow: mul reaches 8.5e+03; 8 times that is beyond")


class Small(nn.Module):
    factors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factors", torch.full((4,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.factors) * 1e6


def test_what_is_too_small_or_a_constant_that_is_stays_float32() -> None:
    found = islands(Small(), 1.0)
    assert list(found) == ["mul", "mul_1"]
    assert all(reason.startswith("underflow") for reason in found.values())


class Magnitude(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (torch.fft.rfft(x).abs() + 1).log() / (x.mean() * 2 + 5)


def test_what_leads_to_roots_logarithms_and_divisors_stays_float32() -> None:
    found = islands(Magnitude(), 1.0)
    assert all(reason.startswith("division") for reason in found.values())
    led = sorted(reason.partition("aten::")[2].partition(",")[0] for reason in found.values())
    # Squares and their sum; the root's multiple and one more; twice the mean and five more.
    assert led == ["div.Tensor", "div.Tensor", "log", "log", "sqrt", "sqrt", "sqrt"]


class Sum(nn.Module):
    heard: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("heard", torch.zeros(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.heard = self.heard + x
        return self.heard * 1.0


def test_what_a_model_keeps_is_carried_from_call_to_call() -> None:
    model = Sum().eval()
    request = Request(model, (torch.ones(1, 4),), to="executorch")
    form = real_model_of_request(request)
    assert form.program is not None
    feeds = [{"x": np.full((1, 4), 5000.0, np.float32)}] * 2
    found = islands_of_program(form.program, manifest_of(request, form), feeds, form.states)
    assert {"add", "mul"} <= set(found)
    once = islands_of_program(form.program, manifest_of(request, form), feeds[:1], form.states)
    assert "mul" not in once
    assert all(why.startswith("state: ") for why in once.values())


def test_a_value_that_is_not_finite_is_none_that_float16_holds() -> None:
    class Endless(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x) * 0.0

    assert list(islands(Endless(), 0.0)) == ["log", "mul"]
