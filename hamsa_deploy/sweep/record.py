"""What came of a sweep, as data: an outcome for each cell, and `sweep.json`, by which an interrupted sweep goes on."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamsa_deploy.bench.benchmark import Row, Table
from hamsa_deploy.bench.report import document as bench_document
from hamsa_deploy.sweep.cells import Cell
from hamsa_deploy.sweep.pareto import Point, agreement, front
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.folders import is_there
from hamsa_runtime.manifest import Parity
from hamsa_runtime.whole_files import replace_file

FILE, PLOT = "sweep.json", "pareto.svg"
SCHEMA = 1
BUILT, KEPT, FAILED, WAITING = "built", "kept", "failed", "waiting"
# Worst first: a wrong result, a bug, a builder that failed, something missing, something that cannot be asked for.
SEVERITY = (ParityError.exit_code, 1, 5, 4, 2)
LATENCY = "p50 of one inference in milliseconds, on the graph's inputs, all bundles in turn in one process"
AGREEMENT = "signal-to-noise ratio of the worst output in dB, of the bundle against the original"
ENERGY = "not metered in a sweep"

LOG = logging.getLogger("hamsa_deploy")


@dataclass(frozen=True)
class Outcome:
    """What became of one cell.

    Attributes:
        cell, bundle: what it is, and its folder's name.
        status: BUILT now, KEPT as it was, FAILED, or WAITING for its turn.
        exit_code: what a single export would have exited with.
        error: found, expected, cause and fix, of a cell that failed.
        seconds: that building took.
        parity: of the manifest, compared when the bundle was written.
        not_timed: why there is no time, for a bundle that there is.
        row: of the benchmark.
    """

    cell: Cell
    bundle: str
    status: str = WAITING
    exit_code: int = 0
    error: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    parity: Parity | None = None
    not_timed: str = ""
    row: Row | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a bundle that agrees with the original."""
        return self.status in (BUILT, KEPT)

    @property
    def decibels(self) -> float | None:
        return None if self.parity is None else agreement(self.parity.metrics)

    @property
    def top1(self) -> float | None:
        """Share of the inputs with the same top-1; None for a model without classes."""
        outputs = {} if self.parity is None else self.parity.metrics
        return next((float(each["top1"]) for each in outputs.values() if "top1" in each), None)

    @property
    def milliseconds(self) -> float | None:
        return None if self.row is None else self.row.latency["p50"]

    @property
    def ratio(self) -> float | None:
        """Of its time to the first bundle's."""
        return None if self.row is None else 1.0 if self.row.ratio is None else self.row.ratio.median

    @property
    def point(self) -> Point | None:
        if self.milliseconds is None or self.decibels is None:
            return None
        return Point(self.milliseconds, self.decibels)


@dataclass(frozen=True)
class Sweep:
    """A sweep, finished or not.

    Attributes:
        name: of the model.
        outcomes: in order of the matrix.
        table: of the benchmark; None before it, and where nothing could be timed.
        made: bundle -> the request and the manifest that it was made from and with, for all bundles in the folder.
        notes: what the user was told on the way.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    table: Table | None = None
    made: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def best(self) -> set[str]:
        """The bundles on the front."""
        return front({each.bundle: each.point for each in self.outcomes if each.point is not None})

    @property
    def exit_code(self) -> int:
        """That of the worst cell, by SEVERITY."""
        codes = {each.exit_code for each in self.outcomes}
        return next((code for code in SEVERITY if code in codes), 0)

    def as_document(self) -> dict[str, Any]:
        """What sweep.json holds."""
        waiting = any(each.status == WAITING for each in self.outcomes)
        verdict = "unfinished" if waiting else "failed" if self.exit_code else "passed"
        best = self.best
        return {
            "schema": SCHEMA,
            "name": self.name,
            "verdict": verdict,
            "exit_code": self.exit_code,
            "latency": LATENCY,
            "agreement": AGREEMENT,
            "cells": [_cell_document(each, each.bundle in best) for each in self.outcomes],
            "benchmark": None if self.table is None else bench_document([self.table], ENERGY, []),
            "notes": list(self.notes),
            "made": {name: dict(entry) for name, entry in self.made.items()},
        }


def _cell_document(outcome: Outcome, is_best: bool) -> dict[str, Any]:
    return {
        "target": outcome.cell.target,
        "precision": outcome.cell.precision,
        "bundle": outcome.bundle,
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "error": dict(outcome.error) or None,
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 3),
        "agreement_db": outcome.decibels,
        "same_top1": outcome.top1,
        "latency_ms": outcome.milliseconds,
        "ratio": outcome.ratio,
        "bytes": None if outcome.row is None else outcome.row.bytes,
        "not_timed": outcome.not_timed or None,
        "pareto": is_best,
        "parity": None if outcome.parity is None else dataclasses.asdict(outcome.parity),
    }


def write_files(folder: Path, contents: Mapping[str, str]) -> None:
    """Each in one step: a sweep that is killed leaves the file before or the file after, never half of one."""
    try:
        for name, text in contents.items():
            replace_file(folder / name, text.encode())
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror})",
            expected="a folder with enough room that may be written to",
            fix="free some space, or choose another folder with -o; the bundles in it are whole",
        ) from error


def write_record(folder: Path, sweep: Sweep) -> None:
    """`sweep.json`."""
    write_files(folder, {FILE: json.dumps(sweep.as_document(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"})


def read_made(folder: Path) -> dict[str, dict[str, str]]:
    """`made` of an earlier sweep in this folder; empty if there is none, or none that can be read."""
    path = folder / FILE
    if not is_there(path):
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = {name: (entry["request"], entry["manifest"]) for name, entry in document["made"].items()}
        if document["schema"] == SCHEMA and all(isinstance(each, str) for pair in entries.values() for each in pair):
            return {name: {"request": request, "manifest": manifest} for name, (request, manifest) in entries.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    LOG.warning("%s is damaged, or of another version: discarded, and every cell is built again", path)
    return {}
