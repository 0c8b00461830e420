"""VMINet: separable self-attention inspired by the state space model, convolutions only.

Source: Zhang et al., "A Separable Self-Attention Inspired by the State Space Model for Computer Vision"
(2025). Parameter names are those of the authors' public checkpoints. One block, on x (B, C, H, W), with M =
mlp_ratio C:

    v = BatchNorm(DepthwiseConv7x7(x))                        (B, C, H, W)
    v = ReLU6(Conv1x1_f1(v)) * Conv1x1_f2(v)                  (B, M, H, W)
    s = sum over the H W positions p of w[p] v[..., p]        (B, M, 1, 1), w learned, (H W)
    v = ReLU6(a0 s + a1 v)                                    a0, a1 learned scalars
    block(x) = x + BatchNorm(Conv1x1_g(v))                    (B, C, H, W)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.models.checks import check_images, check_stages, checked_size

STEM_CHANNELS = 32


class Convolution(nn.Module):
    """A convolution with bias, "same" padding, and BatchNorm if asked for: (B, C, H, W) -> (B, D, h, w)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups)
        self.bn = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)


class VMIBlock(nn.Module):
    """One block, the equations above: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, width: int, mlp_ratio: int, grid: tuple[int, int]) -> None:
        super().__init__()
        hidden = mlp_ratio * width
        self.dwconv = Convolution(width, width, kernel=7, groups=width)
        self.f1 = Convolution(width, hidden, kernel=1, norm=False)
        self.f2 = Convolution(width, hidden, kernel=1, norm=False)
        self.sum = nn.Linear(prod(grid), 1, bias=False)
        self.g = Convolution(hidden, width, kernel=1)
        self.stack = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        v = self.dwconv(x)
        v = F.relu6(self.f1(v)) * self.f2(v)
        s = self.sum(v.flatten(2)).unsqueeze(-1)
        v = F.relu6(self.stack[0] * s + self.stack[1] * v)
        return x + self.g(v)


class VMINet(nn.Module):
    """The classifier and backbone.

    Args:
        base: width of the first stage; stage i has base 2^i channels.
        depths: blocks in each of the four stages.
        mlp_ratio: hidden width over width of a block.
        image_size: H = W, or (H, W), in pixels, a multiple of 32; fixed, because the learned sums have one
            weight per position.
        in_channels: 3 for RGB, 1 for grey.
        num_classes: K.
        features: also return the four feature maps, for use as a backbone.

    Raises:
        InputError: an image size that the strides do not divide, or a stage list that is not four long.
    """

    def __init__(
        self,
        base: int,
        depths: Sequence[int],
        mlp_ratio: int,
        image_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        features: bool = False,
    ) -> None:
        super().__init__()
        check_stages(depths=depths)
        height, width = checked_size(image_size, total_stride=32)
        self.input_shape = (in_channels, height, width)
        self.features = features
        # The first element has parameters, the second none: the checkpoints call the convolution stem.0.
        self.stem = nn.Sequential(Convolution(in_channels, STEM_CHANNELS, kernel=3, stride=2), nn.ReLU6())
        widths = [base << i for i in range(4)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                Convolution((STEM_CHANNELS, *widths)[i], widths[i], kernel=3, stride=2),
                *(VMIBlock(widths[i], mlp_ratio, (height >> (i + 2), width >> (i + 2))) for _ in range(depths[i])),
            )
            for i in range(4)
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Classify normalised images (B, C, H, W).

        Returns: "logits" (B, K) and "embedding" (B, 8 base); with features=True also "stage1" to "stage4",
        each (B, C_i, H_i, W_i).

        Raises:
            InputError: images of another shape than the model was built for.
        """
        check_images(images, self.input_shape)
        maps = {}
        x = self.stem(images)
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            maps[f"stage{number}"] = x
        embedding = self.norm(x).mean(dim=(2, 3))
        outputs = {"logits": self.head(embedding), "embedding": embedding}
        return outputs | maps if self.features else outputs
