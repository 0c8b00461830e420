"""What hamsa-bench shows: a table for each batch and number of threads, ratios first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hamsa_deploy.bench.benchmark import Row, Table, heading
from hamsa_deploy.bench.percentiles import FASTER, SLOWER, UNCLEAR, digits
from hamsa_deploy.cli.console import table

STYLES = {FASTER: "green", SLOWER: "red", UNCLEAR: "yellow"}
LEGEND = (
    "time: the median, over the rounds, of the time over the first bundle's; all take turns in one process, and no "
    "preprocessing is timed. ready, first: loading, to the engine and to its first result, in a process of its own; "
    "memory: what the bundle adds there at most."
)


def show_tables(console: Console, tables: Sequence[Table], energy: str) -> None:
    """All tables, what they mean, and what noise does not allow to say."""
    for each in tables:
        _show_table(console, each)
    console.print(Text(LEGEND, "dim"))
    console.print(Text(f"energy: {energy}", "dim"))


def noise_notes(found: Table) -> Iterator[str]:
    """A sentence for each difference that this machine is too noisy to tell."""
    first = found.rows[0].name
    for row in found.rows:
        if row.verdict == UNCLEAR and row.ratio is not None:
            yield (
                f"{row.name}, {heading(found.batch, found.threads)}: too noisy to tell it from {first}. Ratios of "
                f"{row.ratio.quartiles}; {first} against itself gave {found.control.quartiles}"
            )


def _show_table(console: Console, found: Table) -> None:
    title = f"{heading(found.batch, found.threads)}, {found.rounds} rounds"
    console.print(Text(title, "bold"))
    console.print(_speeds(found))
    console.print()
    console.print(_costs(found))
    console.print(Text(f"\nnoise: {found.rows[0].name} against itself took {found.control.quartiles} times its time"))
    for sentence in noise_notes(found):
        console.print(Text(sentence, "yellow"))
    console.print()


def _speeds(found: Table) -> RichTable:
    rows = table("", "time", "quartiles", "p50 ms", "p90 ms", "p99 ms", "images/s")
    for row in found.rows:
        latency = (digits(value) for value in row.latency.values())
        rows.add_row(Text(row.name), *_ratio_cells(row), *latency, f"{row.images_per_second:.4g}")
    return rows


def _costs(found: Table) -> RichTable:
    """Loading, memory, size and energy, as far as it was metered."""
    energy = ("mJ/image",) if any(row.joules_per_image is not None for row in found.rows) else ()
    rows = table("", "ready ms", "first ms", "memory", "on disk", *energy, "runs on")
    for row in found.rows:
        joules = (digits(None if row.joules_per_image is None else 1e3 * row.joules_per_image),) if energy else ()
        rows.add_row(Text(row.name), *_load_cells(row), *joules, f"{row.engine}, {row.precision}")
    return rows


def _ratio_cells(row: Row) -> tuple[Text, Text]:
    if row.ratio is None or row.verdict is None:
        return Text("1"), Text("")
    mark = "?" if row.verdict == UNCLEAR else ""
    return Text(f"{row.ratio.median:.2f}{mark}", STYLES[row.verdict]), Text(row.ratio.quartiles)


def _load_cells(row: Row) -> list[str]:
    size = _megabytes(row.bytes)
    if row.load is None:
        return ["-", "-", "-", size]
    return [f"{1e3 * row.load.ready:.0f}", f"{1e3 * row.load.first_result:.0f}", _megabytes(row.load.memory), size]


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"
