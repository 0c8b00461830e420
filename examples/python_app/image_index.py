"""An index of images on disk: which files it holds, of which bundle, and their vectors in faiss's format.

    index/index.json                 the bundle, and for each image path, sha256 and key
    index/vectors-<sha256>.faiss     the vectors by key; index.json says which of these files is the one

A new state is two new files, and the rename of index.json makes it the current one: whoever reads sees the old state or
the new one, and a process that is killed leaves the old one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import faiss
import numpy as np
from embedding import Identity

from hamsa_runtime import InputError

FORMAT = 1
FILE = "index.json"
VECTORS = "vectors-*.faiss"


@dataclass(frozen=True)
class Entry:
    """An image: the hash of its file, and the key of its vector."""

    sha256: str
    key: int


class ImageIndex:
    """Images and their vectors, searched by cosine similarity: all of them, which is exact, and takes milliseconds for
    a hundred thousand. For many millions, faiss has approximate indexes with the same methods.

    Attributes:
        bundle: what made the vectors.
        folder: where that bundle was.
        entries: by absolute path.
    """

    def __init__(self, bundle: Identity, folder: Path, entries: dict[str, Entry], vectors: faiss.IndexIDMap2) -> None:
        self.bundle, self.folder, self.entries, self._vectors = bundle, folder, entries, vectors
        self._key = max((entry.key for entry in entries.values()), default=-1)

    @classmethod
    def empty(cls, bundle: Identity, folder: Path, width: int) -> ImageIndex:
        """For vectors (width,) of this bundle."""
        return cls(bundle, folder, {}, faiss.IndexIDMap2(faiss.IndexFlatIP(width)))

    @classmethod
    def load(cls, index: Path) -> ImageIndex:
        """Raises InputError: there is no index, or one that is damaged or of another version of this program."""
        if not (index / FILE).is_file():
            raise InputError(f"{index}: no image index", expected=f"a folder with {FILE}", fix="search.py index")
        try:
            document = json.loads((index / FILE).read_bytes())
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']}, not {FORMAT}")
            entries = {path: Entry(**entry) for path, entry in document["images"].items()}
            vectors = faiss.deserialize_index(_verified(index, document["vectors"]))
            return cls(Identity(**document["bundle"]), Path(document["folder"]), entries, vectors)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{index}: the index cannot be read ({error})",
                expected="the files that search.py index wrote",
                fix="remove the folder, and index again",
            ) from error

    def save(self, index: Path) -> None:
        """Replaces what is in `index`, in one step."""
        vectors = faiss.serialize_index(self._vectors).tobytes()
        digest = hashlib.sha256(vectors).hexdigest()
        document = {
            "format": FORMAT,
            "bundle": asdict(self.bundle),
            "folder": str(self.folder),
            "vectors": digest,
            "images": {path: asdict(entry) for path, entry in sorted(self.entries.items())},
        }
        current = _vectors_file(index, digest)
        _replace_file(current, vectors)
        _replace_file(index / FILE, json.dumps(document, indent=1).encode())
        for path in index.glob(VECTORS):
            if path != current:
                path.unlink()

    def __len__(self) -> int:
        return len(self.entries)

    def has(self, path: Path, sha256: str) -> bool:
        """Whether the vector of this content of the file is there."""
        entry = self.entries.get(str(path))
        return entry is not None and entry.sha256 == sha256

    def add(self, path: Path, sha256: str, vector: np.ndarray) -> None:
        """Adds an image, or replaces the vector that it has."""
        self.remove(path)
        self._key += 1
        self._vectors.add_with_ids(_unit(vector), np.array([self._key]))
        self.entries[str(path)] = Entry(sha256, self._key)

    def remove(self, path: Path) -> None:
        """Forgets an image, if it is there."""
        entry = self.entries.pop(str(path), None)
        if entry is not None:
            self._vectors.remove_ids(np.array([entry.key]))

    def nearest(self, vector: np.ndarray, count: int) -> list[tuple[float, Path]]:
        """The images whose vectors are most similar to `vector`: cosine similarity and path, the nearest first."""
        paths = {entry.key: Path(path) for path, entry in self.entries.items()}
        similarities, keys = self._vectors.search(_unit(vector), min(count, len(paths)))
        return [(float(each), paths[int(key)]) for each, key in zip(similarities[0], keys[0], strict=True)]


@contextlib.contextmanager
def writing(index: Path) -> Iterator[None]:
    """For one process at a time. Raises InputError: another one has it."""
    index.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(index, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise InputError(f"{index}: another process is writing this index", fix="wait for it") from error
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # that was new, and nothing was written into it
            index.rmdir()


def _vectors_file(index: Path, digest: str) -> Path:
    return index / VECTORS.replace("*", digest[:16])


def _verified(index: Path, digest: str) -> np.ndarray:
    """faiss is native code: it gets what this program wrote, or nothing."""
    data = _vectors_file(index, digest).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError("the vectors were changed or cut")
    return np.frombuffer(data, np.uint8)


def _unit(vector: np.ndarray) -> np.ndarray:
    """(1, width), of length 1: the product of two such vectors is their cosine."""
    row = vector.astype(np.float32)[None]
    return row / np.linalg.norm(row)


def _replace_file(path: Path, data: bytes) -> None:
    """There is one writer at a time, so that one temporary name is enough, and what a killed one left is reused."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
