r"""The transforms of all frames of a signal, in the form that is cheapest for their length and hop.

convolution    w[t] exp(-2 pi i k t / n) for the frequencies k that are wanted: the kernel of one convolution with
               stride hop, which never has the frames. No other form takes a number of frames that varies as well.
frames         cut out (frames.py), then a plan with several factors (factorisations.py) along them; real and imaginary
               parts from one product, in natural order by one gather of rows.

Batch 1, one thread of an AMD Zen 4, ms, (n, hop) as convolution and as frames: ONNX Runtime 0.029 and 0.034 (100, 10),
0.05 and 0.05 (128, 8), 0.37 and 0.14 (256, 64), 3.2 and 0.9 (400, 160), 2.9 and 0.29 (1024, 256); OpenVINO alike.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from hamsa_deploy.spectral import compilation, factored
from hamsa_deploy.spectral.frames import Frames
from hamsa_deploy.spectral.values import Real, constant_from, functions
from hamsa_runtime.dft.factorisations import Plan, rows_of_dft
from hamsa_runtime.manifest import Transform

# Zeros at the ends of a window are left out of a convolution's kernel from this share of it on: what is left of the
# signal has to be cut from it.
WORTH_CUTTING = 0.125


def dft(x: Frames, frequencies: np.ndarray, *, in_turn: bool) -> Real | None:
    """Orthonormal transforms of all frames under their window.

    Args:
        frequencies: in ascending order, of 0 .. n // 2.
        in_turn: whether each real part is followed by its imaginary part; or else all real ones come first.

    Returns:
        (.., 2 len(frequencies), frames). None where the frames have to be cut
        out first, for a transform of another kind.
    """
    plan = plan_of(x)
    if plan.is_dense:
        _note(x, plan, FRAMES)
        return _convolved(x, frequencies, in_turn)
    if plan.is_rader or plan.native:
        return None
    _note(x, plan, plan.kind)
    return factored.rows_of(x.cut(-2), plan, frequencies, in_turn)


FRAMES = "convolution of frames"


def plan_of(x: Frames) -> Plan:
    """The plan for the frames: dense stands for the convolution."""
    columns, batch = columns_of(x), x.signal.shape[:-1][:1]
    if columns is not None and all(isinstance(size, int) for size in batch):
        columns *= math.prod(batch)
    return compilation.current().framed_plan(x.n, x.hop, columns)


def columns_of(x: Frames) -> int | None:
    """How many frames one signal of the batch has; None where that varies."""
    sizes = (*x.signal.shape[1:-1], x.count)
    return math.prod(sizes) if all(isinstance(size, int) for size in sizes) else None


def _convolved(x: Frames, frequencies: np.ndarray, in_turn: bool) -> Real:
    first, taps = _support(x)
    rows = np.stack(rows_of_dft(x.n, frequencies, np.arange(first, first + taps)), axis=1 if in_turn else 0)
    kernel = constant_from(rows.reshape(-1, 1, taps), x.dtype)
    if x.window is not None:
        kernel = functions.mul(kernel, functions.narrow(x.window, 0, first, taps))
    signal, before = functions.narrow(x.signal, -1, first, x.signal.shape[-1] - x.n + taps), x.signal.shape[:-1]
    if taps == x.n:
        signal = x.signal
    signal = torch.unsqueeze(signal, -2) if len(before) < 2 else torch.reshape(signal, (-1, 1, signal.shape[-1]))
    both = functions.conv1d(signal, kernel, stride=x.hop)
    return both if len(before) < 2 else torch.reshape(both, (*before, *both.shape[-2:]))


def _support(x: Frames) -> tuple[int, int]:
    """(first, how many) taps of the kernel: all, or those between many zeros at the ends of the window."""
    if x.window is None:
        return 0, x.n
    window = x.window
    there = compilation.eagerly(lambda: np.flatnonzero(window.value.numpy()))
    if len(there) == 0 or there[-1] - there[0] + 1 > (1 - WORTH_CUTTING) * x.n:
        return 0, x.n
    return int(there[0]), int(there[-1] - there[0] + 1)


def _note(x: Frames, plan: Plan, kind: str) -> None:
    state = compilation.current()
    state.transforms.append(Transform(state.module_path, x.n, plan.factors, kind, columns_of(x), x.hop))
