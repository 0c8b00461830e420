"""The bundles of a sweep, timed in turn in one run, so that ratios between them are fair."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from hamsa_deploy.bench.benchmark import Progress, Table, benchmark
from hamsa_deploy.bench.candidates import Candidate, candidates_of
from hamsa_deploy.sweep.record import Outcome
from hamsa_runtime.errors import HamsaError

SECONDS = 10.0  # for the rounds, and again for loading

LOG = logging.getLogger("hamsa_deploy")


def timed(
    outcomes: Sequence[Outcome], folder: Path, batch: int, progress: Progress
) -> tuple[tuple[Outcome, ...], Table | None]:
    """Every outcome with its row of the benchmark, or with the reason why it has none.

    Args:
        outcomes: of all cells; those without a bundle stay as they are.
        folder: that holds the bundles.
        batch: images of one inference.
        progress: see `benchmark`.
    """
    reasons = {each.bundle: _obstacle(folder / each.bundle, batch) for each in outcomes if each.is_there}
    able = [folder / name for name, reason in reasons.items() if not reason]
    table = benchmark(candidates_of(able), batch, None, SECONDS, progress=progress) if able else None
    rows = {} if table is None else {row.name: row for row in table.rows}
    return tuple(
        dataclasses.replace(each, row=rows.get(each.bundle), not_timed=reasons.get(each.bundle, ""))
        for each in outcomes
    ), table


def _obstacle(bundle: Path, batch: int) -> str:
    """Why it cannot run here, such as a missing GPU; empty if it can. One that cannot must not stop the others."""
    try:
        (candidate,) = candidates_of([bundle])
        _run_once(candidate, batch)
    except HamsaError as error:
        return error.found.removeprefix(f"{bundle}: ")
    return ""


def _run_once(candidate: Candidate, batch: int) -> None:
    with candidate.opened(batch, None) as run:
        run()
