"""Frames of a signal, not cut out yet: n samples each, hop samples apart, under a window.

    frames[.., m, t] = window[t] signal[.., m hop + t]        m = 0 .. (L - n) // hop

What a transform makes of them may be one convolution, which never has them; framed.py chooses. Cutting is done in whole
blocks of hop samples, J = ceil(n / hop) of which a frame touches: frame m is made of the blocks m, m+1, .. m+J-1, so
that the frames are J slices of one tensor, side by side. A gather by samples, which is what torch.onnx makes of unfold,
takes 16 ms on ONNX Runtime for 2 M numbers, where J = 4 slices and their joining take 1.5.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch

from hamsa_deploy.spectral.dispatch import apply, emit, full, lazy_rule, operator_name
from hamsa_deploy.spectral.values import Constant, Lazy, Part, Real, constant_from, functions, is_complex
from hamsa_runtime.dft.factorisations import MOST_PIECES, pieces


class Frames(Lazy):
    """Frames of a real signal, (.., frames, n) or (.., n, frames).

    Args:
        signal: real, (.., L).
        n: samples of a frame.
        hop: samples from one frame to the next.
        window: (n,); None for ones.
        axis: of the samples, -1 or -2; the other one has the frames.
    """

    def __init__(self, signal: Real, n: int, hop: int, window: Constant | None = None, axis: int = -1) -> None:
        self.signal, self.n, self.hop, self.window, self.axis = signal, n, hop, window, axis
        self._value: Real = None

    @property
    def count(self) -> int:
        """How many frames there are; a torch.SymInt where the signal's length varies."""
        return cast(int, (self.signal.shape[-1] - self.n) // self.hop + 1)

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        last = (self.count, self.n) if self.axis == -1 else (self.n, self.count)
        return torch.Size((*self.signal.shape[:-1], *last))

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return cast(torch.dtype, self.signal.dtype)

    def materialise(self) -> Real:
        """The frames, cut out and under their window."""
        if self._value is None:
            self._value = self.cut(self.axis)
        return self._value

    def cut(self, axis: int) -> Real:
        """The frames under their window, with their samples along -1 or -2."""
        frames = self._pieces(axis) if pieces(self.n, self.hop) <= MOST_PIECES else self._gathered(axis)
        if self.window is None:
            return frames
        return torch.mul(frames, emit(self.window if axis == -1 else functions.unsqueeze(self.window, -1)))

    def under(self, window: Constant) -> Frames:
        """The frames under one more window."""
        both = window if self.window is None else functions.mul(self.window, window)
        return Frames(self.signal, self.n, self.hop, both, self.axis)

    def turned(self) -> Frames:
        """With the two last axes exchanged."""
        return Frames(self.signal, self.n, self.hop, self.window, -3 - self.axis)

    def _gathered(self, axis: int) -> Real:
        frames = torch.ops.aten.unfold.default(full(self.signal), -1, self.n, self.hop)
        return frames if axis == -1 else torch.transpose(frames, -1, -2)

    def _pieces(self, axis: int) -> Real:
        count, touched = self.count, pieces(self.n, self.hop)
        blocks = _blocks(full(self.signal), count + touched - 1, self.hop, touched * self.hop - self.n)
        if axis == -2:
            blocks = torch.transpose(blocks, -1, -2)
        beyond = -3 - axis  # the axis of the blocks
        parts = [torch.narrow(blocks, beyond, j, count) if touched > 1 else blocks for j in range(touched)]
        rest = self.n - (touched - 1) * self.hop
        if rest < self.hop:
            parts[-1] = torch.narrow(parts[-1], axis, 0, rest)
        return parts[0] if touched == 1 else torch.cat(parts, axis)


def _blocks(x: Real, count: int, size: int, missing: int) -> Real:
    """(.., count, size): the signal in blocks, with zeros for samples behind its end, at most `missing`."""
    samples = x.shape[-1]
    if not isinstance(samples, int):
        x = torch.narrow(torch.constant_pad_nd(x, [0, missing]) if missing else x, -1, 0, count * size)
    elif samples < count * size:
        x = torch.constant_pad_nd(x, [0, count * size - samples])
    elif samples > count * size:
        x = torch.narrow(x, -1, 0, count * size)
    return torch.reshape(x, (*x.shape[:-1], count, size))


@lazy_rule(Frames, "mul", "div")
def windowed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A product with a constant that is the same for every frame goes into the window."""
    frames, factor = args if isinstance(args[0], Frames) else (args[1], args[0])
    is_quotient = operator_name(func) == "div"
    if kwargs or not isinstance(frames, Frames) or (is_quotient and frames is not args[0]):
        return NotImplemented
    window = _as_window(frames, factor)
    if window is None:
        return NotImplemented
    return frames.under(functions.reciprocal(window) if is_quotient else window)


def _as_window(frames: Frames, factor: Any) -> Constant | None:
    """(n,): what a factor multiplies the samples of each frame with; None where it is none that all frames share."""
    if isinstance(factor, int | float):
        return cast(Constant, constant_from(np.full(frames.n, float(factor)), frames.dtype))
    if not isinstance(factor, Constant) or is_complex(factor) or not factor.dtype.is_floating_point:
        return None
    if factor.ndim and torch.promote_types(factor.dtype, frames.dtype) != frames.dtype:
        return None  # the product has the constant's precision
    place = factor.ndim + frames.axis
    if any(size != 1 and axis != place for axis, size in enumerate(factor.shape)):
        return None
    if factor.ndim > len(frames.shape):
        return None
    return cast(Constant, functions.expand_copy(functions.reshape(factor, (-1,)), (frames.n,)))


@lazy_rule(Frames, "transpose", "permute")
def turned(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The last two axes exchanged, and nothing else."""
    return args[0].turned() if _exchanges_the_last_two(func, args) else NotImplemented


@lazy_rule(Part, "transpose", "permute")
def exchanged(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The last two axes exchanged, and nothing else."""
    return args[0].exchanged() if _exchanges_the_last_two(func, args) else NotImplemented


def _exchanges_the_last_two(func: Any, args: tuple[Any, ...]) -> bool:
    x, *where = args
    rank = len(x.shape)
    if operator_name(func) == "transpose":
        return sorted(axis % rank for axis in where) == [rank - 2, rank - 1]
    return [axis % rank for axis in where[0]] == [*range(rank - 2), rank - 1, rank - 2]


@lazy_rule(Frames, "select", "unsqueeze")
def of_other_signals(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One signal of several, or an axis of length 1 before the frames."""
    x, dim, *position = args
    rank = len(x.shape)
    dim %= rank + (operator_name(func) == "unsqueeze")
    if dim >= rank - 2 + (operator_name(func) == "unsqueeze"):
        return NotImplemented
    return Frames(apply(func, (x.signal, dim, *position), kwargs), x.n, x.hop, x.window, x.axis)


@lazy_rule(Frames, "clone", "contiguous", "alias", "detach")
def same(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Copies, which mean nothing in a graph without side effects."""
    return args[0]
