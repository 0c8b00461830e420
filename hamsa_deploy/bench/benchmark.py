"""`benchmark`: candidates, measured beside each other for each batch and number of threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamsa_deploy.bench.candidates import Candidate
from hamsa_deploy.bench.loading import Load, load_in_own_process, typical
from hamsa_deploy.bench.percentiles import Ratio, percentiles, ratio, verdict
from hamsa_deploy.measure.interleaved import TURN_SECONDS, Run, Turn, time_in_turn
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.energy import Meter
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import MANIFEST

MOST_LOADS = 3
CONTROL = "the first one again"  # its key among the runs: a folder's name may be any, but hardly this

Progress = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Row:
    """One candidate. Milliseconds for one inference of the batch; joules for one image; bytes of memory and of files.

    `ratio` and `verdict` are against the first candidate, and None for itself.
    """

    name: str
    engine: str
    precision: str
    runs: int
    latency: Mapping[str, float | None]
    images_per_second: float
    ratio: Ratio | None
    verdict: str | None
    load: Load | None
    bytes: int | None
    joules_per_image: float | None


@dataclass(frozen=True)
class Table:
    """All candidates at one batch and number of threads. `control` is the first one's ratio to itself."""

    batch: int
    threads: int | None
    rounds: int
    control: Ratio
    rows: tuple[Row, ...]


def heading(batch: int, threads: int | None) -> str:
    """ "batch 8, 2 threads"."""
    if threads is None:
        return f"batch {batch}, threads as the engine chooses"
    return f"batch {batch}, {threads} thread{'' if threads == 1 else 's'}"


def benchmark(
    candidates: Sequence[Candidate],
    batch: int,
    threads: int | None,
    seconds: float,
    *,
    meter: Meter | None = None,
    turn_seconds: float = TURN_SECONDS,
    progress: Progress = lambda stage: nullcontext(),
) -> Table:
    """Time all candidates in turn in this process, and load each bundle in processes of its own.

    Args:
        candidates: ratios are to the first one.
        batch: images of one inference.
        threads: CPU threads of one inference; None leaves them to the engine.
        seconds: how long the rounds may take, and again how long the loading.
        meter: of energy, where the machine has one.
        turn_seconds: see `time_in_turn`.
        progress: called with what is done next, gives a context manager around it.

    Raises:
        InputError, MissingError, BuildError: a candidate cannot run this batch here.
    """
    _check_names([each.name for each in candidates])
    with contextlib.ExitStack() as stack:
        with progress("open"):
            runs = _opened(candidates, batch, threads, stack)
        with progress("time"):
            turns = time_in_turn(runs, seconds, turn_seconds=turn_seconds, meter=meter)
    with progress("load"):
        loads = _loads(candidates, batch, threads, seconds)
    return table_of(candidates, batch, threads, turns, loads)


def table_of(
    candidates: Sequence[Candidate],
    batch: int,
    threads: int | None,
    turns: Mapping[str, Sequence[Turn]],
    loads: Mapping[str, Load],
) -> Table:
    """What the turns of each candidate, and of the first one under CONTROL, come to."""
    medians = {name: [turn.median for turn in each] for name, each in turns.items()}
    first = candidates[0].name
    control = ratio(medians[CONTROL], medians[first])
    ratios = {each.name: ratio(medians[each.name], medians[first]) for each in candidates[1:]}
    rows = tuple(
        _row(each, batch, turns[each.name], ratios.get(each.name), control, loads.get(each.name)) for each in candidates
    )
    return Table(batch, threads, len(turns[first]), control, rows)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if [*names, CONTROL].count(name) > 1:
            raise InputError(f"two candidates are called {name!r}", expected="different names", fix="rename a folder")


def _opened(
    candidates: Sequence[Candidate], batch: int, threads: int | None, stack: contextlib.ExitStack
) -> dict[str, Run]:
    """The run of each, and a second one of the first."""
    runs = {each.name: stack.enter_context(each.opened(batch, threads)) for each in candidates}
    return runs | {CONTROL: stack.enter_context(candidates[0].opened(batch, threads))}


def _loads(candidates: Sequence[Candidate], batch: int, threads: int | None, seconds: float) -> dict[str, Load]:
    """Medians of a few processes each, in turn."""
    bundles = {each.name: (each.bundle(batch), each.device) for each in candidates if each.bundle is not None}
    found: dict[str, list[Load]] = {name: [] for name in bundles}
    end = time.perf_counter() + seconds
    for done in range(MOST_LOADS):
        if done and time.perf_counter() >= end:
            break
        for name, (folder, device) in bundles.items():
            found[name].append(load_in_own_process(folder, batch, threads, device))
    return {name: typical(each) for name, each in found.items()}


def _row(
    candidate: Candidate, batch: int, turns: Sequence[Turn], found: Ratio | None, control: Ratio, load: Load | None
) -> Row:
    seconds = [run for turn in turns for run in turn.seconds]
    images = batch * len(seconds)
    joules = [turn.joules for turn in turns if turn.joules is not None]
    return Row(
        candidate.name,
        candidate.engine,
        candidate.precision,
        len(seconds),
        percentiles([1e3 * run for run in seconds]),
        images / sum(seconds),
        found,
        None if found is None else verdict(found, control),
        load,
        None if candidate.bundle is None else bytes_of(candidate.bundle(batch)),
        sum(joules) / images if len(joules) == len(turns) else None,
    )


def bytes_of(folder: Path) -> int:
    """The files of a bundle on disk, with its manifest."""
    bundle = open_bundle(folder)
    files = [folder / name for name in bundle.manifest.files]
    return sum(path.stat().st_size for path in (*files, folder / MANIFEST))
