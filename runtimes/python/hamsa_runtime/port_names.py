"""What a loaded model calls its inputs and outputs, and of what size they are, compared with the manifest; for the
backends of all engines."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from hamsa_runtime.errors import BuildError
from hamsa_runtime.manifest import InputSpec


def check_names(kind: str, declared: Iterable[str], found: Sequence[Collection[str]]) -> None:
    """Compares the manifest's inputs or outputs with a loaded model's ports (each may have several names).

    Raises:
        BuildError: they are not the same.
    """
    names = list(declared)
    if len(names) != len(found) or not all(any(name in port for port in found) for name in names):
        raise BuildError(
            f"the model's {kind} are {', '.join('/'.join(sorted(port)) for port in found)}",
            expected=f"{', '.join(names)}, as the manifest says",
        )


def check_input(declared: InputSpec, dtype: str, shape: Sequence[int | None] | None) -> None:
    """Compares one input with the model's own, before anything of the size that the manifest says is allocated.

    Args:
        declared: as the manifest has it.
        dtype: as the model has it, by the manifest's names.
        shape: as the model has it; None for a size that is free, and for a model that does not say.

    Raises:
        BuildError: another type or shape, or a size that is fixed in one of them and free in the other.
    """
    wanted = [None if isinstance(size, str) else size for size in declared.shape]
    if dtype != declared.dtype or shape is None or list(shape) != wanted:
        shown = "any shape" if shape is None else f"({', '.join('any' if n is None else str(n) for n in shape)})"
        raise BuildError(
            f"the model's input {declared.name!r} is {dtype} {shown}",
            expected=f"{declared.dtype} {declared.shape}, as the manifest says",
            cause="a manifest of another model, or one that was changed",
            fix="export the model again",
        )


def as_identifiers(names: Sequence[str]) -> Mapping[str, str]:
    """What an engine calls a graph's inputs or outputs whose names have to be identifiers, by what the manifest does:
    the same wherever it can be. "state.heard" -> "state_heard".

    Args:
        names: each once, in the graph's order.
    """
    found: dict[str, str] = {}
    for index, name in enumerate(names):
        text = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not text.isidentifier() or keyword.iskeyword(text):
            text = f"port_{index}"
        while text in found.values() or (text != name and text in names):
            text += "_"
        found[name] = text
    return found
