"""VMamba: a pyramid of images, which selective scans read along rows and columns, from both ends.

Source: Liu et al., "VMamba: Visual State Space Model" (2024). Parameter names are those of the authors' public
checkpoints `vssm1_..`, of their operator `v05_noz`. One block, on x (B, H, W, C), with D channels, K = 4 directions:

    u          = SiLU(DepthwiseConv3x3(W_in LayerNorm(x)))      (B, H, W, D)
    d, B, C    = W_x[k] u                                       (B, H, W, R), (B, H, W, N), (B, H, W, N)
    y[k]       = selective_scan(u, W_dt[k] d, A[k], B, C)       along direction k
    x          = x + W_out LayerNorm(sum of y[k] + D[k] u)      (B, H, W, C)
    block(x)   = x + MLP(LayerNorm(x))                          (B, H, W, C)

Directions: rows from the first pixel on, columns from the first one on, and both from the last one on. The four run as
the groups of one scan. W_x u is computed before the pixels are put in line: it is small, and its order is changed at
less cost than that of D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.models.checks import check_images, check_stages, checked_size
from hamsa_deploy.models.state_space import decays, initial_A_log, initial_bias, initial_weight, rank_of
from hamsa_deploy.scan import selective_scan

DIRECTIONS = 4
MLP_RATIO = 4
STD = 0.02  # of fresh weights


def in_line(image: Tensor, direction: int) -> Tensor:
    """The pixels (B, H, W, F) in the order of a direction: (B, L, F)."""
    line = (image.transpose(1, 2) if direction % 2 else image).flatten(1, 2)
    return line.flip(1) if direction >= 2 else line


def merged(lines: Sequence[Tensor], height: int, width: int) -> Tensor:
    """The sum of the lines of all directions, each pixel (B, L, F) back at its place: (B, H, W, F)."""
    rows, columns = lines[0] + lines[2].flip(1), lines[1] + lines[3].flip(1)
    return rows.unflatten(1, (height, width)) + columns.unflatten(1, (width, height)).transpose(1, 2)


class SS2D(nn.Module):
    """The scan of an image, equations above: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, width: int, channels: int, states: int) -> None:
        super().__init__()
        rank = rank_of(width)
        self.sizes = [rank, states, states]
        self.in_proj = nn.Linear(width, channels, bias=False)
        self.conv2d = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.x_proj_weight = nn.Parameter(initial_weight(DIRECTIONS, sum(self.sizes), channels))
        self.dt_projs_weight = nn.Parameter(initial_weight(DIRECTIONS, channels, rank))
        self.dt_projs_bias = nn.Parameter(initial_bias(DIRECTIONS, channels))
        self.A_logs = nn.Parameter(initial_A_log(DIRECTIONS * channels, states))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * channels))
        self.out_norm = nn.LayerNorm(channels)
        self.out_proj = nn.Linear(channels, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        u = F.silu(self.conv2d(self.in_proj(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        y = merged(self._scanned(u).chunk(DIRECTIONS, dim=-1), height, width)
        return self.out_proj(self.out_norm(y + self.Ds.unflatten(0, (DIRECTIONS, -1)).sum(0) * u))

    def _scanned(self, u: Tensor) -> Tensor:
        """(B, L, K D): each direction in its own order."""
        products = F.linear(u, self.x_proj_weight.flatten(0, 1)).chunk(DIRECTIONS, dim=-1)
        lines = [in_line(each, k).split(self.sizes, dim=-1) for k, each in enumerate(products)]
        steps, Bs, Cs = zip(*lines, strict=True)
        delta = [F.linear(d, W) for d, W in zip(steps, self.dt_projs_weight, strict=True)]
        y, _ = selective_scan(
            torch.cat([in_line(u, k) for k in range(DIRECTIONS)], dim=-1).transpose(1, 2),
            torch.cat(delta, dim=-1).transpose(1, 2),
            decays(self.A_logs),
            torch.stack(Bs, dim=2).permute(0, 2, 3, 1),
            torch.stack(Cs, dim=2).permute(0, 2, 3, 1),
            delta_bias=self.dt_projs_bias.flatten(),
            delta_softplus=True,
        )
        return y.transpose(1, 2)


class MLP(nn.Module):
    """(B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class VSSBlock(nn.Module):
    """One block, equations above: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, width: int, channels: int, states: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.op = SS2D(width, channels, states)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.op(self.norm(x))
        return x + self.mlp(self.norm2(x))


class ChannelsLast(nn.Module):
    """(B, C, H, W) -> (B, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class ChannelsFirst(nn.Module):
    """(B, H, W, C) -> (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


def _stem(in_channels: int, width: int) -> nn.Sequential:
    """Images (B, C, H, W) -> (B, H / 4, W / 4, width). Names are places, of which those of parameters are known."""
    half = width // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, half, 3, 2, padding=1),
        ChannelsLast(),
        nn.LayerNorm(half),
        ChannelsFirst(),
        nn.GELU(),
        nn.Conv2d(half, width, 3, 2, padding=1),
        ChannelsLast(),
        nn.LayerNorm(width),
    )


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    """(B, H, W, C) -> (B, H / 2, W / 2, outputs)."""
    return nn.Sequential(
        ChannelsFirst(), nn.Conv2d(inputs, outputs, 3, 2, padding=1), ChannelsLast(), nn.LayerNorm(outputs)
    )


class Stage(nn.Module):
    """Blocks, then half the size, but behind the last stage."""

    def __init__(self, blocks: Sequence[VSSBlock], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


class Classifier(nn.Module):
    """(B, H, W, C) -> logits (B, K), embedding (B, C)."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.norm(x).mean(dim=(1, 2))
        return self.head(embedding), embedding


class VMamba(nn.Module):
    """The classifier.

    Args:
        base: width of the first stage; stage i has base 2^i features.
        depths: blocks in each of the four stages.
        states: N, of each channel of a scan.
        ssm_ratio: channels of a scan over width of a block.
        image_size: H = W, or (H, W), in pixels, a multiple of 32.
        in_channels: 3 for RGB, 1 for grey.
        num_classes: K.

    Raises:
        InputError: an image size that the strides do not divide, or a stage list that is not four long.
    """

    def __init__(
        self,
        base: int,
        depths: Sequence[int],
        states: int = 1,
        ssm_ratio: int = 1,
        image_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        check_stages(depths=depths)
        self.input_shape = (in_channels, *checked_size(image_size, total_stride=32))
        widths = [base << i for i in range(len(depths))]
        self.patch_embed = _stem(in_channels, base)
        halves = [_halved(*pair) for pair in pairwise(widths)]
        self.layers = nn.ModuleList(
            Stage([VSSBlock(width, ssm_ratio * width, states) for _ in range(depth)], half)
            for width, depth, half in zip(widths, depths, [*halves, nn.Identity()], strict=True)
        )
        self.classifier = Classifier(widths[-1], num_classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Classify normalised images (B, C, H, W).

        Returns: "logits" (B, K) and "embedding" (B, 8 base).

        Raises:
            InputError: images of another shape than the model was built for.
        """
        check_images(images, self.input_shape)
        x = self.patch_embed(images)
        for stage in self.layers:
            x = stage(x)
        logits, embedding = self.classifier(x)
        return {"logits": logits, "embedding": embedding}


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
