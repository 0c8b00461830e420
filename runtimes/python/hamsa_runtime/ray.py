"""Embedding on a Ray cluster: `embed_on_ray` is `hamsa-embed --ray`, and `Embedder` is for pipelines of one's own.

    shards without a part ──Ray Data──▶ actors, each with one Engine ──▶ parts, on a file system that all machines share
                                              │
                                              └──▶ what became of each shard: a few numbers

What goes through Ray is a shard's number and what became of it, so nothing piles up in its object store; an actor has
one shard in work and one waiting. A shard whose actor dies is given to another one. Ray Data's own checkpoints are not
used: to resume, they hold the id of every row in the memory of one process (2.60), and the parts, which are written
once and as a whole, say as much. So a job may be begun on one machine and finished on Ray, and the other way round.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import platform
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hamsa_runtime.devices import CPU, device_from
from hamsa_runtime.embed.job import Job, job_in
from hamsa_runtime.embed.parts import counted
from hamsa_runtime.embed.run import Asked, Embedded, Report, Run, asked, facts_of
from hamsa_runtime.embed.sources import BYTES, PATH, Row, Shard, UnreadableError
from hamsa_runtime.embed.vectors import Block, Dtype, columns_of, prepared, rows_of_a_block, wanted_from
from hamsa_runtime.engine import Engine
from hamsa_runtime.errors import BuildError, HamsaError, InputError, MissingError

LOCAL = "local"
NO_METER = "a cluster is not metered"
# How often a shard is given to an actor whose process dies of it, before the others go on without it.
MOST_DEATHS = 3
# For an actor: the shard that is in work, and one waiting.
MOST_TASKS = 2
# Kinds of devices of which Ray gives one to an actor.
GPU = "GPU"
GPUS = (GPU, "CUDA", "TENSORRT")


class Embedder:
    """One Engine that adds vectors to batches of columns, for Ray Data and others that have such batches:

        files = ray.data.read_binary_files(FOLDER, include_paths=True)
        pool = ray.data.ActorPoolStrategy(size=2)
        vectors = files.map_batches(Embedder, fn_constructor_kwargs={"bundle": BUNDLE}, compute=pool, num_cpus=1)

    Images are decoded here and not before, as the model's preprocessing was checked with this decoder.

    Args:
        bundle: a folder that is there on each machine.
        dtype: of the vectors.
        label: also the most probable label, and its probability.
        engine: as `Engine` takes it: backend, device, threads (1, if it is not said), public_key.

    Raises:
        InputError: the bundle gives no vectors, or an argument is wrong.
        MissingError, BuildError: the engine cannot be had, or failed.
    """

    def __init__(self, bundle: str | Path, *, dtype: Dtype = "float32", label: bool = False, **engine: Any) -> None:
        self._engine = Engine(bundle, **{"threads": 1, **engine})
        self._wanted = wanted_from(self._engine.manifest, dtype, label=label)
        self._size = rows_of_a_block(self._engine.manifest, on_cpu=self._engine.describe()["device"] == CPU)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The batch with more columns.

        Args:
            batch: columns by name, one of them "bytes" (contents of image files) or "path".

        Returns:
            The same, with "embedding" (rows, width), "status" ("ok" or "failed"), "error" (why; else None), and "label"
            and "probability" if asked for. A row that failed is NaN.

        Raises:
            InputError: there is no such column.
        """
        payloads = _payloads(batch)
        starts = range(0, len(payloads), self._size)
        found = pa.Table.from_batches(
            [self._embedded(payloads[start : start + self._size]) for start in starts], self._wanted.schema
        )
        columns = {name: found.column(name) for name in found.column_names if name not in ("id", "embedding")}
        return {
            **batch,
            "embedding": self._vectors(found),
            **{name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()},
        }

    def _embedded(self, payloads: Sequence[str | bytes | None]) -> pa.RecordBatch:
        block = Block(_NO_SHARD, [Row(str(number), payload) for number, payload in enumerate(payloads)])
        return columns_of(prepared(block, self._engine.manifest), self._engine, self._wanted)

    def _vectors(self, found: pa.Table) -> np.ndarray:
        vectors = np.full((len(found), self._wanted.width), np.nan, self._wanted.dtype)
        column = found.column("embedding").combine_chunks()
        vectors[column.is_valid().to_numpy(zero_copy_only=False)] = (
            column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self._wanted.width)
        )
        return vectors


_NO_SHARD = Shard(0, "a batch", Path(), (0, 0), None)


def _payloads(batch: Mapping[str, np.ndarray]) -> list[str | bytes | None]:
    name = next((name for name in (BYTES, PATH) if name in batch), None)
    if name is None:
        raise InputError(f"columns {', '.join(batch)}", expected=f"one that is called {BYTES!r} or {PATH!r}")
    if batch[name].dtype.kind == "S":  # numpy drops NULs at their ends
        raise InputError(
            f"the column {name!r} is {batch[name].dtype}", expected="objects, as Ray Data has binary columns"
        )
    return [None if each is None else each if isinstance(each, bytes) else str(each) for each in batch[name]]


