"""Names for a model's outputs, whatever container it returns them in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch.utils import _pytree as pytree

from hamsa_runtime.errors import InputError


def names_of(outputs: Any, taken: Collection[str] = ()) -> list[str]:
    """One name per output, in order; no name twice.

    {"logits": a, "embedding": b} -> logits, embedding; a single tensor -> output; (a, b) -> output_0, output_1. A name
    that an input or an earlier output has `taken` gets _out at its end.

    Raises:
        InputError: a key of the model's container is no name.
    """
    names: list[str] = []
    for path, _ in pytree.tree_flatten_with_path(outputs)[0]:
        name = _name(path)
        if not name.isprintable():
            raise InputError(f"an output called {name!r}", expected="a name without control characters")
        while name in taken or name in names:
            name += "_out"
        names.append(name)
    return names


def _name(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
    if not any(parts):
        return "output"
    return "_".join(parts) if not parts[0].isdigit() else "output_" + "_".join(parts)
