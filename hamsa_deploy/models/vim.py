"""Vim: tokens of patches in one line, which selective scans read from both ends.

Source: Zhu et al., "Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space Model"
(2024). Parameter names are those of the authors' public checkpoints, of `.._bimambav2_.._with_midclstok_div2`. The
class token stands in the middle of the L tokens. One layer, on h (B, L, C), with D = 2 C channels, two directions:

    x, z  = W_in RMSNorm(h)                            (B, L, D) each
    u     = SiLU(CausalConv1d(x))                      (B, L, D)
    d, B, C = W_x u                                    (B, L, R), (B, L, N), (B, L, N)
    y     = selective_scan(u, W_dt d, A, B, C, D)      (B, L, D)
    h + W_out ((y + y_b) / 2 * SiLU(z))                (B, L, C)

y_b is what y is, of the tokens from the last to the first, with parameters of its own, whose names end in _b. Both run
as the two groups of one scan: half as many loops, and 3 % (ONNX Runtime) and 6 % (OpenVINO) less time at 24 layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.models.checks import check_images, checked_size
from hamsa_deploy.models.state_space import decays, initial_A_log, initial_bias, initial_weight, rank_of
from hamsa_deploy.scan import selective_scan

TAPS = 4  # of the causal convolution
EPSILON = 1e-5
STD = 0.02  # of fresh embeddings and of a fresh head


class Mixer(nn.Module):
    """One layer without its norm and its residual, equations above: (B, L, C) -> (B, L, C)."""

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        channels, rank = 2 * width, rank_of(width)
        self.sizes = [rank, states, states]
        self.in_proj = nn.Linear(width, 2 * channels, bias=False)
        self.conv1d, self.conv1d_b = (nn.Conv1d(channels, channels, TAPS, groups=channels) for _ in range(2))
        self.x_proj, self.x_proj_b = (nn.Linear(channels, sum(self.sizes), bias=False) for _ in range(2))
        self.dt_proj, self.dt_proj_b = (_steps(rank, channels) for _ in range(2))
        self.A_log, self.A_b_log = (nn.Parameter(initial_A_log(channels, states)) for _ in range(2))
        self.D, self.D_b = (nn.Parameter(torch.ones(channels)) for _ in range(2))
        self.out_proj = nn.Linear(channels, width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        x, z = self.in_proj(h).chunk(2, dim=-1)
        u = self._convolved(torch.cat([x, x.flip(1)], dim=-1))
        products = [W(each) for W, each in zip((self.x_proj, self.x_proj_b), u.chunk(2, dim=-1), strict=True)]
        steps, Bs, Cs = zip(*(each.split(self.sizes, dim=-1) for each in products), strict=True)
        delta = [F.linear(d, W.weight) for d, W in zip(steps, (self.dt_proj, self.dt_proj_b), strict=True)]
        both, _ = selective_scan(
            u.transpose(1, 2),
            torch.cat(delta, dim=-1).transpose(1, 2),
            decays(torch.cat([self.A_log, self.A_b_log])),
            torch.stack(Bs, dim=2).permute(0, 2, 3, 1),
            torch.stack(Cs, dim=2).permute(0, 2, 3, 1),
            torch.cat([self.D, self.D_b]),
            delta_bias=torch.cat([self.dt_proj.bias, self.dt_proj_b.bias]),
            delta_softplus=True,
        )
        y, y_b = both.transpose(1, 2).chunk(2, dim=-1)
        return F.linear((y + y_b.flip(1)) * F.silu(z), self.out_proj.weight / 2)

    def _convolved(self, x: Tensor) -> Tensor:
        """(B, L, 2 D), both directions."""
        weight = torch.cat([self.conv1d.weight, self.conv1d_b.weight])
        bias = torch.cat([self.conv1d.bias, self.conv1d_b.bias])  # type: ignore[list-item]  # both have one
        padded = F.pad(x.transpose(1, 2), (TAPS - 1, 0))
        return F.silu(F.conv1d(padded, weight, bias, groups=len(weight))).transpose(1, 2)


def _steps(rank: int, channels: int) -> nn.Linear:
    """W_dt, with the bias of the steps."""
    made = nn.Linear(rank, channels)
    made.weight, made.bias = nn.Parameter(initial_weight(channels, rank)), nn.Parameter(initial_bias(channels))
    return made


class Layer(nn.Module):
    """Norm, mixer and residual: (B, L, C) -> (B, L, C)."""

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        self.mixer = Mixer(width, states)
        self.norm = nn.RMSNorm(width, EPSILON)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.mixer(self.norm(h))


class PatchEmbedding(nn.Module):
    """One token for each patch, in row order: (B, C, H, W) -> (B, h w, D)."""

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class Vim(nn.Module):
    """The classifier.

    Args:
        width: C, features of a token.
        depth: layers.
        states: N, of each of the 2 C channels of a scan.
        patch: side of a patch in pixels.
        image_size: H = W, or (H, W), in pixels, a multiple of the patch; fixed, because tokens have learned positions.
        in_channels: 3 for RGB, 1 for grey.
        num_classes: K.

    Raises:
        InputError: an image size that patches do not divide.
    """

    def __init__(
        self,
        width: int,
        depth: int = 24,
        states: int = 16,
        patch: int = 16,
        image_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        height, columns = checked_size(image_size, total_stride=patch)
        self.input_shape = (in_channels, height, columns)
        self.patches = (height // patch) * (columns // patch)
        self.patch_embed = PatchEmbedding(in_channels, width, patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, self.patches + 1, width))
        self.layers = nn.ModuleList(Layer(width, states) for _ in range(depth))
        self.norm_f = nn.RMSNorm(width, EPSILON)
        self.head = nn.Linear(width, num_classes)
        self._initialise(depth)

    @torch.no_grad()
    def _initialise(self, depth: int) -> None:
        """What a layer adds becomes smaller the more there are, as in GPT-2."""
        for each in (self.cls_token, self.pos_embed, self.head.weight):
            nn.init.trunc_normal_(each, std=STD)
        nn.init.zeros_(self.head.bias)
        for layer in self.layers:
            mixer: Any = layer.mixer
            mixer.out_proj.weight /= depth**0.5

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Classify normalised images (B, C, H, W).

        Returns: "logits" (B, K) and "embedding" (B, C), the class token's.

        Raises:
            InputError: images of another shape than the model was built for.
        """
        check_images(images, self.input_shape)
        patches, middle = self.patch_embed(images), self.patches // 2
        token = self.cls_token.expand(images.shape[0], -1, -1)
        h = torch.cat([patches[:, :middle], token, patches[:, middle:]], dim=1) + self.pos_embed
        for layer in self.layers:
            h = layer(h)
        embedding = self.norm_f(h[:, middle])
        return {"logits": self.head(embedding), "embedding": embedding}
