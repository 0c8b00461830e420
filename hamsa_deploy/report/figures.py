"""Drawings of a report: SVG that takes its colours from the style sheet of the page around it, light or dark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hamsa_deploy.bench import plot as ratios
from hamsa_deploy.report import layers_plot as depth
from hamsa_deploy.report.markup import Markup, joined, tag

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 30, 44
MOST_TICKS = 4  # on the axis of images
MOST_DECADES = 9  # with a number each

# What other modules draw has its colours in attributes, for a white page. A style sheet goes before these: this is
# which of the page's own each of them is.
COLOURS = {
    depth.ERROR: "series", depth.OWN: "second", depth.OUTSIDE: "bad", depth.BAND: "band", depth.INK: "ink",
    depth.GRID: "line", "white": "paper",
    ratios.INK: "ink", ratios.QUIET_INK: "quiet", ratios.BAND: "line", ratios.PAPER: "paper",
    **dict(zip(ratios.COLOURS.values(), ("quiet", "good", "second", "unsure"), strict=True)),
}  # fmt: skip


def recolouring() -> str:
    """The rules of the style sheet for drawings that have colours of their own."""
    return "\n".join(
        f'.figure [{attribute}="{colour}"]{{{attribute}:var(--{name})}}'
        for colour, name in COLOURS.items()
        for attribute in ("fill", "stroke")
    )


def figure(drawing: Markup, caption: str) -> Markup:
    """A drawing with what it shows below it; on a narrow screen it scrolls instead of becoming too small to read."""
    return tag("figure", tag("div", drawing, class_="scroll figure"), tag("figcaption", caption))


def histogram_svg(title: str, found: Mapping[str, Any]) -> Markup:
    """Images over the decimal logarithm of a quantity, with the limit as a dashed line.

    Args:
        title: shown above.
        found: as `histograms.histogram` gives it, with a `quantity`.
    """
    axes = _Axes(found)
    counts: list[int] = found["counts"]
    bars = [_bar(axes, k, count, found["quantity"]) for k, count in enumerate(counts) if count]
    size = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"}
    return tag(
        "svg",
        tag("title", f"{title}: {found['quantity']} of {sum(counts)} images"),
        _text(LEFT, 16, title, class_="strong"),
        *_decades(axes),
        *_numbers(axes),
        *bars,
        *_limit(axes, found["limit"]),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, f"{found['quantity']}, one image each", anchor="middle"),
        **size,
    )


class _Axes:
    """Decades from left to right, with room for the limit; images upwards."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.edge, self.width = float(found["edge"]), float(found["width"])
        end = self.edge + self.width * len(found["counts"])
        limit = math.log10(found["limit"]) if found["limit"] > 0 else self.edge
        self.low, self.high = math.floor(min(self.edge, limit)), math.ceil(max(end, limit))
        self.step = tick_step(max(found["counts"]))
        self.most = self.step * math.ceil(max(found["counts"]) / self.step)

    def x(self, level: float) -> float:
        return LEFT + (level - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def y(self, count: float) -> float:
        return HEIGHT - BOTTOM - count / self.most * (HEIGHT - TOP - BOTTOM)


def tick_step(most: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, ... that needs at most MOST_TICKS steps."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if step * MOST_TICKS >= most:
                return step
        power *= 10


def _bar(axes: _Axes, k: int, count: int, quantity: str) -> Markup:
    left, right = axes.x(axes.edge + k * axes.width), axes.x(axes.edge + (k + 1) * axes.width)
    low, high = 10 ** (axes.edge + k * axes.width), 10 ** (axes.edge + (k + 1) * axes.width)
    name = tag("title", f"{count} with {quantity} from {low:.1e} to {high:.1e}")
    return tag(
        "rect", name, x=f"{left + 0.5:.1f}", y=f"{axes.y(count):.1f}", width=f"{max(right - left - 1, 1):.1f}",
        height=f"{HEIGHT - BOTTOM - axes.y(count):.1f}", class_="bar",
    )  # fmt: skip


def _decades(axes: _Axes) -> list[Markup]:
    every = math.ceil((axes.high - axes.low) / MOST_DECADES)
    levels = range(axes.low, axes.high + 1, every)
    return [_text(axes.x(k), HEIGHT - BOTTOM + 16, "1" if k == 0 else f"1e{k}", anchor="middle") for k in levels]


def _numbers(axes: _Axes) -> list[Markup]:
    parts = [_text(WIDTH - RIGHT, 16, "images", anchor="end")]
    for count in range(0, axes.most + 1, axes.step):
        y = f"{axes.y(count):.1f}"
        parts.append(tag("line", x1=str(LEFT), x2=str(WIDTH - RIGHT), y1=y, y2=y, class_="grid"))
        parts.append(_text(LEFT - 6, axes.y(count) + 4, str(count), anchor="end"))
    return parts


def _limit(axes: _Axes, limit: float) -> list[Markup]:
    """A limit of 0 is where nothing but no difference is allowed: there is no place for it on this axis."""
    if limit <= 0:
        return []
    x = axes.x(math.log10(limit))
    side, shift = ("end", -5) if x > WIDTH / 2 else ("start", 5)
    line = tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=str(TOP - 4), y2=str(HEIGHT - BOTTOM), class_="limit")
    return [line, _text(x + shift, TOP + 8, f"limit {limit:.2g}", anchor=side, class_="bad")]


def _text(x: float, y: float, text: str, anchor: str = "start", class_: str | None = None) -> Markup:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_)


def side_by_side(*drawings: Markup) -> Markup:
    """Figures in columns, as many as there is room for."""
    return tag("div", joined(*drawings), class_="columns")
