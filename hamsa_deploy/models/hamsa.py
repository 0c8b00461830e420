"""HAMSA, a scanning-free vision state space model: spectral mixing of tokens in a four-stage pyramid.

Source: Patro and Agneeswaran, "HAMSA: Scanning-Free Vision State Space Models via SpectralPulseNet",
arXiv 2604.14724. No official code is published; what the paper leaves open is configuration here.

Tokens x are real, (B, L, d), with L = H W positions of one stage. One encoder block:

    x = x + HSS(LayerNorm(x))
    x = x + FFN(LayerNorm(x))                    Linear, GELU, Linear

HSS, the gated mixer:

    u = SiLU(Linear_in(x)),  z = SiLU(Linear_gate(x))
    HSS(x) = Linear_out(SASS(u) * z)

SASS is the spectral operator along the token axis, in sass.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.models.checks import Norm, check_images, check_norm, check_stages, checked_size
from hamsa_deploy.models.sass import SASS


class HSS(nn.Module):
    """The gated mixer: (B, L, d) -> (B, L, d)."""

    def __init__(self, grid: tuple[int, int], width: int, norm: Norm, complex_w1: bool) -> None:
        super().__init__()
        self.linear_in = nn.Linear(width, width)
        self.linear_gate = nn.Linear(width, width)
        self.sass = SASS(grid, width, norm, complex_w1)
        self.linear_out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        u = F.silu(self.linear_in(x))
        z = F.silu(self.linear_gate(x))
        return self.linear_out(self.sass(u) * z)


class FFN(nn.Module):
    """Linear, GELU, Linear: (B, L, d) -> (B, L, ratio d) -> (B, L, d)."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, ratio * width)
        self.reduce = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(F.gelu(self.expand(x)))


class Block(nn.Module):
    """One encoder block: (B, L, d) -> (B, L, d)."""

    def __init__(self, grid: tuple[int, int], width: int, ffn_ratio: int, norm: Norm, complex_w1: bool) -> None:
        super().__init__()
        self.norm_hss = nn.LayerNorm(width)
        self.hss = HSS(grid, width, norm, complex_w1)
        self.norm_ffn = nn.LayerNorm(width)
        self.ffn = FFN(width, ffn_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.hss(self.norm_hss(x))
        return x + self.ffn(self.norm_ffn(x))


class Stage(nn.Module):
    """A strided convolution to the stage's grid, LayerNorm, then blocks: (B, C, H, W) -> (B, d, h, w)."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        depth: int,
        ffn_ratio: int,
        grid: tuple[int, int],
        reduction: tuple[int, int],
        norm: Norm,
        complex_w1: bool,
    ) -> None:
        super().__init__()
        kernel, stride = reduction
        self.grid = grid
        self.reduce = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(grid, width, ffn_ratio, norm, complex_w1) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.reduce(x).flatten(2).transpose(1, 2)
        tokens = self.blocks(self.norm(tokens))
        return tokens.transpose(1, 2).unflatten(2, self.grid)


class HAMSA(nn.Module):
    """The classifier and backbone.

    Args:
        widths, depths, ffn_ratios: of the four stages.
        image_size: H = W, or (H, W), in pixels; fixed, because the kernels psi have one row per token.
        in_channels: 3 for RGB, 1 for grey.
        num_classes: K.
        stem: (kernel, stride) of the first convolution; the later stages reduce by (3, 2).
        norm: FFT normalisation: "ortho", "backward" or "forward".
        complex_w1: whether W_1 is complex; True meets the published parameter counts.
        features: also return the four feature maps, for use as a backbone.

    Raises:
        InputError: an image size that the strides do not divide, or a stage list that is not four long.
    """

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        ffn_ratios: Sequence[int],
        image_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        stem: Sequence[int] = (7, 4),
        norm: Norm = "ortho",
        complex_w1: bool = True,
        features: bool = False,
    ) -> None:
        super().__init__()
        kernel, stride = stem
        check_stages(widths=widths, depths=depths, ffn_ratios=ffn_ratios)
        check_norm(norm)
        height, width = checked_size(image_size, total_stride=8 * stride)
        self.input_shape = (in_channels, height, width)
        self.features = features
        self.stages = nn.ModuleList(
            Stage(
                in_channels=(in_channels, *widths)[i],
                width=widths[i],
                depth=depths[i],
                ffn_ratio=ffn_ratios[i],
                grid=(height // (stride << i), width // (stride << i)),
                reduction=(kernel, stride) if i == 0 else (3, 2),
                norm=norm,
                complex_w1=complex_w1,
            )
            for i in range(4)
        )
        self.norm = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Classify normalised images (B, C, H, W).

        Returns: "logits" (B, K) and "embedding" (B, d4); with features=True also "stage1" to "stage4",
        each (B, d_i, H_i, W_i).

        Raises:
            InputError: images of another shape than the model was built for.
        """
        check_images(images, self.input_shape)
        maps = {}
        x = images
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            maps[f"stage{number}"] = x
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        embedding = tokens.mean(dim=1)
        outputs = {"logits": self.head(embedding), "embedding": embedding}
        return outputs | maps if self.features else outputs
