"""What hamsa-bench measured, as HTML: ratios first, then times, costs and energy."""

from __future__ import annotations

from hamsa_deploy.bench.benchmark import Row, Table, heading
from hamsa_deploy.bench.percentiles import UNCLEAR, digits
from hamsa_deploy.bench.report import tables_from
from hamsa_deploy.report.document import BENCH, Document
from hamsa_deploy.report.markup import Child, Markup, facts, figure, table, tag
from hamsa_deploy.report.ratios_plot import ratios_drawing

TITLE = "Speed against the peers"
CAPTION = (
    "Time over that of this bundle: shorter is faster. The line across a bar's tip is the interquartile range over the "
    "rounds, the band round 1 is what this machine makes of no difference at all."
)
HEAD = ("", "time", "quartiles", "", "p50, ms", "p90, ms", "p99, ms", "images/s")
COSTS = ("", "ready, ms", "first result, ms", "memory, MB", "on disk, MB", "mJ/image", "runs on")


def bench_part(document: Document) -> Markup:
    """The drawing, a table for each batch and number of threads, and what is not known, with the reason."""
    found = document["sections"].get(BENCH)
    if found is None:
        command = tag("code", "hamsa-bench BUNDLE --peer deit_s --report FILE.html")
        line = tag(
            "p", "Not in this report yet: latency, and the peers beside it. ", command, " adds it.", class_="empty"
        )
        return tag("section", tag("h2", TITLE), line)
    found = found["measured"]
    tables = tables_from(found)
    notes = [tag("p", tag("strong", "Note: "), note, class_="unsure") for note in found["notes"]]
    about: list[tuple[str, Child]] = [
        ("energy", found["energy"]),
        ("machine", found["machine"]["processor"]),
        ("inputs", found["inputs"]),
        ("loading", found["loading"]),
    ]
    return tag(
        "section",
        tag("h2", TITLE),
        figure(ratios_drawing(tables).in_page(), CAPTION),
        *notes,
        *(part for each in tables for part in _table_parts(each)),
        facts(about),
    )


def _table_parts(found: Table) -> list[Markup]:
    first, control = found.rows[0].name, found.control.quartiles
    noise = f"{found.rounds} rounds. {first} against itself took {control} times its time."
    return [
        tag("h3", heading(found.batch, found.threads)),
        table(list(HEAD), [_speed_cells(row) for row in found.rows], stacks=True),
        tag("p", noise, class_="quiet"),
        table(list(COSTS), [_cost_cells(row) for row in found.rows], stacks=True),
    ]


def _speed_cells(row: Row) -> list[Child]:
    latency = [digits(row.latency[name]) for name in ("p50", "p90", "p99")]
    if row.ratio is None or row.verdict is None:
        return [row.name, "1", "", "this bundle", *latency, f"{row.images_per_second:.4g}"]
    kind = {"faster": "good", "slower": "bad"}.get(row.verdict, "unsure")
    mark = "?" if row.verdict == UNCLEAR else ""
    ratio = tag("strong", f"{row.ratio.median:.2f}{mark}", class_=kind)
    return [row.name, ratio, row.ratio.quartiles, row.verdict, *latency, f"{row.images_per_second:.4g}"]


def _cost_cells(row: Row) -> list[Child]:
    load = row.load
    cells = [None, None, None] if load is None else [1e3 * load.ready, 1e3 * load.first_result, load.memory / 1e6]
    size = None if row.bytes is None else row.bytes / 1e6
    joules = None if row.joules_per_image is None else 1e3 * row.joules_per_image
    return [row.name, *map(digits, (*cells, size, joules)), f"{row.engine}, {row.precision}"]
