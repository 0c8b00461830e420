"""`run_sweep`: build what is not there yet, time all of it, and keep a record after every cell.

A cell is kept if its bundle is whole, is the one that this folder's record says, and was made from the same request;
see `digest`. One that failed is tried again. A cell that fails does not stop the others.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hamsa_deploy.bench.benchmark import Progress, Table, benchmark
from hamsa_deploy.bench.candidates import Candidate, candidates_of
from hamsa_deploy.form.request import Request
from hamsa_deploy.sweep.cells import Cell, requests_for
from hamsa_deploy.sweep.digest import cell_digest, shared_digest
from hamsa_deploy.sweep.plot import sweep_drawing
from hamsa_deploy.sweep.record import (
    BUILT,
    FAILED,
    FILE,
    KEPT,
    PLOT,
    Outcome,
    Sweep,
    read_made,
    write_files,
    write_record,
)
from hamsa_runtime.bundle import open_bundle, sha256_of
from hamsa_runtime.errors import HamsaError, InputError
from hamsa_runtime.folders import is_folder, is_there
from hamsa_runtime.manifest import MANIFEST

LOG = logging.getLogger("hamsa_deploy")

SECONDS = 10.0  # for the rounds of the benchmark, and again for loading

Build = Callable[[Request, Path], None]
"""Exports one request to a folder; see `pipeline.export`."""


def planned(base: Request, cells: Sequence[Cell], folder: Path) -> tuple[Sweep, dict[str, str]]:
    """What a sweep would do: outcomes that are KEPT or WAITING, and the digest of each bundle's request."""
    if is_there(folder / MANIFEST) or (is_there(folder) and not is_folder(folder)):
        raise InputError(
            f"{folder}: {'a bundle' if is_folder(folder) else 'a file'}",
            expected="a folder for the bundles of a sweep",
            fix=f"-o {folder}-sweep",
        )
    made = read_made(folder)
    shared = shared_digest(base)
    requests = requests_for(base, cells)
    digests = {cell.folder(base.name): cell_digest(shared, request) for cell, request in requests.items()}
    outcomes = tuple(_planned(cell, cell.folder(base.name), folder, made, digests) for cell in cells)
    return Sweep(base.name, outcomes, made=made), digests


def run_sweep(
    base: Request,
    cells: Sequence[Cell],
    folder: Path,
    build: Build,
    *,
    announce: Callable[[Sequence[Outcome], int], None],
    progress: Progress,
    notes: Sequence[str] = (),
) -> Sweep:
    """Build, compare and time all cells.

    Args:
        base: the request that all cells share; its own target and precision do not count.
        cells: from `matrix`.
        folder: for the bundles, sweep.json and pareto.svg.
        build: exports one cell; what it raises of `HamsaError` becomes the cell's outcome, anything else goes through.
        announce: called before each cell, with all outcomes so far and its index.
        progress: of the benchmark.
        notes: a list that grows while the sweep works, for its record.

    Raises:
        InputError: the folder is no place for a sweep, or an option fits none of the cells.
    """
    sweep, digests = planned(base, cells, folder)
    requests = requests_for(base, cells)
    _make_folder(folder)
    write_record(folder, sweep)
    for index, before in enumerate(sweep.outcomes):
        announce(sweep.outcomes, index)
        if before.is_there:
            continue
        outcome = _built(before, requests[before.cell], folder, build)
        made = dict(sweep.made)
        if outcome.is_there:
            made[outcome.bundle] = _entry(folder / outcome.bundle, digests[outcome.bundle])
        outcomes = (*sweep.outcomes[:index], outcome, *sweep.outcomes[index + 1 :])
        sweep = dataclasses.replace(sweep, outcomes=outcomes, made=made, notes=tuple(notes))
        write_record(folder, sweep)
    outcomes, table = time_bundles(sweep.outcomes, folder, base.fixed_batch or 1, progress, base.device)
    sweep = dataclasses.replace(sweep, outcomes=outcomes, table=table, notes=tuple(notes))
    write_files(folder, {PLOT: sweep_drawing(sweep).as_file()})
    write_record(folder, sweep)
    return sweep


def time_bundles(
    outcomes: Sequence[Outcome], folder: Path, batch: int, progress: Progress, device: str | None = None
) -> tuple[tuple[Outcome, ...], Table | None]:
    """Time all bundles in turn in one run, so that ratios are fair: an outcome has its row, or why it has none.

    Args:
        outcomes: of all cells; those without a bundle stay as they are.
        folder: that holds the bundles.
        batch: images of one inference.
        progress: see `benchmark`.
        device: that they run on; None for the default of their engines.
    """
    devices = [] if device is None else [device]
    reasons = {each.bundle: _obstacle(folder / each.bundle, batch, devices) for each in outcomes if each.is_there}
    able = [folder / name for name, reason in reasons.items() if not reason]
    table = benchmark(candidates_of(able, devices), batch, None, SECONDS, progress=progress) if able else None
    rows = {} if table is None else {row.name: row for row in table.rows}
    return tuple(
        dataclasses.replace(each, row=rows.get(each.bundle), not_timed=reasons.get(each.bundle, ""))
        for each in outcomes
    ), table


def _planned(
    cell: Cell, name: str, folder: Path, made: Mapping[str, Mapping[str, str]], digests: Mapping[str, str]
) -> Outcome:
    outcome = Outcome(cell, name)
    entry, bundle = made.get(name), folder / name
    if entry is None or not bundle.exists():
        return outcome
    if entry["request"] != digests[name]:
        LOG.info("%s was made from another request: model, data, options or versions have changed", bundle)
        return outcome
    try:
        opened = open_bundle(bundle)
        if _entry(bundle, digests[name]) == entry:
            opened.verify()
            return dataclasses.replace(outcome, status=KEPT, parity=opened.manifest.parity)
    except HamsaError as error:
        LOG.info("%s is built again: %s", bundle, error.found)
        return outcome
    LOG.info("%s is built again: it is not the bundle that %s says", bundle, FILE)
    return outcome


def _built(outcome: Outcome, request: Request, folder: Path, build: Build) -> Outcome:
    start = time.perf_counter()
    try:
        build(request, folder / outcome.bundle)
        parity = open_bundle(folder / outcome.bundle).manifest.parity
    except HamsaError as error:
        return dataclasses.replace(
            outcome, status=FAILED, exit_code=error.exit_code, error=error.parts, seconds=time.perf_counter() - start
        )
    return dataclasses.replace(outcome, status=BUILT, parity=parity, seconds=time.perf_counter() - start)


def _entry(bundle: Path, digest: str) -> dict[str, str]:
    return {"request": digest, "manifest": sha256_of(bundle / MANIFEST)[0]}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror})", expected="a place that may be written to", fix="-o DIR"
        ) from error


def _obstacle(bundle: Path, batch: int, devices: Sequence[str]) -> str:
    """Why it cannot run here, such as a missing GPU; empty if it can. One that cannot must not stop the others."""
    try:
        (candidate,) = candidates_of([bundle], devices)
        _run_once(candidate, batch)
    except HamsaError as error:
        return error.found.removeprefix(f"{bundle}: ")
    return ""


def _run_once(candidate: Candidate, batch: int) -> None:
    with candidate.opened(batch, None) as run:
        run()
