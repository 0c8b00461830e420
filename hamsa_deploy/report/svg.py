"""Drawings: the marks, axes and colours of all charts. SVG needs no package, script, font or file from elsewhere.

A drawing names its colours. Written are those for white paper, which every viewer shows; the style sheet of a page, or
the drawing's own where it is a file, puts those for dark paper in their place where the reader's system asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hamsa_deploy.report.markup import Markup, tag

# name -> on white and on dark paper. No two are the same on white: what is written there tells which one is meant.
COLOURS = {
    "paper": ("#ffffff", "#14171b"),
    "ink": ("#1c2127", "#e4e7eb"),
    "quiet": ("#5b6570", "#9aa4af"),
    "line": ("#dde1e6", "#343a42"),
    "band": ("#e4f0e4", "#1c3324"),
    "good": ("#1a7440", "#62c98b"),
    "bad": ("#b3261e", "#ff8a80"),
    "unsure": ("#8a5a00", "#e3b341"),
    "series": ("#1f5fa8", "#6cb0ff"),
    "second": ("#c2630f", "#f0a35e"),
    "third": ("#2c7f2f", "#56c45a"),
    "fourth": ("#7a4fd0", "#bc9cff"),
    "fifth": ("#0b7a85", "#4fc3cf"),
    "sixth": ("#b02f6c", "#f584b3"),
}
# Of things that are told apart by colour only beside their names.
SERIES = ("series", "second", "third", "fourth", "fifth", "sixth")
NARROW = 400  # what is wider scrolls on a phone
LETTER, LINE = 7.0, 16.0  # a letter of 12 pixels is at most this wide, on average; and a line is this high


@dataclass(frozen=True)
class Drawing:
    """A chart: what it shows in a sentence, its size in pixels, and its marks, each over those before."""

    title: str
    width: int
    height: int
    marks: Sequence[Markup]

    def in_page(self) -> Markup:
        """As an element of a page that has `style`, on its paper; as wide as there is room, and never tiny."""
        return self._element(class_="wide" if self.width > NARROW else None)

    def as_file(self) -> str:
        """As a file of its own."""
        size = {"width": str(self.width), "height": str(self.height)}
        paper = rect(0, 0, self.width, self.height, "paper")
        return f"{self._element(tag('style', Markup(style())), paper, xmlns='http://www.w3.org/2000/svg', **size)}\n"

    def _element(self, *head: Markup, **attributes: str | None) -> Markup:
        return tag(
            "svg", tag("title", self.title), *head, Markup("\n".join(self.marks)), **attributes,
            viewBox=f"0 0 {self.width} {self.height}", role="img", font_family="system-ui, sans-serif", font_size="12",
        )  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, by its left upper and right lower corners; also the frame of a chart, between its axes."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def is_inside(self, other: Box) -> bool:
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )


class Scale(NamedTuple):
    """From values low to high to pixels start to end, linearly."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def style() -> str:
    """The rules of a style sheet: colours by their names as variables, and in the place of those that are written."""
    light, dark = ("".join(f"--{name}:{pair[k]};" for name, pair in COLOURS.items()) for k in (0, 1))
    rules = [
        f'svg [{attribute}="{white}"]{{{attribute}:var(--{name})}}'
        for name, (white, _) in COLOURS.items()
        for attribute in ("fill", "stroke")
    ]
    return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n" + "\n".join(rules) + "\n"


def text(
    x: float, y: float, content: str, fill: str = "ink", *, anchor: str = "start", bold: bool = False, size: int = 0
) -> Markup:
    """One line, its left, middle or right end at x, on paper of its own where it crosses something."""
    return _mark(
        "text", content, x=x, y=y, fill=fill, stroke="paper", stroke_width=3, paint_order="stroke",
        text_anchor=anchor if anchor != "start" else None, font_weight=600 if bold else None, font_size=size or None,
    )  # fmt: skip


def rect(x: float, y: float, width: float, height: float, fill: str, *, title: str = "", rounded: float = 0) -> Markup:
    """With a title that appears where the pointer rests."""
    return _mark("rect", _title(title), x=x, y=y, width=width, height=height, fill=fill, rx=rounded or None)


def circle(x: float, y: float, radius: float, fill: str, *, edge: str | None = None, title: str = "") -> Markup:
    """A point; with an edge in another colour, it may be hollow."""
    return _mark(
        "circle", _title(title), cx=x, cy=y, r=radius, fill=fill, stroke=edge, stroke_width=2 if edge else None
    )


def line(points: Iterable[tuple[float, float]], stroke: str, *, width: float = 1, dashes: str | None = None) -> Markup:
    """Straight from one point to the next."""
    path = "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
    return _mark("path", None, d=path, fill="none", stroke=stroke, stroke_width=width, stroke_dasharray=dashes)


def rows(frame: Box, y: Scale, values: Iterable[float], form: Callable[[float], str]) -> list[Markup]:
    """A line across the frame for each value, with its number on the left."""
    return [
        mark
        for value in values
        for mark in (
            line([(frame.left, y(value)), (frame.right, y(value))], "line"),
            text(frame.left - 8, y(value) + 4, form(value), "quiet", anchor="end"),
        )
    ]


def columns(
    frame: Box, x: Scale, values: Iterable[float], form: Callable[[float], str], *, lines: bool = True
) -> list[Markup]:
    """A number below the frame for each value, and a line up from it."""
    marks = []
    for value in values:
        if lines:
            marks.append(line([(x(value), frame.top), (x(value), frame.bottom)], "line"))
        marks.append(text(x(value), frame.bottom + 18, form(value), "quiet", anchor="middle"))
    return marks


def round_step(length: float, most: int) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten that divides a length into at most so many steps."""
    rough = length / most
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """The multiples of `round_step` between the two."""
    step = round_step(high - low, most)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def power_text(exponent: float) -> str:
    """Of ten: 1e-3, and 1 for 0."""
    return "1" if exponent == 0 else f"1e{exponent:g}"


def _title(content: str) -> Markup | None:
    return tag("title", content) if content else None


def _mark(name: str, child: str | Markup | None, **attributes: Any) -> Markup:
    """Numbers are rounded to a tenth of a pixel; colours are given by name."""
    for key in ("fill", "stroke"):
        if attributes.get(key) in COLOURS:
            attributes[key] = COLOURS[attributes[key]][0]
    texts = {key: _number(value) if isinstance(value, (int, float)) else value for key, value in attributes.items()}
    return tag(name, child, **texts)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
