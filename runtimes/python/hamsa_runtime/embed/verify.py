"""An output, checked: every id of the input is in it once, and a sample of its rows is embedded again.

Of an embedding a in the output, and b that the engine gives now, both of width n:

    relative error   max_j |a_j - b_j| / max_j |b_j - median(b)|
    cosine           a . b / (|a| |b|)

are judged by the limits that the bundle has for parity. Numbers of half precision may be one rounding further off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hamsa_runtime.embed.ids import IdSet, compared, named
from hamsa_runtime.embed.job import Job, job_in
from hamsa_runtime.embed.parts import counted
from hamsa_runtime.embed.run import ROWS, asked, facts_of
from hamsa_runtime.embed.sources import UNREADABLE, Row, Shard, UnreadableError, ids_of, rows_of, unreadable
from hamsa_runtime.embed.vectors import OK, Block, Dtype, Wanted, columns_of, prepared
from hamsa_runtime.engine import Engine
from hamsa_runtime.manifest import Manifest

# Rows that are embedded again, and parts that they are taken from: of a tar file all that is before a row is read.
SAMPLE, SAMPLED_PARTS, SEED = 64, 8, 0
READ_ROWS = 4096
HALF_ROUNDING = 2.0**-10
RELATIVE, COSINE = "max_relative_error", "cosine"


@dataclass
class Verified:
    """What a check has found.

    Attributes:
        rows, failed: of all parts that are whole.
        wrong: what is wrong, a sentence each; none if the output is whole and right.
        sampled: rows that were embedded again.
        relative_error, cosine: the worst of them.
        limits: what these are judged by; empty where the bundle was never compared with its model.
    """

    output: Path
    fingerprint: str
    rows: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)
    sampled: int = 0
    relative_error: float = 0.0
    cosine: float = 1.0
    limits: Mapping[str, float] = field(default_factory=dict)


def verify(
    bundle: str | Path,
    input: str | Path,
    output: str | Path,
    *,
    dtype: Dtype = "float32",
    label: bool = False,
    rows: int = ROWS,
    **engine: Any,
) -> Verified:
    """Checks the output of the job that `embed` does with the same arguments. Nothing is written to it.

    Raises:
        InputError: see `embed`; or the input cannot be read.
    """
    what = asked(bundle, input, output, dtype=dtype, label=label, rows=rows, **engine)
    with Engine(what.bundle, **what.engine) as running:
        wanted = what.wanted
        job = job_in(what.output, what.source, facts_of(what.bundle, running, wanted), rows)
        found = Verified(job.folder, job.fingerprint, limits=_limits(running.manifest, wanted))
        whole = [shard for shard in job.shards if _is_whole(job.part(shard), found)]
        _check_names(job, found)
        _check_ids(job, whole, found)
        _check_sample(job, whole, running, wanted, found)
        return found


def _limits(manifest: Manifest, wanted: Wanted) -> dict[str, float]:
    limits = manifest.parity.thresholds if manifest.parity else {}
    found = {name: float(limits[name]) for name in (RELATIVE, COSINE) if name in limits}
    if RELATIVE in found and wanted.dtype == "float16":
        found[RELATIVE] += HALF_ROUNDING
    return found


def _is_whole(part: Path, found: Verified) -> bool:
    """Reads all pages, whose checksums are compared, and counts rows."""
    count = counted(part)
    if count is None:
        found.wrong.append(f"{part.name} is {'damaged' if part.exists() else 'missing'}")
        return False
    try:
        for batch in _read(part):
            _check_rows(batch, part, found)
    except UnreadableError as error:
        found.wrong.append(error.found)
        return False
    found.rows += count.rows
    found.failed += count.failed
    return True


def _read(part: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            yield from file.iter_batches(batch_size=READ_ROWS, columns=columns)
    except UNREADABLE as error:
        raise unreadable(part, error) from error


def _check_rows(batch: pa.RecordBatch, part: Path, found: Verified) -> None:
    """A row has a vector of finite numbers, or an error."""
    vectors = batch.column("embedding")
    good = np.array([status == OK for status in batch.column("status").to_pylist()], bool)
    there = ~np.asarray(vectors.is_null())
    errors = ~np.asarray(batch.column("error").is_null())
    finite = np.isfinite(np.asarray(vectors.flatten()).astype(np.float32)).all()
    if (good != there).any() or (good == errors).any() or not finite:
        found.wrong.append(f"{part.name}: rows with neither a vector nor an error, or with both")


def _check_names(job: Job, found: Verified) -> None:
    """Whoever reads the folder reads all of its Parquet files."""
    names = {job.part(shard).name for shard in job.shards}
    others = sorted(path.name for path in job.folder.glob("*.parquet") if path.name not in names)
    others = [name for name in others if not name.startswith(".")]
    if others:
        found.wrong.append(f"{len(others)} files are no parts of this job: {', '.join(others[:5])}")


def _check_ids(job: Job, whole: Sequence[Shard], found: Verified) -> None:
    def of_input() -> Iterator[str]:
        return (id for shard in job.shards for id in ids_of(shard, job.source.suffixes))

    def of_output() -> Iterator[str]:
        batches = (batch for shard in whole for batch in _read(job.part(shard), ["id"]))
        return (id for batch in batches for id in batch.column(0).to_pylist())

    with IdSet() as inputs, IdSet() as outputs:
        inputs.add(of_input())
        outputs.add(of_output())
        missing, unknown, again = compared(inputs, outputs)
    for few, words, ids in (
        (missing, "missing", of_input),
        (unknown, "not of the input", of_output),
        (again, "twice", of_output),
    ):
        if few.number:
            found.wrong.append(f"{few.number} ids are {words}: {', '.join(map(repr, named(few, ids())))}")


def _check_sample(job: Job, whole: Sequence[Shard], engine: Engine, wanted: Wanted, found: Verified) -> None:
    rng = np.random.default_rng(SEED)
    chosen = rng.permutation(len(whole))[:SAMPLED_PARTS]
    for k in sorted(chosen):
        count = counted(job.part(whole[k]))
        rows = 0 if count is None else count.rows
        places = np.sort(rng.permutation(rows)[: math.ceil(SAMPLE / len(chosen))])
        _compare(job, whole[k], set(map(int, places)), engine, wanted, found)
    for name, value, is_right in (
        (RELATIVE, found.relative_error, found.relative_error <= found.limits.get(RELATIVE, np.inf)),
        (COSINE, found.cosine, found.cosine >= found.limits.get(COSINE, -np.inf)),
    ):
        if not is_right:
            found.wrong.append(f"embedded again, {name} is {value:.3g}, and may be {found.limits[name]:g}")


def _compare(job: Job, shard: Shard, places: set[int], engine: Engine, wanted: Wanted, found: Verified) -> None:
    """Rows at some places of a shard, embedded again."""
    before = _vectors_at(job.part(shard), places)
    rows = [row for place, row in enumerate(_up_to(rows_of(shard, job.source.suffixes), places)) if place in before]
    if not rows:
        return
    again = columns_of(prepared(Block(shard, rows), engine.manifest), engine, wanted)
    for row, a, b, reason in zip(
        rows, before.values(), again.column("embedding").to_pylist(), again.column("error").to_pylist(), strict=True
    ):
        found.sampled += 1
        if b is None:
            found.wrong.append(f"{row.id}: embedded again, it failed: {reason.partition(chr(10))[0]}")
            continue
        relative, cosine = apart(np.asarray(a, np.float64), np.asarray(b, np.float64))
        found.relative_error = max(found.relative_error, relative)
        found.cosine = min(found.cosine, cosine)


def _up_to(rows: Iterator[Row], places: set[int]) -> Iterator[Row]:
    return (row for _, row in zip(range(max(places, default=-1) + 1), rows, strict=False))


def _vectors_at(part: Path, places: set[int]) -> dict[int, Any]:
    """Vectors of rows that are good, by their place."""
    found: dict[int, Any] = {}
    start = 0
    for batch in _read(part, ["embedding", "status"]):
        here = sorted(place for place in places if start <= place < start + batch.num_rows)
        for place in here:
            vector = batch.column("embedding")[place - start].as_py()
            if batch.column("status")[place - start].as_py() == OK and vector is not None:
                found[place] = vector
        start += batch.num_rows
    return found


def apart(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Relative error and cosine of two vectors, as above; of vectors that are the same, 0 and 1."""
    if (a == b).all():
        return 0.0, 1.0
    scale = np.abs(b - np.median(b)).max()
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.abs(a - b).max() / scale) if scale else np.inf, float(a @ b / norms) if norms else 0.0
