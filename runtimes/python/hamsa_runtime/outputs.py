"""Which output is the logits: a graph says what its outputs are by their names and shapes only.

Whoever needs an output for something of its own takes the one of that name, or the only one. What people must have
asked for by name, such as the verdict on classes, does not take another one in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

# One number for each class, (images, classes); and one feature vector for each image, (images, width).
LOGITS, EMBEDDING = "logits", "embedding"


def named_or_only(name: str, outputs: Collection[str]) -> str | None:
    """The output of that name, or the only one, whatever it is called; None for several of other names, or none."""
    if name in outputs:
        return name
    return next(iter(outputs)) if len(outputs) == 1 else None


def classes_in(shape: Sequence[int | str]) -> int | None:
    """How many classes, two at least, an output of this shape has a number for in each image; None if it has not.

    Args:
        shape: of an array, or as a manifest has it: (N, C), where N may be "batch".
    """
    if len(shape) != 2 or not isinstance(shape[1], int):
        return None
    return shape[1] if shape[1] > 1 else None