def embed_on_ray(
    bundle: str | Path,
    input: str | Path,
    output: str | Path,
    address: str = LOCAL,
    *,
    retry_failed: bool = False,
    report: Report = lambda found: None,
    **options: Any,
) -> Embedded:
    """Does what `hamsa_runtime.embed.embed` does, on a cluster: the same parts, of the same fingerprint.

    The engine opens on the cluster's machines only; this process needs none.

    Args:
        bundle, input, output: as of `embed`; at the same path on all machines.
        address: of a cluster; "auto": of the one of this machine; "local": a new one, that ends with the job.
        retry_failed: as of `embed`.
        report: called with the state after each shard.
        options: dtype, label, rows and the engine's, as of `embed`; threads are 1, if it is not said.

    Raises:
        InputError: see `embed`; or no cluster is there, its machines differ, or the output is not shared.
        MissingError: Ray is not installed, or the engine cannot be had there.
        BuildError: the engine, or the cluster, failed.
    """
    paths = [os.path.abspath(path) for path in (bundle, input, output)]
    what = asked(*paths, **options)
    ray = _ray()
    with _cluster(ray, address), _told():
        needs = _needs(what)
        job = job_in(what.output, what.source, _facts(ray, what, needs), what.rows)
        return _Driver(ray, what, job, needs, retry_failed, report).all()


def _ray() -> Any:
    # By default Ray tells its makers what runs where.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingError(
            f"the package ray cannot be imported: {error}",
            expected="Ray, with Ray Data",
            fix="pip install 'hamsa-runtime[ray]', here and on the cluster's machines",
        ) from error
    # It says what it does in many lines, and draws bars; progress is told by whoever called.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


@contextlib.contextmanager
def _cluster(ray: Any, address: str) -> Iterator[None]:
    """A connection to a cluster, closed afterwards if it was not there before."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            logging_level="warning",
            log_to_driver=False,
        )
    except Exception as error:  # Ray raises what it likes
        of_others = "other versions of Ray or Python there, or another token than that of RAY_AUTH_TOKEN here"
        raise InputError(
            f"no Ray cluster at {address}: {str(error).partition(chr(10))[0]}",
            expected="one that starts, or the address of one, as ray start --head prints it",
            cause="too busy a machine, or too little memory" if address == LOCAL else of_others,
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Ray's own errors as one of ours."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("ray"):
            raise
        raise BuildError(
            f"the cluster failed: {str(error).partition(chr(10))[0]}",
            expected="one that lasts until the job is done",
            fix="the same command goes on where it was",
        ) from error


def _needs(what: Asked) -> dict[str, float]:
    """What an actor has of a machine: as many processors as its engine has threads, and a GPU where it runs on one."""
    device = device_from(what.engine.get("device") or (GPU if what.manifest.target.startswith("tensorrt") else CPU))
    is_on_gpu = any(name.kind in GPUS for name in device.names)
    return {"num_cpus": what.engine.get("threads") or 1, "num_gpus": int(is_on_gpu)}


def _facts(ray: Any, what: Asked, needs: Mapping[str, float]) -> Mapping[str, Any]:
    """What the job's vectors depend on, by an engine on a machine like those that will do it."""
    task = ray.remote(_facts_here).options(max_retries=MOST_DEATHS, **needs)
    found: Mapping[str, Any] | HamsaError = ray.get(task.remote(what))
    if isinstance(found, HamsaError):
        raise found
    return found


def _facts_here(what: Asked) -> Mapping[str, Any] | HamsaError:
    """Errors of ours are returned: one that is raised is wrapped by Ray."""
    try:
        with Engine(what.bundle, **_engine(what)) as engine:
            return facts_of(what.bundle, engine, what.wanted)
    except HamsaError as error:
        return error


def _engine(what: Asked) -> dict[str, Any]:
    """Of as many threads as Ray counts processors for it."""
    threads = what.engine.get("threads") or (None if _needs(what)["num_gpus"] else 1)
    return {**what.engine, "threads": threads}


class _Actor:
    """One Engine, for one shard after the other."""

    def __init__(self, what: Asked, job: Job, retry_failed: bool) -> None:
        self._asked, self._job, self._retries = what, job, retry_failed
        self._engine: Engine | None = None

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """What became of a shard, or an error that ends the job."""
        started = time.perf_counter()
        [number] = batch["number"].tolist()
        try:
            if self._engine is None:
                self._engine = self._opened()
            started = time.perf_counter()
            shards, decoders = [self._job.shards[number]], int(_needs(self._asked)["num_cpus"])
            wanted, retries = self._asked.wanted, self._retries
            run = Run(self._job, self._engine, wanted, shards, decoders=decoders, retry_failed=retries)
            found: Embedded | HamsaError = run.all()
        except HamsaError as error:
            found = error
        return {"number": [number], "seconds": [time.perf_counter() - started], "found": [pickle.dumps(found)]}

    def _opened(self) -> Engine:
        """Fails where this machine's engine is another one than the job's, so that its vectors would be others."""
        engine = Engine(self._asked.bundle, **_engine(self._asked))
        here = facts_of(self._asked.bundle, engine, self._asked.wanted)
        names = [name for name, value in here.items() if self._job.facts.get(name) != value]
        if names:
            was, now = ({name: facts.get(name) for name in names} for facts in (self._job.facts, here))
            raise InputError(
                f"{platform.node()}: this machine would compute something else: {now}, and the job is of {was}",
                expected="the same bundle and the same version of its engine on all machines",
            )
        return engine


