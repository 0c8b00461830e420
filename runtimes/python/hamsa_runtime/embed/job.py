"""A job in its output folder: what it computes, from what, and the names of its parts.

    OUT/part-0000012-<fingerprint>.parquet      the vectors of shard 12
    OUT/_hamsa/job.json                         what the fingerprint is of
    OUT/_hamsa/listing.parquet                  the rows of a folder or list
    OUT/_hamsa/12.lock                          shard 12 is in work; its owner holds a lock on it

Readers of Parquet folders pass over names that begin with _. Two jobs of one fingerprint compute the same: the bundle's
hash, the engine, its version, device and precision, the columns and the input are in it. A folder belongs to one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamsa_runtime.embed.ids import IdSet, named, twice
from hamsa_runtime.embed.listing import entries_of, hash_of_entries, write_listing
from hamsa_runtime.embed.sources import Shard, Source, hash_of_files, ids_of, shards_of
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_file, small_file
from hamsa_runtime.locks import POLL_SECONDS, kept_lock, lock_if_free
from hamsa_runtime.whole_files import DISK_ERRORS, remove_leftovers, replace_file

INSIDE, JOB, LISTING, LOCK = "_hamsa", "job.json", "listing.parquet", "job.lock"
MOST_BYTES = 1 << 20
DIGITS = 16

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One job, opened: its folder, what it is, and its shards."""

    folder: Path
    facts: Facts
    source: Source
    shards: tuple[Shard, ...]

    @property
    def fingerprint(self) -> str:
        """Of all facts."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:DIGITS]

    def part(self, shard: Shard) -> Path:
        """Where the vectors of a shard are, once they are."""
        return self.folder / f"part-{shard.number:07}-{self.fingerprint}.parquet"

    @contextlib.contextmanager
    def claimed(self, shard: Shard) -> Iterator[bool]:
        """Whether this process may work on a shard. Where the file system has no locks, each may: two processes then
        compute the same part twice, and the last one's stays."""
        with contextlib.ExitStack() as stack:
            try:
                is_free = stack.enter_context(lock_if_free(self.folder / INSIDE / f"{shard.number}.lock"))
            except OSError:
                is_free = True
            yield is_free


def job_in(folder: Path, source: Source, facts: Facts, rows: int, *, check_input: bool = True) -> Job:
    """Opens the job of a folder; makes it, where there is none. Other processes wait for the one that does.

    Args:
        folder: for the output. It is made.
        source: of the rows.
        facts: what is computed, and by what.
        rows: of a part, at most.
        check_input: list a folder again, and compare: what was added to it would be missing from the output.

    Raises:
        InputError: the folder holds another job, or cannot be written to.
    """
    inside = folder / INSIDE
    try:
        inside.mkdir(parents=True, exist_ok=True)
        with kept_lock(inside / LOCK, _wait):
            remove_leftovers(inside)
            remove_leftovers(folder)
            return _job(folder, source, facts, rows, check_input)
    except OSError as error:
        raise unwritable(folder, error) from error


def _job(folder: Path, source: Source, facts: Facts, rows: int, check_input: bool) -> Job:
    file, listing = folder / INSIDE / JOB, folder / INSIDE / LISTING
    stored = _stored(file) if is_file(file) else None
    is_listed = source.kind in ("folder", "list")
    if stored is not None and is_listed and not check_input:
        found = stored.get("input", {}).get("sha256")
    elif is_listed and stored is None:
        found = write_listing(entries_of(source), listing, rows)
    elif is_listed:
        found = hash_of_entries(entries_of(source))
    else:
        found = hash_of_files(source.files)
    facts = {**facts, "input": {"kind": source.kind, "sha256": found, "rows_of_a_part": rows}}
    if stored is not None:
        _check_same(stored, facts, folder)
    shards = tuple(shards_of([listing] if is_listed else source.files, rows))
    if not shards:
        raise InputError(f"{source.path}: no rows in it", expected=f"files in {', '.join(source.suffixes)}")
    if stored is None and source.kind in ("list", "parquet"):
        _check_ids(source, shards)
    if stored is None:
        replace_file(file, json.dumps(facts, indent=2).encode())
    return Job(folder, facts, source, shards)


def _check_ids(source: Source, shards: Sequence[Shard]) -> None:
    """Rows of one id could not be told apart in the output. In folders and tar files each has its own."""
    with IdSet() as ids:
        for shard in shards:
            ids.add(ids_of(shard, source.suffixes))
        found = twice(ids)
    if found.number:
        all_ids = (id for shard in shards for id in ids_of(shard, source.suffixes))
        names = [repr(id) for id in named(found, all_ids)]
        raise InputError(
            f"{source.path}: ids that are there more than once: {found.number}, such as {', '.join(names)}",
            expected="an id of its own for each row",
            fix="sort -u for a list; for Parquet files a column id",
        )


def _stored(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(small_file(file, "the job", "a job, as hamsa-embed writes it", MOST_BYTES))
    except ValueError as error:
        raise _damaged(file) from error
    if not isinstance(found, dict):
        raise _damaged(file)
    return found


def _damaged(file: Path) -> InputError:
    return InputError(
        f"{file}: damaged", expected="a job, as hamsa-embed writes it", fix="another folder for the output"
    )


def _check_same(stored: Facts, facts: Facts, folder: Path) -> None:
    before, now = _flat(stored), _flat(facts)
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if not names:
        return
    shown = "; ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in names)
    cause = "the bundle, the engine or the options are others than those that it was begun with"
    if names == ["input.sha256"]:
        cause = "files were added to the input, or removed from it, since the job was begun"
    raise InputError(
        f"{folder}: the output of another job: {shown}",
        expected="the same bundle, engine, input and options, to go on with it",
        cause=cause,
        fix="another folder for the output",
    )


def _flat(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in facts.items():
        inner = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        found.update(inner)
    return found


def unwritable(folder: Path, error: OSError) -> InputError:
    """The error for an output that cannot be written."""
    full = error.errno in DISK_ERRORS
    return InputError(
        f"{folder}: cannot be written ({error.strerror or error})",
        expected="a folder that may be written to, on a disk with room",
        fix="free some space; the same command then goes on where it was" if full else "",
    )


def _wait() -> None:
    time.sleep(POLL_SECONDS)


def resolves_into(path: Path, folder: Path) -> bool:
    """Whether a path is a folder, or in it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
