"""Outcomes of a sweep that nobody ran."""

from __future__ import annotations

from hamsa_deploy.bench.benchmark import Row, Table
from hamsa_deploy.bench.percentiles import FASTER, Ratio
from hamsa_deploy.sweep.cells import Cell
from hamsa_deploy.sweep.record import BUILT, FAILED, Outcome, Sweep
from hamsa_runtime.manifest import Parity

CONTROL = Ratio(1.0, 0.99, 1.01)


def timed(cell: Cell, milliseconds: float, decibels: float, top1: float | None = 1.0) -> Outcome:
    """A bundle that agrees, with a time."""
    logits = {"signal_to_noise_db": decibels} | ({} if top1 is None else {"top1": top1})
    embedding = {"signal_to_noise_db": decibels + 7}
    parity = Parity("Net", 8, {"logits": logits, "embedding": embedding}, {"cosine": 0.9}, True)
    latency = {"p50": milliseconds, "p90": None, "p99": None}
    row = Row(cell.folder("net"), "E", cell.precision, 9, latency, 1.0, CONTROL, FASTER, None, 10**6, None)
    return Outcome(cell, cell.folder("net"), BUILT, seconds=1.0, parity=parity, row=row)


def failed(cell: Cell, exit_code: int) -> Outcome:
    """A cell without a bundle."""
    error = {"found": "no such thing", "expected": "another", "cause": "", "fix": "get one"}
    return Outcome(cell, cell.folder("net"), FAILED, exit_code, error)


def sweep_of(*outcomes: Outcome) -> Sweep:
    """A finished sweep."""
    rows = tuple(each.row for each in outcomes if each.row is not None)
    return Sweep("net", outcomes, Table(1, None, 5, CONTROL, rows) if rows else None)
