"""Tables of measurements: printed as Markdown, and kept as JSON with all that is needed to repeat them.

    options, report = tables.begin(tables.parser(__doc__, threads=2))
    report.show("224 pixels", {"": "", "ms": ".1f", "error": ".1e"}, [["HAMSA-S", tables.spread(times), 2e-6]])

A column has the format of its numbers, or none if it holds words. A cell is a word, a number, nothing, or what was
measured in rounds, whose median is shown with its quartiles. `results.py` makes a page of the files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TypedDict

from hamsa_deploy.measure.processor import processor_name

PACKAGES = (
    "torch", "onnxruntime", "openvino", "nncf", "tensorrt_rtx", "executorch", "ai-edge-litert", "litert-torch",
    "coremltools",
)  # fmt: skip
ROOT = Path(__file__).parents[1]
# Others are noise, and make the files long.
DIGITS = 6


class Spread(TypedDict):
    """What was measured in rounds."""

    median: float
    quartiles: list[float]
    rounds: int


Cell = str | float | Spread | None
Row = list[Cell]


class Table(TypedDict):
    """Rows have a cell for each column; the columns are names, with the formats of their numbers."""

    title: str
    columns: dict[str, str]
    rows: list[Row]
    note: str


class Record(TypedDict):
    """What a file holds: the tables of one run, and where they come from.

    `load` is the machine's when the run began: how many processes wanted to run, on average over a minute. Without
    `threads` the engine chose, or nothing was timed.
    """

    command: str
    date: str
    processor: str
    load: float
    threads: int | None
    versions: dict[str, str]
    tables: list[Table]


def parser(doc: str | None, threads: int | None = None) -> argparse.ArgumentParser:
    """The options that all scripts have; threads are the default of those that take some."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="keep the tables there, for results.py")
    if threads is not None:
        made.add_argument("--threads", type=int, default=threads)
    return made


def spread(values: Iterable[float]) -> Spread:
    """Of one value or more."""
    found = sorted(values)
    low, median, high = statistics.quantiles(found, method="inclusive") if len(found) > 1 else found * 3
    rounded = [float(f"{each:.{DIGITS}g}") for each in (low, median, high)]
    return Spread(median=rounded[1], quartiles=[rounded[0], rounded[2]], rounds=len(found))


class Report:
    """The tables of this run. Each is printed, and written to the file, as soon as it is there; a run that is ended
    leaves what it has kept of one that is not complete."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._file: Path | None = options.json
        self._is_complete = True  # the last table
        self._record = Record(
            command=shlex.join(["python", *sys.argv]),
            date=datetime.now(timezone.utc).date().isoformat(),
            processor=processor_name(),
            load=round(os.getloadavg()[0], 1),
            threads=getattr(options, "threads", None),
            versions={"python": platform.python_version(), **_installed()},
            tables=[],
        )

    def show(self, title: str, columns: Mapping[str, str], rows: Iterable[Sequence[Cell]], note: str = "") -> None:
        """Add a table, in place of what was kept of it."""
        table = self.keep(title, columns, rows, note)
        self._is_complete = True
        if len(self._record["tables"]) == 1:
            print(origin(self._record), end="\n\n")
        print(markdown(table), end="\n\n", flush=True)

    def keep(self, title: str, columns: Mapping[str, str], rows: Iterable[Sequence[Cell]], note: str = "") -> Table:
        """Write what is there of a table to the file, without printing it; the next one takes its place."""
        table = Table(title=title, columns=dict(columns), rows=[list(row) for row in rows], note=note)
        if not self._is_complete:
            self._record["tables"].pop()
        self._record["tables"].append(table)
        self._is_complete = False
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return table


def begin(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Report]:
    """The options of the command line, and what takes the tables."""
    options = parser.parse_args()
    return options, Report(options)


def without_places(text: str, *folders: Path) -> str:
    """A text, as of an error, without this machine's folders, and others: files are said from there."""
    named = [Path(each) for each in (tempfile.gettempdir(), sys.prefix, *sys.path)]
    places = [place for place in (ROOT, Path.home(), *named, *folders) if place.is_absolute()]
    roots = {str(each) for place in places for each in (place, place.resolve())}
    for root in sorted(roots, key=len, reverse=True):
        text = text.replace(root + os.sep, "")
    return text


def _installed() -> dict[str, str]:
    present = {each.metadata["Name"] for each in metadata.distributions()}
    return {name: metadata.version(name) for name in PACKAGES if name in present}


def origin(record: Record) -> str:
    """A sentence: where and when, and with what."""
    threads = "" if record["threads"] is None else f"; threads: {record['threads']}"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{record['date']}, {record['processor']}, load {record['load']:g} at the start{threads}; {versions}"


def markdown(table: Table) -> str:
    """Title, rounds, the table in columns of one width, and its note."""
    head = f"**{table['title']}**{_rounds(table)}"
    return "\n\n".join(part for part in (head, _grid(table), table["note"]) if part)


def _rounds(table: Table) -> str:
    found = {cell["rounds"] for row in table["rows"] for cell in row if isinstance(cell, dict)}
    return f", rounds: {' to '.join(map(str, sorted({min(found), max(found)})))}" if found else ""


def _grid(table: Table) -> str:
    formats = list(table["columns"].values())
    body = [[_text(cell, form) for cell, form in zip(row, formats, strict=True)] for row in table["rows"]]
    if not body:
        return ""
    lines = [list(table["columns"]), *body]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * (width - 1) + (":" if form else "-") for width, form in zip(widths, formats, strict=True)]
    return "\n".join(_line(line, widths, formats) for line in (lines[0], rule, *body))


def _line(cells: Sequence[str], widths: Sequence[int], formats: Sequence[str]) -> str:
    padded = [f"{cell:{'>' if form else '<'}{width}}" for cell, width, form in zip(cells, widths, formats, strict=True)]
    return f"| {' | '.join(padded)} |"


def _text(cell: Cell, form: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell.replace("|", r"\|")
    if isinstance(cell, dict):
        low, high = cell["quartiles"]
        return f"{cell['median']:{form}}" + (f" ({low:{form}} to {high:{form}})" if cell["rounds"] > 1 else "")
    return f"{cell:{form}}"
