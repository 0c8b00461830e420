"""Kernels psi for another image size, as position embeddings of vision transformers are treated.

psi has one row per token of a stage's grid, (h w, d, 2). For a grid (h', w') it is read as an image of 2 d
channels, real and imaginary parts separately, and resampled by a bicubic filter with antialiasing.
"""

from __future__ import annotations

import logging
from math import isqrt, prod

import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy.models.sass import SASS

logger = logging.getLogger("hamsa_deploy")


def resampled_kernel(psi: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """psi (h w, d, 2) on the grid old = (h, w) -> (h' w', d, 2) on the grid new; identity if equal."""
    image = psi.unflatten(0, old).flatten(2).permute(2, 0, 1).unsqueeze(0).float()
    image = F.interpolate(image, size=new, mode="bicubic", antialias=True)
    rows = image.squeeze(0).permute(1, 2, 0).reshape(prod(new), *psi.shape[1:])
    return rows.to(psi.dtype)


def fit_kernels(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with every psi on the model's grid; what differs in more than length stays as it is."""
    fitted = dict(state)
    changes: dict[tuple[tuple[int, int], tuple[int, int]], int] = {}
    for name, module in model.named_modules():
        psi = state.get(f"{name}.psi".lstrip("."))
        if not isinstance(module, SASS) or psi is None or not _differs_in_length_only(psi, module.psi):
            continue
        if (old := _old_grid(psi.shape[0], module.grid)) is None:
            continue
        fitted[f"{name}.psi".lstrip(".")] = resampled_kernel(psi, old, module.grid)
        changes[old, module.grid] = changes.get((old, module.grid), 0) + 1
    for ((h, w), (new_h, new_w)), count in changes.items():
        logger.info(
            "resampled %d kernels psi from %d x %d to %d x %d tokens (bicubic): the image size differs",
            count, h, w, new_h, new_w,
        )  # fmt: skip
    return fitted


def _differs_in_length_only(psi: Tensor, expected: Tensor) -> bool:
    floating = psi.is_floating_point() and psi.dim() == 3
    return floating and 0 < psi.shape[0] != expected.shape[0] and psi.shape[1:] == expected.shape[1:]


def _old_grid(tokens: int, new: tuple[int, int]) -> tuple[int, int] | None:
    """The grid of a kernel's training: square, as pre-training is, or else of the new aspect ratio."""
    side = isqrt(tokens)
    if side * side == tokens:
        return side, side
    height = isqrt(tokens * new[0] // new[1])
    if height and tokens % height == 0 and height * new[1] == tokens // height * new[0]:
        return height, tokens // height
    return None
