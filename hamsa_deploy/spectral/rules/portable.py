"""Operators that not every engine has, in operators that all have: the same for real values and for complex ones.

col2im          overlapping patches added up; TensorRT has no Col2Im. Along one axis: frames of n samples, hop
                apart, are J = ceil(n / hop) rows of blocks of hop samples: y = sum_j (row j, j blocks later). At
                n = 1024, hop = 256 that takes 2 ms for 2 M numbers on ONNX Runtime and OpenVINO.
                Along two: a transposed convolution with the kernel that puts value k of a patch to place k.
pad, circular   slices of both ends, joined to the signal; OpenVINO has no Pad in mode wrap.
clamp           with both bounds of one type; torch.onnx finds no operator for clamp(1e-12, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hamsa_deploy.spectral.dispatch import apply, entry_rule
from hamsa_deploy.spectral.values import Complex, as_complex, constant_from, functions, is_complex
from hamsa_runtime.dft.factorisations import MOST_PIECES, pieces


@entry_rule("col2im")
def col2im(
    x: Any,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Any:
    """Patches (N, C kh kw, blocks) or without N, to images (N, C, H, W)."""
    if is_complex(x):
        z = as_complex(x)
        parts = (col2im(part, output_size, kernel_size, dilation, padding, stride) for part in (z.re, z.im))
        return Complex(*parts)
    if x.ndim == 2:
        return functions.squeeze(
            col2im(functions.unsqueeze(x, 0), output_size, kernel_size, dilation, padding, stride), 0
        )
    height, width = kernel_size
    one_row = height == 1 and output_size[0] == 1 and padding[0] == 0
    if one_row and dilation[1] == 1:
        channels = x.shape[1] // width
        frames = functions.reshape(x, (-1, width, x.shape[-1]))
        signal = overlap_added(frames, stride[1])
        length = output_size[1]
        signal = functions.narrow(signal, -1, padding[1], length)
        return functions.reshape(signal, (-1, channels, 1, length))
    return _transposed_convolution(x, output_size, kernel_size, dilation, padding, stride)


def overlap_added(frames: Any, hop: int) -> Any:
    """Frames (batch, n, T), each `hop` samples after the one before, added up: (batch, n + hop (T - 1))."""
    n, count = frames.shape[1], frames.shape[2]
    touched = pieces(n, hop)
    if touched > MOST_PIECES:
        kernel = constant_from(np.eye(n)[:, None], frames.dtype)
        return functions.squeeze(functions.conv_transpose1d(frames, kernel, stride=hop), 1)
    total = None
    for j in range(touched):
        piece = functions.narrow(frames, 1, j * hop, min(hop, n - j * hop))
        if n - j * hop < hop:
            piece = functions.constant_pad_nd(piece, [0, 0, 0, hop - (n - j * hop)])
        moved = functions.constant_pad_nd(piece, [j, touched - 1 - j]) if touched > 1 else piece
        total = moved if total is None else functions.add(total, moved)
    signal = functions.reshape(functions.transpose(total, 1, 2), (-1, hop * (count + touched - 1)))
    beyond = touched * hop - n
    return apply(torch.ops.aten.slice.Tensor, (signal, -1, 0, -beyond), {}) if beyond else signal


def _transposed_convolution(
    x: Any,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Any:
    places = kernel_size[0] * kernel_size[1]
    channels = x.shape[1] // places
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel_size, strict=True)]
    grid = [
        (size + 2 * p - span) // s + 1 for size, p, span, s in zip(output_size, padding, spans, stride, strict=True)
    ]
    patches = functions.reshape(x, (-1, places, *grid))
    kernel = constant_from(np.eye(places).reshape(places, 1, *kernel_size), x.dtype)
    reached = [(g - 1) * s + span - 2 * p for g, s, span, p in zip(grid, stride, spans, padding, strict=True)]
    missing = [size - end for size, end in zip(output_size, reached, strict=True)]
    images = functions.conv_transpose2d(
        patches, kernel, stride=list(stride), padding=list(padding), output_padding=missing, dilation=list(dilation)
    )
    return functions.reshape(images, (-1, channels, *output_size))


def circularly_padded(x: Any, widths: Sequence[int]) -> Any:
    """`x` with its other end before and after it, along the last axes; `widths` as torch.nn.functional.pad has them."""
    for axis, (before, after) in zip(
        range(x.ndim - 1, -1, -1), zip(widths[::2], widths[1::2], strict=True), strict=False
    ):
        size = x.shape[axis]
        kept = size - max(-before, 0) - max(-after, 0)
        middle = functions.narrow(x, axis, max(-before, 0), kept)
        ends = [functions.narrow(middle, axis, kept - before, before)] if before > 0 else []
        starts = [functions.narrow(middle, axis, 0, after)] if after > 0 else []
        x = functions.cat([*ends, middle, *starts], axis)
    return x


@entry_rule("clamp", "clip")
def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """Left as it is, unless its bounds or the values are of two types of numbers."""
    min, max = (int(bound) if isinstance(bound, bool) else bound for bound in (min, max))
    bounds = [bound for bound in (min, max) if isinstance(bound, int | float)]
    kinds = {type(bound) for bound in bounds}
    if kinds == {int} or not kinds or (kinds == {float} and x.dtype.is_floating_point):
        return NotImplemented
    values = x if x.dtype.is_floating_point else apply(torch.ops.aten._to_copy.default, (x,), {"dtype": torch.float32})
    return apply(torch.ops.aten.clamp.default, (values, *(None if b is None else float(b) for b in (min, max))), {})
