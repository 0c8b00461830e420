"""The ratios of a benchmark as an SVG: a bar for each candidate, as long as its time over the first one's.

The line across a bar's tip is the interquartile range, the vertical line is the first candidate, and the band around
it is the control: what this machine makes of no difference at all. The text holds ratio and median. An SVG needs no
package to be written, and can stand in an HTML file as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from hamsa_deploy.bench.benchmark import Row, Table, heading
from hamsa_deploy.bench.percentiles import FASTER, SLOWER, UNCLEAR

WIDTH, LEFT, RIGHT, MARGIN = 760, 230, 150, 16  # pixels: names stand left of the bars, figures right of them
ROW, BAR, TITLE = 28, 16, 34
LETTERS = 32  # of a name that fit beside the bars
# A scale to the slowest would leave nothing to see of the others, were it ten times as slow: longer bars have a gap.
LONGEST = 5.0
FOOTER = "Times over that of the first, with quartiles, and median latency. A bar with a gap is longer than drawn."
INK, QUIET_INK, BAND, PAPER = "#1f2328", "#59636e", "#d8dee4", "#ffffff"
COLOURS = {None: "#57606a", FASTER: "#1a7f37", SLOWER: "#bc4c00", UNCLEAR: "#9a6700"}
FONT = "font-family='system-ui, sans-serif' font-size='13'"


def plot(tables: Sequence[Table]) -> str:
    """A whole SVG document; one panel for each batch and number of threads."""
    heights = [TITLE + ROW * len(table.rows) + MARGIN for table in tables]
    height = sum(heights) + ROW
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' "
        f"role='img' {FONT} fill='{INK}'>",
        "<title>Time of each candidate over the time of the first</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='{PAPER}'/>",
    ]
    top = MARGIN
    for table, used in zip(tables, heights, strict=True):
        parts += _panel(table, top)
        top += used
    parts.append(_text(MARGIN, height - 10, FOOTER, colour=QUIET_INK))
    return "\n".join([*parts, "</svg>\n"])


def _panel(table: Table, top: int) -> Iterator[str]:
    scale = (WIDTH - LEFT - RIGHT) / min(max(_longest(row) for row in table.rows), LONGEST)
    title = f"{heading(table.batch, table.threads)}: time over that of {table.rows[0].name}"
    yield _text(MARGIN, top + 14, title, bold=True)
    start, length = top + TITLE - ROW / 4, ROW * len(table.rows)
    low, high = (LEFT + scale * value for value in (table.control.q1, table.control.q3))
    yield f"<rect x='{low:.1f}' y='{start:.1f}' width='{high - low:.1f}' height='{length}' fill='{BAND}'/>"
    for k, row in enumerate(table.rows):
        yield from _bar(row, top + TITLE + ROW * k, scale)
    one = LEFT + scale
    yield f"<path d='M{one:.1f} {start:.1f}v{length}' stroke='{INK}' stroke-dasharray='3 3'/>"


def _bar(row: Row, top: int, scale: float) -> Iterator[str]:
    value = 1.0 if row.ratio is None else row.ratio.median
    width = scale * min(value, LONGEST)
    name = row.name if len(row.name) <= LETTERS else "…" + row.name[1 - LETTERS :]
    yield _text(LEFT - 8, top + 12, name, anchor="end")
    yield f"<rect x='{LEFT}' y='{top}' width='{width:.1f}' height='{BAR}' rx='2' fill='{COLOURS[row.verdict]}'/>"
    if row.ratio is not None and value <= LONGEST:
        low, high = (LEFT + scale * min(edge, LONGEST) for edge in (row.ratio.q1, row.ratio.q3))
        yield f"<path d='M{low:.1f} {top + BAR / 2}H{high:.1f}' stroke='{INK}' stroke-width='2'/>"
    if value > LONGEST:
        yield f"<rect x='{LEFT + width - 14:.1f}' y='{top}' width='5' height='{BAR}' fill='{PAPER}'/>"
    unclear = "?" if row.verdict == UNCLEAR else ""
    yield _text(WIDTH - RIGHT + 60, top + 12, f"{value:.2f}{unclear}", anchor="end")
    latency = f"{row.latency['p50']:#.3g}".rstrip(".")
    yield _text(WIDTH - MARGIN, top + 12, f"{latency} ms", anchor="end", colour=QUIET_INK)


def _longest(row: Row) -> float:
    return 1.0 if row.ratio is None else max(1.0, row.ratio.q3)


def _text(x: int, y: int, text: str, *, anchor: str = "start", bold: bool = False, colour: str = INK) -> str:
    weight = " font-weight='600'" if bold else ""
    return f"<text x='{x}' y='{y}' text-anchor='{anchor}' fill='{colour}'{weight}>{escape(text)}</text>"
