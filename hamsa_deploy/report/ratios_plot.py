"""The ratios of a benchmark as a drawing: a bar for each candidate, as long as its time over the first one's.

The line across a bar's tip is the interquartile range, the vertical line is the first candidate, and the band around
it is the control: what this machine makes of no difference at all. The text holds ratio and median.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hamsa_deploy.bench.benchmark import Row, Table, heading
from hamsa_deploy.bench.percentiles import FASTER, SLOWER, UNCLEAR, digits
from hamsa_deploy.report.markup import Markup
from hamsa_deploy.report.svg import Drawing, Scale, line, rect, text

WIDTH, LEFT, RIGHT, MARGIN = 760, 230, 150, 16  # pixels: names stand left of the bars, figures right of them
ROW, BAR, TITLE = 28, 16, 34
LETTERS = 30  # of a name that fit beside the bars
# A scale to the slowest would leave nothing to see of the others, were it ten times as slow: longer bars have a gap.
LONGEST = 5.0
FOOTER = "Times over that of the first, with quartiles, and median latency. A bar with a gap is longer than drawn."
COLOURS = {None: "quiet", FASTER: "good", SLOWER: "second", UNCLEAR: "unsure"}


def ratios_drawing(tables: Sequence[Table]) -> Drawing:
    """One panel for each batch and number of threads."""
    marks: list[Markup] = []
    top = MARGIN
    for table in tables:
        marks += _panel(table, top)
        top += TITLE + ROW * len(table.rows) + MARGIN
    marks.append(text(MARGIN, top + 2, FOOTER, "quiet"))
    return Drawing("Time of each candidate over the time of the first", WIDTH, top + ROW - MARGIN, marks)


def _panel(table: Table, top: int) -> Iterator[Markup]:
    longest = min(max(_longest(row) for row in table.rows), LONGEST)
    x = Scale(0, longest, LEFT, WIDTH - RIGHT)
    title = f"{heading(table.batch, table.threads)}: time over that of {table.rows[0].name}"
    yield text(MARGIN, top + 14, title, bold=True, size=13)
    start, height = top + TITLE - ROW / 4, ROW * len(table.rows)
    low, high = x(table.control.q1), x(table.control.q3)
    yield rect(low, start, high - low, height, "line")
    for k, row in enumerate(table.rows):
        yield from _bar(row, top + TITLE + ROW * k, x)
    yield line([(x(1), start), (x(1), start + height)], "ink", dashes="3 3")


def _bar(row: Row, top: int, x: Scale) -> Iterator[Markup]:
    value = 1.0 if row.ratio is None else row.ratio.median
    end = x(min(value, LONGEST))
    name = row.name if len(row.name) <= LETTERS else "…" + row.name[1 - LETTERS :]
    yield text(LEFT - 8, top + 12, name, anchor="end")
    yield rect(LEFT, top, end - LEFT, BAR, COLOURS[row.verdict], rounded=2)
    if row.ratio is not None and value <= LONGEST:
        low, high = (x(min(edge, LONGEST)) for edge in (row.ratio.q1, row.ratio.q3))
        yield line([(low, top + BAR / 2), (high, top + BAR / 2)], "ink", width=2)
    if value > LONGEST:
        yield rect(end - 14, top, 5, BAR, "paper")
    unclear = "?" if row.verdict == UNCLEAR else ""
    yield text(WIDTH - RIGHT + 60, top + 12, f"{value:.2f}{unclear}", anchor="end")
    yield text(WIDTH - MARGIN, top + 12, f"{digits(row.latency['p50'])} ms", "quiet", anchor="end")


def _longest(row: Row) -> float:
    return 1.0 if row.ratio is None else max(1.0, row.ratio.q3)
