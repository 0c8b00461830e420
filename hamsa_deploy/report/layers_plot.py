"""Error along depth, as a drawing that a web page can hold: SVG, with no script, font or file from elsewhere.

On a logarithmic scale a line for the error that has come together at each layer, and points for the layer's own, with
the band shaded and the layers outside it marked. Hovering over a point names its layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from hamsa_deploy.parity.layers.rows import LayerReport, LayerRow

WIDTH, HEIGHT = 960, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 44, 62
SMALLEST = 1e-9  # errors of 0 are drawn here
ERROR, OWN, OUTSIDE, BAND, INK, GRID = "#1f5fa8", "#d9822b", "#c0262d", "#e4f0e4", "#333333", "#dddddd"
FONT = "font-family='system-ui, sans-serif' font-size='12'"


def svg_from_report(report: LayerReport) -> str:
    """The drawing as one SVG element."""
    rows = report.rows
    axes = _Axes(rows)
    layers = [(i, row) for i, row in enumerate(rows) if not row.is_rounding]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' {FONT} fill='{INK}'>",
        f"<title>{escape(report.sentence())}</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
        *_bands(rows, axes),
        *_grid(axes),
        *_names(rows, axes),
        _line([axes.point(i, row.error) for i, row in layers], ERROR),
        *(_dot(row, axes.point(i, row.error), ERROR, 2.5) for i, row in layers),
        *(_dot(row, axes.point(i, row.own_error), OUTSIDE if row.outside else OWN, 5 if row.outside else 2.5)
          for i, row in enumerate(rows)),
        *_divergence(report, axes),
        *_legend(),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(parts)


class _Axes:
    """Layers from left to right, powers of ten upwards."""

    def __init__(self, rows: Sequence[LayerRow]) -> None:
        values = [value for row in rows for value in (row.error, row.own_error, row.band)]
        finite = [max(value, SMALLEST) for value in values if math.isfinite(value)] or [SMALLEST]
        self.lowest = math.floor(math.log10(min(finite)))
        self.highest = max(math.ceil(math.log10(max(finite))), self.lowest + 1)
        self.step = (WIDTH - LEFT - RIGHT) / max(len(rows), 1)

    def x(self, index: float) -> float:
        return LEFT + (index + 0.5) * self.step

    def y(self, value: float) -> float:
        """Infinite and NaN are at the top."""
        level = math.log10(max(value, SMALLEST)) if math.isfinite(value) else self.highest
        share = (min(max(level, self.lowest), self.highest) - self.lowest) / (self.highest - self.lowest)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def point(self, index: int, value: float) -> tuple[float, float]:
        return self.x(index), self.y(value)


def _bands(rows: Sequence[LayerRow], axes: _Axes) -> list[str]:
    floor = HEIGHT - BOTTOM
    return [
        f"<rect x='{axes.x(i - 0.5):.1f}' y='{axes.y(row.band):.1f}' width='{axes.step + 0.3:.1f}' "
        f"height='{floor - axes.y(row.band):.1f}' fill='{BAND}'/>"
        for i, row in enumerate(rows)
    ]


def _grid(axes: _Axes) -> list[str]:
    parts = []
    for exponent in range(axes.lowest, axes.highest + 1):
        y = axes.y(10.0**exponent)
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{GRID}'/>")
        parts.append(f"<text x='{LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{_power(exponent)}</text>")
    return parts


def _power(exponent: int) -> str:
    return "1" if exponent == 0 else f"1e{exponent}"


def _names(rows: Sequence[LayerRow], axes: _Axes) -> list[str]:
    """The first two parts of module paths, where they change, with a line between them; names without room are left."""
    parts, last, ends = [], "", [0.0, 0.0]
    for i, row in enumerate(rows):
        name = ".".join(row.module.split(": ")[0].split(".")[:2])
        if name == last:
            continue
        last, x, floor = name, axes.x(i - 0.5), HEIGHT - BOTTOM
        parts.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{TOP}' y2='{floor}' stroke='{GRID}'/>")
        start = min(x + 2, WIDTH - _text_width(name))
        free = [line for line, end in enumerate(ends) if end <= start]
        if free:
            ends[free[0]] = start + _text_width(name)
            parts.append(f"<text x='{start:.1f}' y='{floor + 16 + 14 * free[0]}'>{escape(name)}</text>")
    return parts


def _text_width(text: str) -> float:
    return 7.0 * len(text) + 4


def _divergence(report: LayerReport, axes: _Axes) -> list[str]:
    """The name of the first layer outside, at its point."""
    for i, row in enumerate(report.rows):
        if row.outside:
            (x, y), width = axes.point(i, row.own_error), _text_width(row.module)
            left = x + 8 if x + 8 + width <= WIDTH else x - 8 - width
            height = max(y - 6, TOP - 4)
            return [f"<text x='{left:.1f}' y='{height:.1f}' fill='{OUTSIDE}'>{escape(row.module)}</text>"]
    return []


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.5'/>"


def _dot(row: LayerRow, point: tuple[float, float], colour: str, radius: float) -> str:
    text = f"{row.module} ({row.operator}): error {row.error:.2g}, own error {row.own_error:.2g}, band {row.band:.2g}"
    title = f"<title>{escape(text)}</title>"
    return f"<circle cx='{point[0]:.1f}' cy='{point[1]:.1f}' r='{radius}' fill='{colour}'>{title}</circle>"


def _legend() -> list[str]:
    items = [(ERROR, "error so far"), (OWN, "own error of the layer"), (OUTSIDE, "outside its band"), (BAND, "band")]
    parts = []
    for i, (colour, text) in enumerate(items):
        x = LEFT + 180 * i
        parts.append(f"<rect x='{x}' y='16' width='12' height='12' fill='{colour}'/>")
        parts.append(f"<text x='{x + 18}' y='26'>{text}</text>")
    return parts
