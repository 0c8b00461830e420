"""DeiT-S, the vision transformer that HAMSA is compared with.

Source: Touvron et al., "Training data-efficient image transformers & distillation through attention" (2021): patches of
16 x 16 pixels, width d = 384, 12 blocks, 6 heads of 64, MLP ratio 4, a class token, one learned position for each token
(for another image size: more positions, without interpolation, for only the time matters here). 22.05 M parameters
at 224 pixels.

Tokens x, (B, N, d), N = 1 + (size / 16)^2. One block:

    x = x + Linear(Attention(Linear(LayerNorm(x))))
    x = x + Linear(GELU(Linear(LayerNorm(x))))
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, DEPTH, HEADS, MLP_RATIO, PATCH, CLASSES = 384, 12, 6, 4, 16, 1000

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values, (B, N, d) each with the heads side by side -> (B, N, d)."""


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's fused attention."""
    q, k, v = (t.unflatten(2, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """(B, N, d) -> (B, N, d)."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend
        self.norm_attention = nn.LayerNorm(WIDTH, eps=1e-6)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.norm_mlp = nn.LayerNorm(WIDTH, eps=1e-6)
        self.expand = nn.Linear(WIDTH, MLP_RATIO * WIDTH)
        self.reduce = nn.Linear(MLP_RATIO * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm_attention(x)).chunk(3, dim=-1)
        x = x + self.project(self.attend(q, k, v))
        return x + self.reduce(F.gelu(self.expand(self.norm_mlp(x))))


class DeiTS(nn.Module):
    """The classifier: images (B, 3, size, size) -> logits (B, 1000).

    Args:
        size: H = W in pixels, a multiple of 16.
        attend: how attention is written, for exporters that know one form better than another.
    """

    def __init__(self, size: int = 224, attend: Attend = fused) -> None:
        super().__init__()
        tokens = 1 + (size // PATCH) ** 2
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, tokens, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block(attend) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


def deit_s(size: int = 224, attend: Attend = fused) -> DeiTS:
    """The model in eval mode with the same random weights at every call; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return DeiTS(size, attend).eval()
