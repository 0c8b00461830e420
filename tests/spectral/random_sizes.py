"""Placeholders for numbers, indices and shapes: what fits the axes of the operand."""

from __future__ import annotations

import math

from .random_filling import Filling, placeholder
from .random_scope import Unsuitable

SCALARS = (2, 0.5, -1.5, 3, 1, -2.25)
IMAGINARY = ("(1+2j)", "1j", "(-0.5+0.25j)", "-2j", "(1.5+0j)")


@placeholder("scalar")
def scalar(filling: Filling) -> str:
    return str(filling.one_of(SCALARS))


@placeholder("imaginary")
def imaginary(filling: Filling) -> str:
    return filling.one_of(IMAGINARY)


@placeholder("index")
def index(filling: Filling) -> str:
    return str(filling.whole(-filling.length, filling.length - 1))


def positions(filling: Filling, length: int) -> list[int]:
    return [filling.whole(0, length - 1) for _ in range(filling.whole(1, 4))]


@placeholder("indices")
def indices(filling: Filling) -> str:
    """Along the axis drawn, else along the first or the last one, whichever is shorter: both are indexed with these."""
    ends = (filling.shape[0], filling.shape[-1]) if filling.shape else (filling.one_of([]),)
    length = filling.length if filling.axis_drawn is not None else min(ends)
    return f"torch.tensor({positions(filling, length)})"


@placeholder("permuted")
def permuted(filling: Filling) -> str:
    return f"torch.tensor({filling.order(filling.length)})"


def across(filling: Filling, numbers: list[int]) -> str:
    """Indices along one axis, the same for all others, expanded to the operand's rank."""
    rank, shape = len(filling.shape), list(filling.shape)
    column = [1] * rank
    column[filling.axis], shape[filling.axis] = len(numbers), len(numbers)
    return f"torch.tensor({numbers}).reshape({column}).expand({shape})"


@placeholder("gather")
def gather(filling: Filling) -> str:
    return across(filling, positions(filling, filling.length))


@placeholder("gather_permuted")
def gather_permuted(filling: Filling) -> str:
    return across(filling, filling.order(filling.length))


@placeholder("start_length")
def start_length(filling: Filling) -> str:
    start = filling.whole(0, filling.length - 1)
    return f"{start}, {filling.whole(1, filling.length - start)}"


@placeholder("slice")
def one_slice(filling: Filling) -> str:
    """A slice along one axis, never empty."""
    rank = len(filling.shape)
    filling.draw_axis(range(rank))
    start = filling.whole(0, filling.length - 1)
    stop = filling.whole(start + 1, filling.length)
    step = filling.one_of(("", ":2"))
    text = f"{start or ''}:{stop if stop < filling.length else ''}{step}"
    return ", ".join([":"] * filling.axis + [text])


@placeholder("size")
def size(filling: Filling) -> str:
    filling.rows = filling.whole(1, filling.length)
    return str(filling.rows)


@placeholder("piece")
def piece(filling: Filling) -> str:
    return str(filling.whole(0, math.ceil(filling.length / filling.rows) - 1))


@placeholder("shift")
def shift(filling: Filling) -> str:
    return str(filling.whole(-filling.length, filling.length))


@placeholder("padding")
def padding(filling: Filling) -> str:
    """Before and after the last axis, or the last two; negative numbers crop."""
    count = filling.whole(1, min(2, len(filling.shape)))
    widths: list[int] = []
    for length in filling.shape[::-1][:count]:
        widths += [filling.whole(-1 if length > 1 else 0, 3), filling.whole(0, 2)]
    return str(tuple(widths))


@placeholder("expanded")
def expanded(filling: Filling) -> str:
    """The shape with the new axis, a single one, widened."""
    place = int(filling.texts["new"]) % (len(filling.shape) + 1)
    shape = list(filling.shape)
    shape.insert(place, filling.whole(1, 3))
    return str(tuple(shape))


@placeholder("repeats")
def repeats(filling: Filling) -> str:
    extra = filling.whole(0, 1)
    return str(tuple(filling.whole(1, 2) for _ in range(len(filling.shape) + extra)))


@placeholder("shape")
def shape(filling: Filling) -> str:
    """Another shape for as many elements: two neighbours joined, or one axis split."""
    sizes = list(filling.shape) or filling.one_of([])
    place = filling.whole(0, len(sizes) - 1)
    if place + 1 < len(sizes):
        sizes[place : place + 2] = [sizes[place] * sizes[place + 1]]
    else:
        sizes[place:] = factor_pair(filling, sizes[place])
    sizes[filling.whole(0, len(sizes) - 1)] = -1
    return str(tuple(sizes))


@placeholder("factors")
def factors(filling: Filling) -> str:
    return str(tuple(factor_pair(filling, filling.length)))


def factor_pair(filling: Filling, product: int) -> list[int]:
    first = filling.one_of([d for d in range(1, product + 1) if product % d == 0])
    return [first, product // first]


@placeholder("permutation")
def permutation(filling: Filling) -> str:
    rank = len(filling.shape)
    order = filling.order(rank)
    return ", ".join(str(filling.signed(a, rank)) for a in order) or filling.one_of([])


@placeholder("last_shape")
def last_shape(filling: Filling) -> str:
    """For layer_norm: over a single element it would be zero."""
    last = filling.shape[-1] if filling.shape else 1
    return str((last,)) if last > 2 else filling.one_of([])


@placeholder("frame")
def frame(filling: Filling) -> str:
    """Samples of a frame, so many that PyTorch can pad the signal by reflection.

    Even, as torch.export cannot capture istft with an odd number (torch._refs.istft: `irfft` without a length)."""
    if len(filling.shape) > 2:
        raise Unsuitable
    return str(2 * filling.whole(2, min(12, filling.shape[-1]) // 2))


@placeholder("even_frame")
def even_frame(filling: Filling) -> str:
    filling.texts["frame"] = str(int(frame(filling)) // 2 * 2)
    return filling.texts["frame"]


@placeholder("hop")
def hop(filling: Filling) -> str:
    return str(filling.whole(1, int(filling.texts["frame"])))


@placeholder("window")
def window(filling: Filling) -> str:
    """One that is zero nowhere, so that the frames can be put together again."""
    return f"torch.hamming_window({filling.texts['frame']}, dtype=self.real_dtype)"
