"""The run: shards that nobody has embedded yet, one after the other, by threads that each take a block of rows."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hamsa_runtime.bundle import manifest_bytes, open_bundle
from hamsa_runtime.embed.job import Job, job_in, resolves_into, unwritable
from hamsa_runtime.embed.parts import Counted, PartWriter, counted, part_writer
from hamsa_runtime.embed.retry import OldPart, kept_rows
from hamsa_runtime.embed.sources import (
    CLIP_SUFFIXES,
    IMAGE_SUFFIXES,
    Row,
    Shard,
    Source,
    UnreadableError,
    rows_of,
    source_at,
)
from hamsa_runtime.embed.vectors import (
    DTYPES,
    MOST_BYTES,
    Block,
    Dtype,
    Wanted,
    columns_of,
    prepared,
    rows_of_a_block,
    wanted_from,
)
from hamsa_runtime.energy import CPU, GPU, LongRun, source_or_reason
from hamsa_runtime.engine import Engine
from hamsa_runtime.errors import InputError, unknown_name
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.vocabulary import ENGINES

ROWS = 10_000
MOST_ROWS = 10_000_000
MOST_WORKERS = 8


@dataclass
class Embedded:
    """What became of a job, as far as this process took part.

    Attributes:
        output, fingerprint: of the job.
        shards, done: all of this worker's, and how many of them have a part by now.
        total: rows of all these shards; None where only reading tar files tells.
        rows, failed: of the parts that are there.
        failed_now: rows that failed in this run, and why the first of them did.
        rows_now: embedded by this process, in so many seconds, the engine's start apart.
        seen: these, and all rows that needed no embedding.
        decoding, inference, writing: seconds of it; decoding of all threads together.
        joules: that a meter saw meanwhile, of the whole machine or package; None where there is none.
        meter: what metered it, or why nothing did.
        elsewhere: shards that another process has in work.
        unreadable: shard's name -> why its rows could not be read.
    """

    output: Path
    fingerprint: str = ""
    shards: int = 0
    done: int = 0
    total: int | None = None
    rows: int = 0
    failed: int = 0
    failed_now: int = 0
    rows_now: int = 0
    seen: int = 0
    seconds: float = 0.0
    decoding: float = 0.0
    inference: float = 0.0
    writing: float = 0.0
    joules: float | None = None
    meter: str = ""
    elsewhere: int = 0
    first_failure: str = ""
    unreadable: dict[str, UnreadableError] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every shard of this worker has its part."""
        return self.done == self.shards

    @property
    def rate(self) -> float:
        """Rows in a second."""
        return self.rows_now / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """By this rate; None where nothing tells."""
        known = self.total is not None and self.rate > 0
        return max(self.total - self.seen, 0) / self.rate if known and self.total is not None else None

    @property
    def shares(self) -> dict[str, float]:
        """Of the time that decoding, inference and writing took, those of all threads together."""
        times = {"decoding": self.decoding, "inference": self.inference, "writing": self.writing}
        total = sum(times.values())
        return {name: seconds / total if total else 0.0 for name, seconds in times.items()}


Report = Callable[[Embedded], None]


@dataclass(frozen=True)
class Asked:
    """A job, checked as far as that takes no engine: on a cluster, engines are elsewhere.

    Attributes:
        manifest: of the bundle.
        wanted: of the bundle's outputs.
        rows: of a part, at most.
        engine: as `Engine` takes it.
    """

    bundle: Path
    manifest: Manifest
    source: Source
    output: Path
    wanted: Wanted
    rows: int
    engine: Mapping[str, Any]


def embed(
    bundle: str | Path,
    input: str | Path,
    output: str | Path,
    *,
    dtype: Dtype = "float32",
    label: bool = False,
    rows: int = ROWS,
    worker: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    report: Report = lambda found: None,
    **engine: Any,
) -> Embedded:
    """Embeds every image or clip of an input once, into Parquet parts in a folder; goes on where a killed job was.

    Args:
        bundle: the folder of a bundle with an embedding.
        input: a folder, a list of paths, Parquet or tar files: see `hamsa_runtime.embed.sources`.
        output: the folder, of this job alone.
        dtype: of the vectors.
        label: also the most probable label, and its probability.
        rows: of a part, at most.
        worker: (k, n): take the shards k, k + n, k + 2 n...; the default takes all that no other process has in work.
        retry_failed: embed also rows again that failed; those that do not now take their place in the part.
        report: called with the state after each block.
        engine: as `Engine` takes it: backend, device, threads, hint, public_key. The hint is by default "throughput",
            where the engine has one.

    Raises:
        InputError: a wrong argument, nothing to embed, an output of another job, or one that cannot be written.
        MissingError, BuildError: the engine cannot be had, or failed.
    """
    k, n = worker
    if not (type(k) is type(n) is int and 0 <= k < n):
        raise InputError(f"worker {k} of {n}", expected="K/N with K from 0 to N - 1", fix="0/4 to 3/4 for four workers")
    what = asked(bundle, input, output, dtype=dtype, label=label, rows=rows, **engine)
    with Engine(what.bundle, **what.engine) as running:
        facts = facts_of(what.bundle, running, what.wanted)
        job = job_in(what.output, what.source, facts, rows, check_input=k == 0)
        return Run(job, running, what.wanted, job.shards[k::n], report, retry_failed=retry_failed).all()