@dataclass
class _Driver:
    """Gives out shards and counts parts."""

    ray: Any
    what: Asked
    job: Job
    needs: Mapping[str, float]
    retry_failed: bool
    report: Report
    found: Embedded = field(init=False)
    started: float | None = None
    heard: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)

    def all(self) -> Embedded:
        """In passes over what is not there yet: a shard that another job has in work is looked at again, and so is one
        whose actors died; the last pass is one that brought nothing."""
        sizes = [shard.rows for shard in self.job.shards]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self.found = Embedded(self.job.folder, self.job.fingerprint, len(self.job.shards), total=total, meter=NO_METER)
        waiting = self._missing(self.job.shards, self.retry_failed)
        self.found.seen = self.found.rows
        while waiting:
            self.found.elsewhere = 0
            self.found.unreadable.clear()
            before = self.found.done, self.found.rows, self.found.failed
            self._pass(waiting)
            self.found.done, self.found.rows, self.found.failed = before
            left = self._missing(waiting)  # what is on the disk, and not what was said
            if len(left) == len(waiting):
                break
            waiting = left
        self._explain(waiting)
        return self.found

    def _missing(self, shards: Sequence[Shard], with_failed: bool = False) -> list[Shard]:
        """Shards without a part, or also those with rows that failed; the others are counted."""
        missing = []
        for shard in shards:
            count = counted(self.job.part(shard))
            if count is None or (with_failed and count.failed):
                missing.append(shard)
            else:
                self._count(1, count.rows, count.failed)
        return missing

    def _count(self, done: int, rows: int, failed: int) -> None:
        self.found.done += done
        self.found.rows += rows
        self.found.failed += failed

    def _pass(self, shards: Sequence[Shard]) -> None:
        data = self.ray.data
        data.DataContext.get_current().max_errored_blocks = -1  # a shard that kills its processes; see MOST_DEATHS
        numbers = data.from_items([{"number": shard.number} for shard in shards], override_num_blocks=len(shards))
        with warnings.catch_warnings():  # of 2.64, in which this argument will have another name
            warnings.simplefilter("ignore")
            done = numbers.map_batches(
                _Actor,
                fn_constructor_args=(self.what, self.job, self.retry_failed),
                batch_size=1,
                compute=self._pool(len(shards)),
                max_task_retries=MOST_DEATHS,
                **self.needs,
            )
        for row in done.iter_rows():
            self._take(row)

    def _pool(self, shards: int) -> Any:
        """As many actors as the cluster has room for, and more when it grows."""
        here = self.ray.cluster_resources()
        rooms = [
            int(here.get(name, 0) // needed)
            for name, needed in (("CPU", self.needs["num_cpus"]), ("GPU", self.needs["num_gpus"]))
            if needed
        ]
        first = max(1, min(shards, *rooms))
        return self.ray.data.ActorPoolStrategy(
            min_size=1, initial_size=first, max_size=shards, max_tasks_in_flight_per_actor=MOST_TASKS
        )

    def _take(self, row: Mapping[str, Any]) -> None:
        """Adds what became of a shard to the state, whose parts are counted by `_missing`."""
        now = time.perf_counter()
        if self.started is None:
            self.started = now - row["seconds"]
        one, state = pickle.loads(row["found"]), self.found  # noqa: S301  # of this job's own actors
        if isinstance(one, HamsaError):
            raise one
        self.heard.add(row["number"])
        if one.is_complete:
            self.finished.add(row["number"])
        self._count(one.done, one.rows, one.failed)
        for name in ("rows_now", "seen", "failed_now", "decoding", "inference", "writing", "elsewhere"):
            setattr(state, name, getattr(state, name) + getattr(one, name))
        state.seconds = now - self.started
        state.first_failure = state.first_failure or one.first_failure
        state.unreadable.update(one.unreadable)
        self.report(state)

    def _explain(self, missing: Sequence[Shard]) -> None:
        """Why shards have no part, where nobody has said so."""
        for shard in missing:
            if shard.number in self.finished and shard.name not in self.found.unreadable:
                raise InputError(
                    f"{self.job.part(shard)}: is not here, and the machine that wrote it has it",
                    expected="an output folder that all machines of the cluster share",
                )
            if shard.number not in self.heard:
                self.found.unreadable[shard.name] = UnreadableError(
                    f"{shard.name}: the processes that embedded it died, {MOST_DEATHS + 1} one after the other",
                    expected="a process with enough memory, and images that decoders survive",
                    cause="too little memory on its machine; ray logs says what killed them",
                )
