"""Models as people write them, for the tests of capture. Here, because pytest rewrites the assertions of test files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def double(x: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * 2, n=16)


class Module(nn.Module):
    """With a buffer or two, and a forward that is given."""

    def __init__(self, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("window", torch.hann_window(16) + 1)
        self.register_buffer("n", torch.tensor(16))
        self.register_buffer("mean", torch.zeros(9))
        self.count, self.cached, self.tail = 1, None, None

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def asserts_on_inputs(self: Any, x: Tensor) -> Tensor:
    y = F.pad(x, (4, 4), "reflect")
    assert (y[..., 4:-4] == x).all()
    return double(x)


def raises_on_values(self: Any, x: Tensor) -> Tensor:
    if (x > 100).any() or not torch.isfinite(x).all():
        raise ValueError(f"values of {x.shape}")
    vars(torch)["_assert"]((x < 100).all(), "large")  # as torchvision's models do
    return double(x)


def takes_parts_of_a_buffer(self: Any, x: Tensor) -> Tensor:
    largest, where = self.window.topk(2)
    parts = [double(x) * int(n) for n in self.n.repeat(2)]
    return torch.stack(parts).sum(0) * float(largest[0]) + int(where[0])


def takes_sizes_from_constants(self: Any, x: Tensor) -> Tensor:
    lengths = torch.full((2,), x.shape[-1])
    mask = torch.arange(lengths.max()) < 9  # type: ignore[call-overload]  # an unknown size would not fit attention
    y = F.scaled_dot_product_attention(x, x, x[..., : mask.shape[0]])
    left, right = torch.split(double(y) * mask, self.n // 2, dim=-1)
    return torch.cat([right.narrow(-1, self.n - 16, 8), left], -1) * float(self.n.numpy())


def asserts_on_a_buffer(self: Any, x: Tensor) -> Tensor:
    assert (self.window > 1e-11).all()
    assert torch.allclose(self.window, self.window)
    return double(x) / self.window


def branches_on_numbers(self: Any, x: Tensor) -> Tensor:
    padding = [0, x.shape[-1] % 2]
    return F.pad(double(x), padding) if torch.sum(torch.tensor(padding)) != 0 else double(x)


def takes_an_item(self: Any, x: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * 2, n=self.n.item())


def builds_lists(self: Any, x: Tensor) -> Tensor:
    scales = (self.window[:2] * 2).tolist()
    return double(x) * scales[0] + float(self.window.max())


def writes_what_it_made(self: Any, x: Tensor) -> Tensor:
    """Of a buffer; the buffer stays as it was."""
    y = self.window * x
    y.add_(1)
    z = self.window.clone()
    z[0] = 3.0
    w = self.window.double().mul_(2)
    return double(y) * z + w.float()


def fills_a_cache(self: Any, x: Tensor) -> Tensor:
    if self.cached is None:
        self.cached = torch.hann_window(16)
    return double(x * self.cached)


def counts(self: Any, x: Tensor) -> Tensor:
    self.count += 1
    return double(x) * self.count


def keeps_the_tail(self: Any, x: Tensor) -> Tensor:
    y = double(x) if self.tail is None else double(x) + self.tail
    self.tail = x.clone()
    return y
