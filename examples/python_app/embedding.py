"""Images to vectors, with a bundle whose model has an output "embedding"."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hamsa_runtime import Engine, InputError

OUTPUT = "embedding"
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class Identity:
    """Which bundle: vectors of one model mean nothing to another. The manifest holds the hashes of all other files."""

    name: str
    manifest: str

    def __str__(self) -> str:
        return f"{self.name} (manifest {self.manifest[:12]})"


def identity_of(engine: Engine) -> Identity:
    """The bundle that runs.

    Raises:
        InputError: its model has no output "embedding".
    """
    outputs = [spec.name for spec in engine.manifest.outputs]
    if OUTPUT not in outputs:
        raise InputError(
            f"{engine.folder}: the outputs of this model are {', '.join(outputs)}",
            expected=f"one that is called {OUTPUT!r}",
            fix="export a model that returns a feature vector as well, as the built-in ones do",
        )
    manifest = (engine.folder / "manifest.json").read_bytes()
    return Identity(engine.manifest.name, hashlib.sha256(manifest).hexdigest())


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and its subfolders, by their names.

    Raises:
        InputError: there are none.
    """
    found = sorted(path for path in folder.resolve().rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"{folder}: no images", expected="a folder with files in " + ", ".join(sorted(SUFFIXES)))
    return found


def embeddings(engine: Engine, paths: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray | InputError]]:
    """The vector (width,) of each image, or why it has none, in order.

    `engine.stream` decodes the next images during inference. An image that it cannot read ends a stream, in the place
    of that image, so a new one goes on behind it.
    """
    done = 0
    while done < len(paths):
        try:
            for outputs in engine.stream(paths[done:]):
                done += 1
                yield paths[done - 1], outputs[OUTPUT][0]
        except InputError as error:
            done += 1
            yield paths[done - 1], error
