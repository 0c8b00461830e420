"""What `--layers` shows: error along depth, and the first layer that differs."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hamsa_deploy.cli.console import grid, table
from hamsa_deploy.parity.layers.rows import HEADINGS, Divergence, LayerReport, table_rows


def show_layers(console: Console, report: LayerReport) -> None:
    """Print the table, what could not be compared, and the verdict."""
    console.print(layer_table(report))
    console.print()
    for name, reason in report.not_comparable.items():
        console.print(Text.assemble((f"not comparable  {name or 'the model'}: ", "yellow"), reason), soft_wrap=True)
    for note in report.notes:
        console.print(Text(note, "dim"), soft_wrap=True)
    if report.divergence is None:
        console.print(Text.assemble(("✓ ", "bold green"), report.sentence()), soft_wrap=True)
        return
    console.print(Text.assemble(("✗ first divergence  ", "bold red"), (report.divergence.module, "bold")))
    console.print(_facts(report.divergence))


def layer_table(report: LayerReport) -> Table:
    """A row for each layer; those outside their band are red."""
    columns = table(*HEADINGS)
    columns.columns[1].justify = "left"
    for row, cells in zip(report.rows, table_rows(report.rows), strict=True):
        columns.add_row(*map(Text, cells), style="red" if row.outside else None)
    return columns


def _facts(found: Divergence) -> Table:
    rows = {
        "node": f"{found.node} ({found.operator})" + (f", {found.source}" if found.source else ""),
        "own error": f"{found.own_error:.2g}, band {found.band:.2g}; image {found.image}",
        "error before it": f"{found.before:.2g}",
        "introduced by": found.stage,
        "finding": found.finding,
    }
    facts = grid()
    for label, text in rows.items():
        facts.add_row(Text(label, "cyan"), Text(text))
    return facts
