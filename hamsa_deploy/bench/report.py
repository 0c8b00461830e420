"""A benchmark as plain values: one document for JSON, one row for each candidate for CSV."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from typing import Any

from hamsa_deploy.bench.benchmark import Row, Table
from hamsa_deploy.bench.loading import Load
from hamsa_deploy.bench.percentiles import Ratio
from hamsa_deploy.measure.processor import processor_name
from hamsa_deploy.targets import all_targets

ENGINES = [package.pip_name for target in all_targets() for package in target.packages[:1]]
PACKAGES = ("hamsa-deploy", "hamsa-runtime", "torch", "onnxruntime", *ENGINES)
INPUTS = "graph inputs made beforehand: no preprocessing is timed"
LOADING = "in a process of its own for each bundle, medians; memory is the resident size that the bundle adds at most"
COLUMNS = (
    "bundle batch threads engine precision ratio ratio_q1 ratio_q3 verdict p50_ms p90_ms p99_ms images_per_second "
    "load_ms first_result_ms memory_bytes size_bytes joules_per_image runs rounds control_q1 control_q3"
).split()


def document(tables: Sequence[Table], energy: str, notes: Sequence[str]) -> dict[str, Any]:
    """Everything that was measured, with where and how; milliseconds, seconds, bytes and joules.

    Args:
        tables: one for each batch and number of threads.
        energy: what metered it, or why nothing did.
        notes: what the user was told on the way.
    """
    return {
        "machine": {"processor": processor_name(), "load_average": _load_average()},
        "versions": versions_here(),
        "inputs": INPUTS,
        "loading": LOADING,
        "energy": energy,
        "notes": list(notes),
        "tables": [dataclasses.asdict(table) for table in tables],
    }


def _load_average() -> list[float] | None:
    """Of the last 1, 5 and 15 minutes; None on a system that has none, as Windows."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def tables_from(report: Mapping[str, Any]) -> list[Table]:
    """The tables of a `document`, also of one that was read from JSON."""
    return [
        Table(**{**table, "control": Ratio(**table["control"]), "rows": tuple(map(_row_from, table["rows"]))})
        for table in report["tables"]
    ]


def _row_from(row: Mapping[str, Any]) -> Row:
    ratio, load = row["ratio"], row["load"]
    return Row(**{**row, "ratio": ratio and Ratio(**ratio), "load": load and Load(**load)})


def csv_text(tables: Sequence[Table]) -> str:
    """One line for each candidate, batch and number of threads; what is not known stays empty."""
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        writer.writerows(_cells(table, row) for row in table.rows)
    return text.getvalue()


def _cells(table: Table, row: Row) -> dict[str, Any]:
    found, load = row.ratio, row.load
    cells = {
        "bundle": row.name,
        "batch": table.batch,
        "threads": table.threads,
        "engine": row.engine,
        "precision": row.precision,
        "ratio": 1.0 if found is None else found.median,
        "ratio_q1": found and found.q1,
        "ratio_q3": found and found.q3,
        "verdict": row.verdict,
        **{f"{name}_ms": value for name, value in row.latency.items()},
        "images_per_second": row.images_per_second,
        "load_ms": load and 1e3 * load.ready,
        "first_result_ms": load and 1e3 * load.first_result,
        "memory_bytes": load and load.memory,
        "size_bytes": row.bytes,
        "joules_per_image": row.joules_per_image,
        "runs": row.runs,
        "rounds": table.rounds,
        "control_q1": table.control.q1,
        "control_q3": table.control.q3,
    }
    return {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in cells.items()}


def versions_here() -> dict[str, str]:
    """Of the packages that measure, and of the engines that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an engine that none of the bundles needs
            continue
    return found
