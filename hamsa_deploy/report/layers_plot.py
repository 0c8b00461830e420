"""Error along depth as a drawing, on a logarithmic scale.

A line for the error that has come together at each layer, and points for the layer's own, with the band shaded and the
layers outside it marked. Hovering over a point names its layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hamsa_deploy.parity.layers.rows import LayerReport, LayerRow
from hamsa_deploy.report.markup import Markup
from hamsa_deploy.report.svg import LETTER, Box, Drawing, Scale, circle, line, power_text, rect, rows, text

WIDTH, HEIGHT = 840, 380
FRAME = Box(64, 44, WIDTH - 16, HEIGHT - 62)
SMALLEST = 1e-9  # errors of 0 are drawn here
ERROR, OWN, OUTSIDE, BAND = "series", "second", "bad", "band"
LEGEND = {ERROR: "error so far", OWN: "own error of the layer", OUTSIDE: "outside its band", BAND: "band"}
POINT, LARGE_POINT = 2.5, 5


def layers_drawing(report: LayerReport) -> Drawing:
    """Layers from left to right, errors upwards."""
    found = report.rows
    axes = _Axes(found)
    so_far = [(row, axes.point(i, row.error)) for i, row in enumerate(found) if not row.is_rounding]
    own = [(row, axes.point(i, row.own_error)) for i, row in enumerate(found)]
    marks = [
        *_bands(found, axes),
        *rows(FRAME, axes.y, range(axes.lowest, axes.highest + 1), power_text),
        *_names(found, axes),
        line([point for _, point in so_far], ERROR, width=1.5),
        *(_dot(row, point, ERROR, POINT) for row, point in so_far),
        *(_dot(row, point, *((OUTSIDE, LARGE_POINT) if row.outside else (OWN, POINT))) for row, point in own),
        *_divergence(own),
        *_legend(),
    ]
    return Drawing(report.sentence(), WIDTH, HEIGHT, marks)


class _Axes:
    """Layers from left to right, powers of ten upwards."""

    def __init__(self, found: Sequence[LayerRow]) -> None:
        values = [value for row in found for value in (row.error, row.own_error, row.band)]
        finite = [max(value, SMALLEST) for value in values if math.isfinite(value)] or [SMALLEST]
        self.lowest = math.floor(math.log10(min(finite)))
        self.highest = max(math.ceil(math.log10(max(finite))), self.lowest + 1)
        self.x = Scale(-0.5, max(len(found), 1) - 0.5, FRAME.left, FRAME.right)
        self.y = Scale(self.lowest, self.highest, FRAME.bottom, FRAME.top)

    def point(self, index: int, value: float) -> tuple[float, float]:
        """Infinite and NaN are at the top."""
        level = math.log10(max(value, SMALLEST)) if math.isfinite(value) else self.highest
        return self.x(index), self.y(min(max(level, self.lowest), self.highest))


def _bands(found: Sequence[LayerRow], axes: _Axes) -> Iterator[Markup]:
    for i, row in enumerate(found):
        left, right, (_, top) = axes.x(i - 0.5), axes.x(i + 0.5), axes.point(i, row.band)
        yield rect(left, top, right - left + 0.3, FRAME.bottom - top, BAND)


def _names(found: Sequence[LayerRow], axes: _Axes) -> Iterator[Markup]:
    """The first two parts of module paths, where they change, with a line between them; names without room are left."""
    last, ends = "", [0.0, 0.0]
    for i, row in enumerate(found):
        name = ".".join(row.module.split(": ")[0].split(".")[:2])
        if name == last:
            continue
        last, x = name, axes.x(i - 0.5)
        yield line([(x, FRAME.top), (x, FRAME.bottom)], "line")
        start = min(x + 2, WIDTH - _width(name))
        free = [lane for lane, end in enumerate(ends) if end <= start]
        if free:
            ends[free[0]] = start + _width(name)
            yield text(start, FRAME.bottom + 16 + 14 * free[0], name)


def _width(name: str) -> float:
    return LETTER * len(name) + 4


def _divergence(own: Sequence[tuple[LayerRow, tuple[float, float]]]) -> list[Markup]:
    """The name of the first layer outside, left of its point, where errors are still small, if there is room."""
    for row, (x, y) in own:
        if row.outside:
            fits = x - 8 - _width(row.module) >= FRAME.left
            start, anchor = (x - 8, "end") if fits else (x + 8, "start")
            return [text(start, max(y - 6, FRAME.top - 4), row.module, OUTSIDE, anchor=anchor)]
    return []


def _dot(row: LayerRow, point: tuple[float, float], colour: str, radius: float) -> Markup:
    title = f"{row.module} ({row.operator}): error {row.error:.2g}, own error {row.own_error:.2g}, band {row.band:.2g}"
    return circle(*point, radius, colour, title=title)


def _legend() -> Iterator[Markup]:
    for i, (colour, label) in enumerate(LEGEND.items()):
        x = FRAME.left + 180 * i
        yield rect(x, 16, 12, 12, colour)
        yield text(x + 18, 26, label)
