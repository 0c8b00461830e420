"""`hamsa-export --sweep`: the matrix that is asked for, and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hamsa_deploy.bench.percentiles import UNCLEAR, digits
from hamsa_deploy.cli.console import INTERRUPTED, Stages, Terminal, table
from hamsa_deploy.cli.early import check_data
from hamsa_deploy.cli.packages import missing_package
from hamsa_deploy.form.options import default_of
from hamsa_deploy.form.request import DEFAULT_TARGET, ExportOptions
from hamsa_deploy.services import SERVICES
from hamsa_runtime.errors import InputError

if TYPE_CHECKING:
    from hamsa_deploy.bench.benchmark import Table as BenchTable
    from hamsa_deploy.form.request import Request
    from hamsa_deploy.sweep.cells import Cell
    from hamsa_deploy.sweep.record import Outcome, Sweep

BENCH_STAGES = {
    "open": "load the engines of all bundles",
    "time": "run them in turn",
    "load": "load each in processes of its own",
}
# Beside --sweep: the option for one cell, its default, and the list that says the same of several.
SINGLE = {
    "targets": ("--to", "to", DEFAULT_TARGET),
    "precisions": ("--fp16 and its like", "precision", default_of(ExportOptions, "precision")),
}
LEGEND = (
    "agreement: signal to noise of the worst output against the original's; time: the median, over the rounds, of the "
    "time over the first one's; ★: no other bundle is at least as fast and as close, and better in one of both."
)


def sweep(options: Any, terminal: Terminal, stages: Mapping[str, str]) -> int:
    """Build the matrix and show it; returns the exit code, that of the worst cell."""
    lists = _lists(options)
    with Stages(terminal, stages) as shown, shown("load"):
        check_data(options)
        from hamsa_deploy.cli.request import request_from_options
        from hamsa_deploy.sweep.cells import matrix

        base = request_from_options(options)
    cells = matrix(lists["targets"], lists["precisions"])
    folder = options.output or Path("out", f"{base.name}-sweep")
    if options.dry_run:
        return _show_plan(base, cells, folder, terminal)
    try:
        found = _swept(base, cells, folder, terminal, stages)
    except KeyboardInterrupt:
        terminal.show_line(f"interrupted; what is finished stays in {folder}, and the same command goes on from there")
        return INTERRUPTED
    _show(found, folder, terminal)
    return found.exit_code


def _lists(options: Any) -> dict[str, list[str]]:
    """The names of each key; where --sweep leaves one open, what the option for a single export says."""
    if options.to in SERVICES:
        raise InputError(
            f"--sweep with --to {options.to}",
            expected="a server's repository by itself: a sweep compares engines",
            fix=f"--to {options.to} without --sweep, once the best bundle is known",
        )
    found: dict[str, list[str]] = {}
    for key, names in options.sweep:
        if key in found:
            raise InputError(f"--sweep with {key} twice", expected="each key once", fix=f"{key}=NAME,NAME,...")
        found[key] = names
    for key, (option, attribute, default) in SINGLE.items():
        value = getattr(options, attribute) or default
        if key in found and value != default:
            raise InputError(
                f"--sweep with {key}={','.join(found[key])}, and {option} for {value}",
                expected="one of both",
                fix=f"leave {option} away, or {key}= in --sweep",
            )
        found.setdefault(key, [value])
    return found


def _swept(base: Request, cells: Sequence[Cell], folder: Path, terminal: Terminal, stages: Mapping[str, str]) -> Sweep:
    from hamsa_deploy.sweep.run import run_sweep

    def build(request: Request, output: Path) -> None:
        from hamsa_deploy.pipeline.run import export

        try:
            with Stages(terminal, stages) as shown:
                export(**vars(request), output=output, progress=shown)
        except ModuleNotFoundError as error:
            missing = missing_package(error)
            raise missing or error from error

    def announce(outcomes: Sequence[Outcome], index: int) -> None:
        outcome = outcomes[index]
        kept = ": kept, made from the same things before" if outcome.is_there else ""
        terminal.err.print(Text(f"[{index + 1}/{len(outcomes)}] {outcome.cell}{kept}", "bold"))

    with Stages(terminal, BENCH_STAGES) as timing:
        return run_sweep(base, cells, folder, build, announce=announce, progress=timing, notes=terminal.notes)


def _show_plan(base: Request, cells: Sequence[Cell], folder: Path, terminal: Terminal) -> int:
    """What would be built and what would be kept."""
    from hamsa_deploy.sweep.run import planned

    found, _ = planned(base, cells, folder)
    if terminal.as_json:
        terminal.write_json(found.as_document() | {"verdict": "planned"})
        return 0
    rows = table("", "bundle", "", justify="left")
    for each in found.outcomes:
        rows.add_row(str(each.cell), str(folder / each.bundle), "would be kept" if each.is_there else "would be built")
    terminal.out.print(rows)
    terminal.out.print("\nDry run: nothing was written.")
    return 0


def _show(found: Sweep, folder: Path, terminal: Terminal) -> None:
    if terminal.as_json:
        terminal.write_json(found.as_document())
    else:
        show_sweep(terminal.out, found, folder)
    if terminal.as_json or terminal.quiet:
        for each in found.outcomes:
            if each.exit_code:
                terminal.show_line(_failure(each))


def show_sweep(console: Console, found: Sweep, folder: Path) -> None:
    """All cells, why some of them failed or have no time, what noise does not allow to say, and where the files are."""
    from hamsa_deploy.bench.benchmark import heading
    from hamsa_deploy.sweep.record import FILE, PLOT

    how = "" if found.table is None else f": {heading(found.table.batch, found.table.threads)}"
    console.print(Text(f"{found.name}{how}\n", "bold"))
    console.print(_cells(found))
    console.print()
    for each in found.outcomes:
        if each.exit_code:
            console.print(Text(_failure(each), "red"))
        elif each.not_timed:
            console.print(Text(f"{each.cell} was not timed: {each.not_timed}", "yellow"))
    if found.table is not None and any(map(_is_unclear, found.outcomes)):
        console.print(Text(_noise_note(found.table), "yellow"))
    console.print(Text(LEGEND, "dim"))
    console.print(Text.assemble(("\nBundles ", "bold"), str(folder)), soft_wrap=True)
    console.print(Text.assemble(("Plot    ", "bold"), str(folder / PLOT)), soft_wrap=True)
    console.print(Text.assemble(("Record  ", "bold"), str(folder / FILE)), soft_wrap=True)


def _cells(found: Sweep) -> Table:
    rows = table("", "", "agreement", "same top-1", "p50 ms", "time", "on disk", "")
    best = found.best
    for each in found.outcomes:
        star = Text("★" if each.bundle in best else "", "green")
        state = Text(f"exit {each.exit_code}", "red") if each.exit_code else Text(each.status, "dim")
        rows.add_row(str(each.cell), star, *_figures(each), state)
    return rows


def _figures(outcome: Outcome) -> list[str]:
    size = None if outcome.row is None else outcome.row.bytes
    return [
        _text("{:.1f} dB", outcome.decibels),
        _text("{:.2%}", outcome.top1).replace("%", " %"),
        digits(outcome.milliseconds),
        _text("{:.2f}?" if _is_unclear(outcome) else "{:.2f}", outcome.ratio),
        _text("{:.1f} MB", None if size is None else size / 1e6),
    ]


def _text(form: str, value: float | None) -> str:
    return "-" if value is None else form.format(value)


def _is_unclear(outcome: Outcome) -> bool:
    return outcome.row is not None and outcome.row.verdict == UNCLEAR


def _noise_note(timed: BenchTable) -> str:
    first, control = timed.rows[0].name, timed.control
    return (
        f"?: this machine is too noisy to tell it from {first}, which took {control.quartiles} times its "
        "own time when it ran beside itself"
    )


def _failure(outcome: Outcome) -> str:
    parts = {"expected": outcome.error["expected"], "likely cause": outcome.error["cause"]}
    if outcome.exit_code != InputError.exit_code:  # for another request, which a sweep makes of its own
        parts["try"] = outcome.error["fix"]
    rest = "".join(f"; {label}: {text}" for label, text in parts.items() if text)
    return f"{outcome.cell} failed, exit code {outcome.exit_code}: {outcome.error['found']}{rest}"
