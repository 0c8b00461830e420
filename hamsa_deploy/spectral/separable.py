"""PyTorch's own transforms along several axes, one axis at a time.

    F_(1..m) x = F_1 (F_2 (.. (F_m x)))

MKL's complex transform over two axes at once writes past the end of its buffer for some shapes and strides, which
damages the process sooner or later: torch.fft.fft2(x, dim=(0, 1)) of a complex128 x of shape (3, 420, 5) does, in
PyTorch 2.13 (valgrind: invalid write in mkl_dft_avx2_gather_z_z; https://github.com/pytorch/pytorch/issues/125664).
One axis at a time is the same transform and does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class OneAxisAtATime(TorchDispatchMode):
    """Within it, torch.fft in eager PyTorch never transforms several axes in one call."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in SEPARATELY and len(args[1]) > 1:
            return SEPARATELY[func](*args)
        return func(*args, **(kwargs or {}))


def _c2c(x: Tensor, axes: Sequence[int], norm: int, forward: bool) -> Tensor:
    for axis in axes:
        x = aten._fft_c2c(x, [axis], norm, forward)
    return x


def _r2c(x: Tensor, axes: Sequence[int], norm: int, onesided: bool) -> Tensor:
    *others, last = axes
    return _c2c(aten._fft_r2c(x, [last], norm, onesided), others, norm, True)


def _c2r(x: Tensor, axes: Sequence[int], norm: int, last_size: int) -> Tensor:
    *others, last = axes
    return aten._fft_c2r(_c2c(x, others, norm, False), [last], norm, last_size)


SEPARATELY = {aten._fft_c2c.default: _c2c, aten._fft_r2c.default: _r2c, aten._fft_c2r.default: _c2r}
