"""Names for a model's outputs, whatever container it returns them in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch.utils import _pytree as pytree


def names_of(outputs: Any, taken: Collection[str] = ()) -> list[str]:
    """One name per output, in order.

    {"logits": a, "embedding": b} -> logits, embedding; a single tensor -> output; (a, b) -> output_0, output_1. A name
    that an input has `taken` gets _out at its end.
    """
    names = [_name(path) for path, _ in pytree.tree_flatten_with_path(outputs)[0]]
    return [f"{name}_out" if name in taken else name for name in names]


def _name(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
    if not parts:
        return "output"
    return "_".join(parts) if not parts[0].isdigit() else "output_" + "_".join(parts)
