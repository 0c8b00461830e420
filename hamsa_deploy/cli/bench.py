"""`hamsa-bench`: how fast bundles are on this machine, beside each other and beside peers."""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_deploy.cli.console import Stages, Terminal, run
from hamsa_deploy.cli.early import check_model
from hamsa_deploy.cli.files import import_from_here
from hamsa_deploy.cli.parser import Parser
from hamsa_deploy.cli.reports import Reports, add_report, planned
from hamsa_deploy.form.values import one_of, svg_file
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.cli.log_file import check_writable
from hamsa_runtime.cli.parser import command_words
from hamsa_runtime.errors import InputError
from hamsa_runtime.whole_files import scratch_folder

if TYPE_CHECKING:
    from hamsa_deploy.bench.benchmark import Table
    from hamsa_deploy.bench.candidates import Candidate
    from hamsa_runtime.energy import Source

DESCRIPTION = (
    "Measures bundles beside each other on this machine, on their own engines: latency, throughput, loading, memory, "
    "size, and energy where the machine meters it. Ratios are to the first bundle."
)
STAGES = {
    "open": "make peers, load all engines",
    "time": "run them in turn",
    "load": "load each in processes of its own",
}
SECONDS = 10.0
# Kept here too, because importing the peers imports torch, and --help should not; a test compares them.
PEERS = ("deit_s", "dft", "eager")


def main(argv: list[str] | None = None, prog: str = "hamsa-bench") -> int:
    """Run the command; returns its exit code."""
    command = command_words(prog, argv)
    return run(parser(prog), functools.partial(_bench, command=command), argv)


# fmt: off
def parser(prog: str = "hamsa-bench") -> Parser:
    """Of the command's line."""
    parser = Parser(prog, DESCRIPTION, usage="%(prog)s BUNDLE [BUNDLE ...] [OPTION ...]")
    add = parser.add_argument
    add("bundles", nargs="*", type=Path, metavar="BUNDLE", help="folders that hamsa-export has written")
    add("--batch", type=counts, default=[1], metavar="N,...", help="images of one inference, such as 1,8 (default: 1)")
    add("--threads", type=counts, default=[None], metavar="N,...",
        help="CPU threads of one inference, such as 1,2 (default: as each engine chooses)")
    add("--peer", type=one_of("peer", PEERS), action="append", default=[], metavar="NAME",
        help="something to compare with, on the engine of the first bundle: deit_s (DeiT-S at its image size), dft "
             "(its model through ONNX's operator DFT, the standard route), or eager (its model in PyTorch); may "
             "be repeated")
    add("--model", metavar="NAME",
        help="for the peers dft and eager of your own model, the package.module:factory that the first bundle names, "
             "which is imported")
    add("--seconds", type=seconds, default=SECONDS, metavar="S",
        help="how long the rounds may take for each batch and number of threads, at least five rounds; and again how "
             f"long the loading (default: {SECONDS:g})")
    parser.add_device("they are measured on; may be repeated, and each bundle then runs on each", is_list=True)
    parser.add_timeout()
    files = parser.add_argument_group("files")
    files.add_argument("--csv", type=Path, metavar="FILE", help="write one line for each bundle, batch and threads")
    files.add_argument("--plot", type=svg_file, metavar="FILE.svg", help="draw the ratios, with times beside them")
    add_report(parser, ".html", ".md")
    parser.add_common()
    return parser
# fmt: on


def counts(text: str) -> list[int]:
    """'1,8' -> [1, 8]."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers of at least 1, such as 1,8")
    return list(dict.fromkeys(map(int, parts)))


def seconds(text: str) -> float:
    """A time of more than 0 and at most an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to 3600, such as 5")
    return value


def _bench(options: Any, terminal: Terminal, command: Sequence[str]) -> int:
    if not options.bundles:
        raise InputError(
            "no bundle given",
            expected="at least one folder",
            fix="hamsa bench out/hamsa_nano-openvino-fp32",
        )
    for bundle in options.bundles:
        open_bundle(bundle)
    if options.model is not None:
        check_model(options.model)
    from hamsa_deploy.bench.candidates import candidates_of
    from hamsa_runtime.energy import source_or_reason
    from hamsa_runtime.trial import try_bundle

    for option, path in (("--csv", options.csv), ("--plot", options.plot)):
        if path is not None:
            check_writable(path, option)
    reports = planned(options.report, options.bundles[0], command, terminal)
    candidates = candidates_of(options.bundles, options.device)
    for bundle in options.bundles:
        try_bundle(bundle, seconds=options.timeout)
    with scratch_folder() as folder:
        candidates += _peers(options, folder)
        source, energy = source_or_reason({each.processor for each in candidates})
        tables = _tables(candidates, source, options, terminal)
    _write(tables, energy, options, terminal, reports)
    return 0


def _peers(options: Any, folder: Path) -> list[Candidate]:
    if not options.peer:
        return []
    from hamsa_deploy.bench.peers import peers_of

    if options.model is not None:
        import_from_here()
    manifest = open_bundle(options.bundles[0]).manifest
    return peers_of(list(dict.fromkeys(options.peer)), manifest, folder, options.model, *options.device[:1])


def _tables(candidates: Sequence[Candidate], source: Source | None, options: Any, terminal: Terminal) -> list[Table]:
    from hamsa_deploy.bench.benchmark import benchmark, heading
    from hamsa_deploy.measure.interleaved import TURN_SECONDS
    from hamsa_runtime import energy

    meter, turn = (None, TURN_SECONDS) if source is None else (source.meter, energy.TURN_SECONDS)
    tables = []
    for batch, threads in itertools.product(options.batch, options.threads):
        descriptions = {name: f"{text}: {heading(batch, threads)}" for name, text in STAGES.items()}
        with Stages(terminal, descriptions) as stages:
            found = benchmark(
                candidates, batch, threads, options.seconds, meter=meter, turn_seconds=turn, progress=stages
            )
        tables.append(found)
    return tables


def _write(tables: Sequence[Table], energy: str, options: Any, terminal: Terminal, reports: Reports | None) -> None:
    from hamsa_deploy.bench.report import csv_text, document
    from hamsa_deploy.cli.bench_tables import noise_notes, show_tables
    from hamsa_deploy.report.document import BENCH
    from hamsa_deploy.report.files import write
    from hamsa_deploy.report.ratios_plot import ratios_drawing

    notes = [*terminal.notes, *(note for table in tables for note in noise_notes(table))]
    if options.csv is not None:
        write(options.csv, csv_text(tables))
    if options.plot is not None:
        write(options.plot, ratios_drawing(tables).as_file())
    found = document(tables, energy, notes)
    if reports is not None:
        reports.write(BENCH, {"measured": found})
    if terminal.as_json:
        terminal.write_json(found)
    else:
        show_tables(terminal.out, tables, energy)


if __name__ == "__main__":
    sys.exit(main())
