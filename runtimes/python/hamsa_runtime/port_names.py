"""What a loaded model calls its inputs and outputs, compared with the manifest; for the backends of all engines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from hamsa_runtime.errors import BuildError


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
