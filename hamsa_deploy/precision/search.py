"""Which layers have to return to floating point for the accuracy to hold: as few as possible."""

from __future__ import annotations

from collections.abc import Callable


def fewest_kept(layers: int, drop_with: Callable[[int], float], max_drop: float) -> int | None:
    """How many of the costliest layers must stay in floating point.

    The number is doubled until the drop is small enough, then halved down to the smallest: a handful of measurements
    of the real bundle, for what would otherwise be one for each layer.

    Args:
        layers: how many there are; one at least must become int8.
        drop_with: measures the loss of accuracy, in percentage points, with that many layers kept.
        max_drop: the largest loss allowed, likewise.

    Returns:
        The number, or None if the loss is too large even with one layer left in int8.
    """
    too_few, enough = -1, 0
    while drop_with(enough) > max_drop:
        if enough == layers - 1:
            return None
        too_few, enough = enough, min(max(1, 2 * enough), layers - 1)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if drop_with(middle) > max_drop:
            too_few = middle
        else:
            enough = middle
    return enough
