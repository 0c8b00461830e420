"""What hamsa-embed wrote, opened for search: the ids and vectors of all its parts, or the first numbers of each vector.

With e the vector of an image, and k from 1 to its width,

    e_k = e[:k] / |e[:k]|,    similarity of two images = e_k · e'_k

A model that was trained for it (Matryoshka representations, Kusupati et al. 2022) has what matters most in its first
numbers; `recall` says what any other loses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from embedding import Identity

from hamsa_runtime import InputError, MissingError

JOB, LISTING = "_hamsa/job.json", "_hamsa/listing.parquet"
NEIGHBOURS = 10
# Numbers of the shortest vectors that `recalls` tries.
SMALLEST = 8
# Vectors that are read at once: at a width of 384 and 4 bytes a number, 12 MB.
ROWS = 8192


class Embedded:
    """Images and their vectors, cut to `size` numbers each, searched by cosine similarity: all of them, which is exact.

    Attributes:
        bundle: what made the vectors.
        folder: where that bundle was, which hamsa-embed does not keep.
        size: numbers of each vector that are compared.
    """

    folder: Path | None = None

    def __init__(self, folder: Path, size: int | None = None) -> None:
        self.bundle, self._embedded = bundle_of(folder), folder
        width = next((vectors.shape[1] for _, vectors in rows_of(folder)), 0)
        if not width:
            raise InputError(f"{folder}: no vectors", cause="no image could be read, or the job has not begun")
        self.size = size or width
        if self.size > width:
            raise InputError(f"a size of {size}", expected=f"1 to {width}, the width of the vectors in {folder}")
        self._ids: list[str] = []
        self._vectors = faiss.IndexFlatIP(self.size)
        for ids, vectors in rows_of(folder):
            self._ids += ids
            self._vectors.add(unit(vectors, self.size))

    def __len__(self) -> int:
        return len(self._ids)

    def nearest(self, vector: np.ndarray, count: int) -> list[tuple[float, Path]]:
        """The images whose vectors are most similar to `vector`: cosine similarity and path, the nearest first."""
        similarities, rows = self._vectors.search(unit(vector[None], self.size), min(count, len(self)))
        paths = paths_of(self._embedded, [self._ids[row] for row in rows[0]])
        return [(float(each), path) for each, path in zip(similarities[0], paths, strict=True)]

    def neighbours(self, rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(queries, NEIGHBOURS): the rows most like each of `vectors`, which are those of `rows`, without itself."""
        _, found = self._vectors.search(unit(vectors, self.size), NEIGHBOURS + 1)
        others = found != rows[:, None]
        others[others.all(axis=1), -1] = False  # it is not even among its own nearest: many are the same
        return found[others].reshape(len(rows), NEIGHBOURS)


def recalls(folder: Path, queries: int) -> Iterator[tuple[int, float]]:
    """What is lost if only the first numbers of the vectors are kept.

    With N_k(q) the NEIGHBOURS images that are most like the query q by vectors of size k, without q itself:

        recall(k) = mean over q of |N_k(q) ∩ N_width(q)| / NEIGHBOURS

    Args:
        folder: what hamsa-embed wrote.
        queries: as many of its images, the same ones each time; all of them, if there are fewer.

    Yields:
        k and recall(k): the width first, then half of it, and so on, down to SMALLEST.
    """
    whole = Embedded(folder)
    if len(whole) <= NEIGHBOURS:
        raise InputError(
            f"{folder}: {len(whole)} images", expected=f"more than {NEIGHBOURS}, to have as many neighbours"
        )
    chosen = np.random.default_rng(0).choice(len(whole), min(queries, len(whole)), replace=False)
    rows = np.sort(chosen)
    vectors = _vectors_of(folder, rows)
    nearest = whole.neighbours(rows, vectors)
    size = whole.size
    del whole  # one of them in memory at a time
    while size >= SMALLEST:
        found = nearest if size == vectors.shape[1] else Embedded(folder, size).neighbours(rows, vectors)
        common = [len(np.intersect1d(*pair)) for pair in zip(found, nearest, strict=True)]
        yield size, float(np.mean(common)) / NEIGHBOURS
        size //= 2


def bundle_of(folder: Path) -> Identity:
    """Raises InputError: hamsa-embed has written nothing here."""
    try:
        return Identity("a bundle", json.loads((folder / JOB).read_bytes())["bundle"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / JOB}: cannot be read ({error})", expected="what hamsa-embed wrote") from error


def paths_of(folder: Path, ids: list[str]) -> list[Path]:
    """Where images are. Of a folder or a list, hamsa-embed has kept the paths; other ids stand for themselves."""
    wanted = dict.fromkeys(ids)
    if (folder / LISTING).is_file():
        for batch in _parquet().ParquetFile(folder / LISTING).iter_batches(ROWS):
            for id, path in zip(batch["id"].to_pylist(), batch["path"].to_pylist(), strict=True):
                if id in wanted:
                    wanted[id] = os.fsdecode(path)
    return [Path(wanted[id] or id) for id in ids]


def rows_of(folder: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """Ids and vectors (n, width) of all parts, some at a time; rows of images that could not be read have none."""
    for part in sorted(folder.glob("*.parquet")):
        for batch in _parquet().ParquetFile(part).iter_batches(ROWS, columns=["id", "embedding"]):
            good = batch.filter(batch["embedding"].is_valid())
            if len(good):
                vectors = good["embedding"].flatten().to_numpy(zero_copy_only=False)
                yield good["id"].to_pylist(), vectors.reshape(len(good), -1)


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingError("pyarrow is not installed", fix="pip install 'hamsa-runtime[embed]'") from error
    return pyarrow.parquet


def _vectors_of(folder: Path, rows: np.ndarray) -> np.ndarray:
    """(queries, width): the vectors of some rows, counted over all parts, in ascending order."""
    found, start = [], 0
    for ids, vectors in rows_of(folder):
        here = rows[(rows >= start) & (rows < start + len(ids))] - start
        found.append(vectors[here])
        start += len(ids)
    return np.concatenate(found)


def unit(vectors: np.ndarray, size: int) -> np.ndarray:
    """(n, size): e_k of each row; a product of two of them is a cosine."""
    cut = vectors[:, :size].astype(np.float32)
    return cut / np.linalg.norm(cut, axis=1, keepdims=True)
