"""What hamsa-bench shows of given tables."""

from __future__ import annotations

import io

from rich.console import Console

from hamsa_deploy.bench.benchmark import Row, Table
from hamsa_deploy.bench.loading import Load
from hamsa_deploy.bench.percentiles import FASTER, UNCLEAR, Ratio
from hamsa_deploy.cli.bench_tables import noise_notes, show_tables


def row(name: str, ratio: Ratio | None = None, verdict: str | None = None, load: Load | None = None) -> Row:
    latency = {"p50": 1.5, "p90": 2.5, "p99": None}
    return Row(name, "OpenVINO", "bf16", 12, latency, 666.7, ratio, verdict, load, 1_400_000 if load else None, None)


TABLE = Table(
    8,
    None,
    5,
    Ratio(1.0, 0.96, 1.03),
    (
        row("first", load=Load(0.1, 0.25, 86_000_000)),
        row("quick", Ratio(0.5, 0.48, 0.52), FASTER),
        row("about the same", Ratio(1.02, 0.98, 1.05), UNCLEAR),
    ),
)


def shown() -> str:
    stream = io.StringIO()
    show_tables(Console(file=stream, width=120), [TABLE], "left out: no sensor")
    return stream.getvalue()


def test_only_what_cannot_be_told_is_noted_with_the_reason() -> None:
    (note,) = noise_notes(TABLE)
    assert note == (
        "about the same, batch 8, threads as the engine chooses: too noisy to tell it from first. Ratios of 0.98-1.05; "
        "first against itself gave 0.96-1.03"
    )
    assert note.split(":")[0] in shown()


def test_ratios_are_marked_and_unknown_figures_are_dashes() -> None:
    cells = {line.split("  ")[0]: line.split() for line in reversed(shown().splitlines()) if line}
    assert cells["quick"][1:] == ["0.50", "0.48-0.52", "1.50", "2.50", "-", "666.7"]
    assert "1.02?" in cells["about the same"]
    assert "first  " in shown()
    assert "100        250   86.0 MB    1.4 MB   OpenVINO, bf16" in shown()


def test_without_a_meter_the_reason_stands_where_the_energy_would() -> None:
    assert "mJ/image" not in shown()
    assert "energy: left out: no sensor" in shown()
