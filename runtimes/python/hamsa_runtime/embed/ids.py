"""Which ids are there twice, and in which of two sets each is, for any number of them in bounded memory.

An id is counted as a hash of 128 bits (BLAKE2b): among 10^9 ids two are equal by accident with a probability of

    n^2 / 2^129 = 10^18 / 7 10^38 < 2 10^-21

Hashes are written to BUCKETS files, by their first bits, and each file is sorted by itself. A set takes 16 bytes of
disk for an id; up to HELD ids there is no file.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from types import TracebackType
from typing import IO, NamedTuple

import numpy as np

HASH_BYTES = 16
BUCKETS = 256
HELD = 1 << 20
SHOWN = 5
# A hash as numbers that NumPy sorts.
PAIR = np.dtype([("first", np.uint64), ("last", np.uint64)])


def hash_of_id(id: str) -> bytes:
    """16 bytes."""
    return blake2b(id.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


class IdSet:
    """Ids, of which only hashes are kept. A context manager: the files go with it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._files: list[IO[bytes]] = []
        self._held: list[bytes] = []

    def __enter__(self) -> IdSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, ids: Iterable[str]) -> None:
        """Some more."""
        ids = iter(ids)
        while more := list(islice(ids, HELD)):
            self._held += map(hash_of_id, more)
            if len(self._held) >= HELD:
                self._write()

    def buckets(self) -> Iterator[np.ndarray]:
        """Sorted hashes, those of a bucket at a time; of every set in the same buckets."""
        rest, self._held = np.frombuffer(b"".join(self._held), PAIR), []
        where = _bucket_of(rest)
        for k in range(BUCKETS):
            parts = [rest[where == k]]
            if self._files:
                self._files[k].seek(0)
                parts.append(np.frombuffer(self._files[k].read(), PAIR))
            yield np.sort(np.concatenate(parts))

    def _write(self) -> None:
        if not self._files:
            self._files = [self._stack.enter_context(_scratch()) for _ in range(BUCKETS)]
        hashes, self._held = np.frombuffer(b"".join(self._held), PAIR), []
        where = _bucket_of(hashes)
        for k, file in enumerate(self._files):
            file.write(hashes[where == k].tobytes())


def _scratch() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _bucket_of(hashes: np.ndarray) -> np.ndarray:
    return hashes["first"] >> np.uint64(64 - BUCKETS.bit_length() + 1)


class Found(NamedTuple):
    """How many ids, and the hashes of a few of them, to be named."""

    number: int
    some: frozenset[bytes]


def twice(ids: IdSet) -> Found:
    """Ids that were added more than once."""
    return _found(np.unique(bucket[1:][bucket[1:] == bucket[:-1]]) for bucket in ids.buckets())


def compared(ids: IdSet, others: IdSet) -> tuple[Found, Found, Found]:
    """Ids that are not among the others; others that are not among the ids; and others that are there twice."""
    missing, unknown, again = [], [], []
    for bucket, other in zip(ids.buckets(), others.buckets(), strict=True):
        missing.append(_few(np.setdiff1d(bucket, other)))
        unknown.append(_few(np.setdiff1d(other, bucket)))
        again.append(_few(np.unique(other[1:][other[1:] == other[:-1]])))
    return _sum(missing), _sum(unknown), _sum(again)


def _found(buckets: Iterable[np.ndarray]) -> Found:
    return _sum([_few(bucket) for bucket in buckets])


def _few(hashes: np.ndarray) -> Found:
    return Found(len(hashes), frozenset(each.tobytes() for each in hashes[:SHOWN]))


def _sum(found: Sequence[Found]) -> Found:
    some = [each for few in found for each in sorted(few.some)]
    return Found(sum(few.number for few in found), frozenset(some[:SHOWN]))


def named(found: Found, ids: Iterable[str]) -> list[str]:
    """Those of the few that are among some ids; these are read until all of them are found."""
    names: dict[bytes, str] = {}
    for id in ids:
        if len(names) == len(found.some):
            break
        if (digest := hash_of_id(id)) in found.some:
            names[digest] = id
    return sorted(names.values())
