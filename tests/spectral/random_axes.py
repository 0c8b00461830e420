"""Placeholders for axes, and for the lengths and norms of transforms along them."""

from __future__ import annotations

from .random_filling import Filling, placeholder

NORMS = (None, "ortho", "forward", "backward")
LONG_LENGTHS = (420, 441, 509)  # above the length up to which one dense product is used: factored, and a prime


@placeholder("axis")
def axis(filling: Filling) -> str:
    rank = len(filling.shape)
    quiet = [a for a in range(rank) if filling.shape[a] not in filling.scope.spectrum]
    # A spectrum is mostly worked on along its other axes: anything else needs the full spectrum.
    along = quiet if quiet and filling.whole(0, 3) else range(rank)
    return filling.draw_axis(along)


@placeholder("other")
def other(filling: Filling) -> str:
    rank = len(filling.shape)
    return str(filling.signed(filling.one_of([a for a in range(rank) if a != filling.axis]), rank))


@placeholder("new")
def new_axis(filling: Filling) -> str:
    rank = len(filling.shape) + 1
    return str(filling.signed(filling.whole(0, rank - 1), rank))


def several_axes(filling: Filling, least: int, most: int) -> str:
    rank = len(filling.shape)
    count = filling.whole(least, min(most, rank))
    filling.axes = filling.order(rank)[:count]
    return str(tuple(filling.signed(a, rank) for a in filling.axes))


@placeholder("axes")
def axes(filling: Filling) -> str:
    return several_axes(filling, 1, 4)


@placeholder("two")
def two_axes(filling: Filling) -> str:
    return several_axes(filling, 2, 2)


def transform_length(filling: Filling, length: int, half: bool) -> int:
    """A length around the present one; for a one-sided spectrum, around twice of it."""
    whole = 2 * (length - 1) if half else length
    choices = {max(1, whole + delta) for delta in (-2, -1, 0, 1, 3)} | {max(1, whole // 2), 2 * whole + 1}
    if filling.leader.exact.numel() <= 64:
        choices |= set(LONG_LENGTHS)
    return filling.one_of(sorted(choices))


def optional_length(filling: Filling, half: bool) -> str:
    is_needed = half and filling.length == 1  # the default would be a length of zero
    if not is_needed and filling.coin():
        return ""
    return f", n={transform_length(filling, filling.length, half)}"


@placeholder("n")
def n(filling: Filling) -> str:
    return optional_length(filling, half=False)


@placeholder("half_n")
def half_n(filling: Filling) -> str:
    return optional_length(filling, half=True)


def optional_lengths(filling: Filling, half: bool) -> str:
    sizes = [filling.shape[a] for a in filling.axes]
    is_needed = half and sizes[-1] == 1
    if not is_needed and filling.coin():
        return ""
    last = len(sizes) - 1
    lengths = [transform_length(filling, size, half and i == last) for i, size in enumerate(sizes)]
    return f", s={tuple(lengths)}"


@placeholder("s")
def s(filling: Filling) -> str:
    return optional_lengths(filling, half=False)


@placeholder("half_s")
def half_s(filling: Filling) -> str:
    return optional_lengths(filling, half=True)


@placeholder("norm")
def norm(filling: Filling) -> str:
    choice = filling.one_of(NORMS)
    return f', norm="{choice}"' if choice else ""
