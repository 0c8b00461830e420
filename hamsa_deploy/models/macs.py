"""Parameters and multiply-accumulates of a model, counted the way papers count them.

Counted per image: linear layers and convolutions, and inside SASS, per frequency, W_g and W_2 with d^2 each
and W_1 with 4 d^2 (complex) or 2 d^2 (real). Not counted: Fourier transforms, normalisations, everything
element-wise.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from hamsa_deploy.models.sass import SASS


def count_parameters(model: nn.Module) -> int:
    """All trainable values; a complex number counts as two."""
    return sum(p.numel() for p in model.parameters())


def count_macs(model: nn.Module, image_shape: Sequence[int]) -> int:
    """Multiply-accumulates of one image. Runs the model once, on the device of its weights ("meta" works).

    Args:
        model: any module; only the operators named above are counted.
        image_shape: (C, H, W).
    """
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        nonlocal total
        total += _macs(module, output)

    counted = (nn.Linear, nn.Conv2d, SASS)
    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, counted)]
    weight = next(model.parameters())
    try:
        with torch.no_grad():
            model(torch.zeros(1, *image_shape, device=weight.device, dtype=weight.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _macs(module: nn.Module, output: Tensor) -> int:
    """Of one module that made `output` (1, ...) from one image."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.in_channels // module.groups * prod(module.kernel_size)
    if isinstance(module, SASS):
        products = 6 if module.w1_imag is not None else 4
        return output.numel() * output.shape[-1] * products
    assert isinstance(module, nn.Linear)
    return output.numel() * module.in_features