def asked(
    bundle: str | Path,
    input: str | Path,
    output: str | Path,
    *,
    dtype: Dtype = "float32",
    label: bool = False,
    rows: int = ROWS,
    **engine: Any,
) -> Asked:
    """Checks what is to be done; see `embed`.

    Raises:
        InputError: a wrong argument, or nothing to embed.
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype", str(dtype), DTYPES)
    if type(rows) is not int or not 1 <= rows <= MOST_ROWS:
        raise InputError(f"rows is {rows!r}", expected=f"a whole number from 1 to {MOST_ROWS}")
    manifest = open_bundle(bundle, public_key=engine.get("public_key")).manifest
    wanted = wanted_from(manifest, dtype, label=label)
    suffixes = IMAGE_SUFFIXES if manifest.preprocessing is not None else CLIP_SUFFIXES
    if manifest.preprocessing is None and manifest.audio is None:
        raise InputError(f"{bundle}: a model of arrays", expected="a bundle that takes images, or clips")
    if resolves_into(Path(output), Path(input)):
        raise InputError(f"{output}: the output in the input", expected="a folder outside of it")
    source = source_at(Path(input), suffixes)
    return Asked(Path(bundle), manifest, source, Path(output), wanted, rows, {**_hint(manifest, engine), **engine})


def _hint(manifest: Manifest, engine: Mapping[str, Any]) -> dict[str, str]:
    """Many inferences at once, each on a thread of its own, take a quarter less of a processor's time than one after
    the other on all of them; where an engine can."""
    names = [name for name, entry in ENGINES.items() if manifest.target in entry.runs]
    return {"hint": "throughput"} if (engine.get("backend") or names[0]) == "openvino" else {}


def facts_of(bundle: Path, engine: Engine, wanted: Wanted) -> Mapping[str, Any]:
    """What vectors depend on, beside the input."""
    described = engine.describe()
    return {
        "schema": 1,
        "bundle": hashlib.sha256(manifest_bytes(bundle)).hexdigest(),
        "engine": {name: described[name] for name in ("backend", "version", "device", "precision")},
        "embedding": {"output": wanted.embedding, "width": wanted.width, "dtype": wanted.dtype},
        "label": wanted.logits is not None,
    }


class Done(NamedTuple):
    """A block and its rows of the output, with the seconds that decoding and inference took."""

    block: Block
    batch: pa.RecordBatch
    decoding: float
    inference: float


class Run:
    """One process's work on a job.

    Args:
        shards: of the job.
        decoders: threads, of which each decodes a block and infers it; by default one for each processor.
        retry_failed: as of `embed`.
    """

    def __init__(
        self,
        job: Job,
        engine: Engine,
        wanted: Wanted,
        shards: Sequence[Shard],
        report: Report = lambda found: None,
        decoders: int | None = None,
        retry_failed: bool = False,
    ) -> None:
        self._job, self._engine, self._wanted, self._report = job, engine, wanted, report
        self._shards, self._decoders, self._retries = shards, decoders or _processors(), retry_failed
        self._claims: dict[int, contextlib.ExitStack] = {}
        self._elsewhere: list[Shard] = []
        self._start = time.perf_counter()
        sizes = [shard.rows for shard in self._shards]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self.found = Embedded(job.folder, job.fingerprint, len(self._shards), total=total)
        processors = {CPU} if engine.describe()["device"] == CPU else {CPU, GPU}
        source, self.found.meter = source_or_reason(processors)
        self._energy = LongRun(source)

    def all(self) -> Embedded:
        """Embeds what is not there yet. Shards that another process has in work are looked at again at the end: it may
        have been killed."""
        waiting: list[Shard] = list(self._shards)
        try:
            while waiting:
                self._elsewhere = []
                self._embed(waiting)
                if len(self._elsewhere) == len(waiting):
                    break
                waiting = self._elsewhere
        except OSError as error:
            raise unwritable(self._job.folder, error) from error
        finally:
            for claim in self._claims.values():
                claim.close()
        self.found.elsewhere = len(self._elsewhere)
        self._energy.tick(at_end=True)
        self.found.joules = self._energy.joules
        return self.found

    def _embed(self, shards: Sequence[Shard]) -> None:
        with contextlib.closing(self._done(self._blocks(shards))) as blocks:
            for first in blocks:
                self._embed_shard(first.block.shard, itertools.chain([first], blocks))

    def _embed_shard(self, shard: Shard, blocks: Iterator[Done]) -> None:
        """To the block that is its last."""
        found: Done | None = None
        path = self._job.part(shard)
        try:
            with part_writer(path, self._wanted.schema) as writer, contextlib.ExitStack() as reading:
                old = reading.enter_context(OldPart(path)) if self._is_to_retry(counted(path)) else None
                for found in blocks:
                    if found.block.error is not None:
                        raise found.block.error
                    self._add(found, writer, old)
                    if found.block.is_last:
                        break
                if old is not None:
                    old.check_end()
                count = writer.close({"fingerprint": self._job.fingerprint, "shard": shard.name})
            self._count(count)
        except UnreadableError as error:
            self.found.unreadable[shard.name] = error
            while found is not None and not found.block.is_last:  # what was read ahead of it
                found = next(blocks, None)
        finally:
            self._claims.pop(shard.number).close()

    def _is_to_retry(self, count: Counted | None) -> bool:
        return self._retries and count is not None and count.failed > 0

    def _add(self, found: Done, writer: PartWriter, old: OldPart | None) -> None:
        start = time.perf_counter()
        batch = found.batch if old is None else old.with_new(found.batch, found.block.kept)
        writer.add(batch)
        now = time.perf_counter()
        state = self.found
        state.decoding += found.decoding
        state.inference += found.inference
        state.writing += now - start
        state.rows_now += batch.num_rows - sum(found.block.kept)
        state.seen += batch.num_rows
        state.seconds = now - self._start
        errors = list(filter(None, batch.column("error").to_pylist()))
        state.failed_now += len(errors)
        state.first_failure = state.first_failure or next(iter(errors), "")
        self._energy.tick()
        self._report(state)

    def _count(self, count: Counted) -> None:
        self.found.done += 1
        self.found.rows += count.rows
        self.found.failed += count.failed

    def _blocks(self, shards: Sequence[Shard]) -> Iterator[Block]:
        """The blocks of all shards that are to be done and that nobody else has in work."""
        size = rows_of_a_block(self._engine.manifest, on_cpu=self._engine.describe()["device"] == CPU)
        for shard in shards:
            if self._is_done(shard) or not self._is_claimed(shard):
                continue
            path = self._job.part(shard)
            kept = kept_rows(path) if self._is_to_retry(counted(path)) else None
            yield from blocks_of(shard, self._job.source.suffixes, size, kept)

    def _is_done(self, shard: Shard) -> bool:
        count = counted(self._job.part(shard))
        if count is None or self._is_to_retry(count):
            return False
        self._count(count)
        self.found.seen += count.rows
        return True

    def _is_claimed(self, shard: Shard) -> bool:
        claim = contextlib.ExitStack()
        if not claim.enter_context(self._job.claimed(shard)):
            self._elsewhere.append(shard)
            return False
        if self._is_done(shard):  # by now, by whoever had it in work
            claim.close()
            return False
        self._claims[shard.number] = claim
        return True

    def _done(self, blocks: Iterator[Block]) -> Generator[Done, None, None]:
        """In order; a thread decodes a block and infers it, while others do so with the next ones. Each has one block
        and another one waiting: so memory is bounded."""
        waiting: deque[Future[Done]] = deque()
        pool = ThreadPoolExecutor(self._decoders, "hamsa-embed")
        try:
            for block in blocks:
                waiting.append(pool.submit(self._embedded, block))
                if len(waiting) >= 2 * self._decoders:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _embedded(self, block: Block) -> Done:
        found = prepared(block, self._engine.manifest)
        start = time.perf_counter()
        batch = columns_of(found, self._engine, self._wanted)
        return Done(block, batch, found.seconds, time.perf_counter() - start)


def _processors() -> int:
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, MOST_WORKERS)


def blocks_of(shard: Shard, suffixes: tuple[str, ...], size: int, kept: np.ndarray | None = None) -> Iterator[Block]:
    """A shard's rows, `size` at a time or what has MOST_BYTES; the last block may be empty, and says so.

    Args:
        kept: of each row, whether it has a vector already.
    """
    rows: list[Row] = []
    kept_now: list[bool] = []
    held = number = 0
    try:
        for row in rows_of(shard, suffixes):
            if rows and (len(rows) == size or held > MOST_BYTES):
                yield Block(shard, rows, kept_now)
                rows, kept_now, held = [], [], 0
            rows.append(row)
            kept_now += [] if kept is None else [bool(kept[number]) if number < len(kept) else False]
            number += 1
            held += len(row.payload) if isinstance(row.payload, bytes) else 0
    except UnreadableError as error:
        yield Block(shard, rows, kept_now, is_last=True, error=error)
    else:
        yield Block(shard, rows, kept_now, is_last=True)
