"""Latency against agreement as an SVG: faster is left, closer to the original is up, and the front is a line.

It needs no font, script or file from elsewhere, and takes dark colours where the reader's system asks for them. What
the axes measure, and why, is in `pareto`; top-1 stands beside each point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from hamsa_deploy.sweep.pareto import SAME_DB
from hamsa_deploy.sweep.record import Outcome, Sweep

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 62, 74
LETTER, LINE = 7.0, 16.0  # a letter of 12 pixels is at most this wide, on average; and a line is this high
DOT, GAP = 6.0, 10.0
TICKS = 5
EMPTY = "Nothing could be timed on this machine."
SAME = f"above {SAME_DB:g} dB: float32's own rounding, no difference"
FOOTER = "Line: the bundles that no other one beats in both (Pareto's front). Hollow: beaten."
STYLE = """
svg{--paper:#ffffff;--ink:#1f2328;--quiet:#59636e;--grid:#d8dee4;--same:#eef3ee;
--onnx:#0969da;--openvino:#bc4c00;--tensorrt:#1a7f37;--tensorrt-rtx:#8250df}
@media (prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--quiet:#9198a1;--grid:#30363d;--same:#17211a;
--onnx:#58a6ff;--openvino:#f0883e;--tensorrt:#3fb950;--tensorrt-rtx:#bc8cff}}
text{fill:var(--ink);font:12px system-ui,sans-serif}
text{paint-order:stroke;stroke:var(--paper);stroke-width:3}.quiet{fill:var(--quiet)}.title{font-size:15px;font-weight:600}
.grid{stroke:var(--grid)}.front{fill:none;stroke:var(--quiet);stroke-width:1.5;stroke-dasharray:5 4}
.leader{stroke:var(--quiet);stroke-width:.8}
"""


Place = tuple[float, float]
"""A point in pixels, from the left and from the top."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, by its left upper and right lower corners."""

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


FRAME = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
SAME_PLACE = Box(FRAME.right - LETTER * len(SAME), FRAME.top + 2, FRAME.right - 6, FRAME.top + 2 + LINE)


def svg_from_sweep(sweep: Sweep) -> str:
    """A whole SVG document."""
    shown = [each for each in sweep.outcomes if each.point is not None]
    title = f"{sweep.name}: latency against agreement with the original"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' "
        f"role='img'>",
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='var(--paper)'/>",
        _text(LEFT, 26, title, kind="title"),
        *(_drawing(sweep, shown) if shown else [_text(LEFT, HEIGHT / 2, EMPTY)]),
    ]
    return "\n".join([*parts, "</svg>\n"])


def _drawing(sweep: Sweep, shown: Sequence[Outcome]) -> Iterator[str]:
    axes = Axes(shown)
    places = [axes.place(each) for each in shown]
    labels = [label_of(each) for each in shown]
    best = [each.bundle in sweep.best for each in shown]
    front = sorted(place for place, is_best in zip(places, best, strict=True) if is_best)
    yield from _grid(axes)
    yield _front(front)
    lines = _boxes_of(front)
    if axes.decibels[1] > SAME_DB:
        lines.append(SAME_PLACE)
        yield _text(SAME_PLACE.right, SAME_PLACE.bottom - 4, SAME, anchor="end", kind="quiet")
    for place, label, box in zip(places, labels, placed(places, labels, lines), strict=True):
        yield from _label(place, label, box)
    for outcome, place, is_best in zip(shown, places, best, strict=True):
        yield _dot(outcome, place, is_best)
    batch = 1 if sweep.table is None else sweep.table.batch
    x = f"milliseconds for a batch of {batch}, median; faster is left"
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 34, x, anchor="middle")
    yield _text(LEFT, 48, "signal to noise of the worst output, dB; closer to the original is up", kind="quiet")
    yield _text(LEFT, HEIGHT - 10, FOOTER, kind="quiet")


def label_of(outcome: Outcome) -> str:
    """Target, precision, and the share of inputs with the same top-1 where the model has classes."""
    return str(outcome.cell) + ("" if outcome.top1 is None else f", top-1 {100 * outcome.top1:.4g} %")


class Axes:
    """Milliseconds from left to right and decibels upwards, both linear, with room around the points."""

    def __init__(self, shown: Sequence[Outcome]) -> None:
        points = [each.point for each in shown if each.point is not None]
        self.milliseconds = _range([point.milliseconds for point in points])
        self.decibels = _range([point.decibels for point in points])

    def x(self, milliseconds: float) -> float:
        low, high = self.milliseconds
        return FRAME.left + (milliseconds - low) / (high - low) * (FRAME.right - FRAME.left)

    def y(self, decibels: float) -> float:
        low, high = self.decibels
        return FRAME.bottom - (decibels - low) / (high - low) * (FRAME.bottom - FRAME.top)

    def place(self, outcome: Outcome) -> Place:
        point = outcome.point
        assert point is not None
        return self.x(point.milliseconds), self.y(point.decibels)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From below the smallest to above the largest value; never empty."""
    low, high = min(values), max(values)
    margin = 0.15 * (high - low) or 0.15 * abs(high) or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float) -> list[float]:
    """About TICKS round numbers between the two: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def placed(points: Sequence[Place], labels: Sequence[str], lines: Sequence[Box] = ()) -> list[Box]:
    """A box for each label, beside its point where there is room and farther away where there is not: none covers
    another one, a point, or one of the lines.
    """
    taken = [*(Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points), *lines]
    boxes = []
    for (x, y), label in zip(points, labels, strict=True):
        width = LETTER * len(label)
        free = (
            box
            for box in _candidates(x, y, width)
            if box.is_inside(FRAME) and not any(box.meets(other) for other in taken)
        )
        box = next(free, Box(x, y, x + width, y + LINE))  # so many that there is no room at all
        taken.append(box)
        boxes.append(box)
    return boxes


def _candidates(x: float, y: float, width: float) -> Iterator[Box]:
    """Places for a label: right, left, above and below, each time farther away, and at last anywhere."""
    for distance in range(0, HEIGHT, 4):
        for dx in (GAP, -GAP - width, -width / 2):
            for dy in (-distance, distance):
                is_beside = dx != -width / 2 or distance >= GAP + LINE / 2
                if is_beside:
                    top = y + dy - LINE / 2
                    yield Box(x + dx, top, x + dx + width, top + LINE)
    for top in range(TOP, HEIGHT, int(LINE)):
        for left in range(LEFT, WIDTH, 20):
            yield Box(left, top, left + width, top + LINE)


def _label(place: Place, label: str, box: Box) -> Iterator[str]:
    x, y = place
    middle = (box.top + box.bottom) / 2
    if abs(middle - y) > LINE:
        end = min(max(x, box.left), box.right)
        edge = box.top if middle > y else box.bottom
        yield f"<path class='leader' d='M{x:.1f} {y:.1f}L{end:.1f} {edge:.1f}'/>"
    is_left = box.right < x  # letters are narrower than they are taken for: the text begins, or ends, at the point
    yield _text(box.right if is_left else box.left, box.bottom - 4, label, anchor="end" if is_left else "start")


def _grid(axes: Axes) -> Iterator[str]:
    if axes.decibels[1] > SAME_DB:
        bottom = min(axes.y(SAME_DB), FRAME.bottom)
        yield (
            f"<rect x='{FRAME.left}' y='{FRAME.top}' width='{FRAME.right - FRAME.left}' "
            f"height='{bottom - FRAME.top:.1f}' fill='var(--same)'/>"
        )
    for value in ticks(*axes.decibels):
        y = axes.y(value)
        yield f"<path class='grid' d='M{FRAME.left} {y:.1f}H{FRAME.right}'/>"
        yield _text(FRAME.left - 8, y + 4, f"{value:g}", anchor="end", kind="quiet")
    for value in ticks(*axes.milliseconds):
        x = axes.x(value)
        yield f"<path class='grid' d='M{x:.1f} {FRAME.top}V{FRAME.bottom}'/>"
        yield _text(x, FRAME.bottom + 18, f"{value:.4g}", anchor="middle", kind="quiet")


def _boxes_of(front: Sequence[Place]) -> list[Box]:
    """What the steps of `_front` cover."""
    steps = list(itertools.pairwise(front))
    across = [Box(x, y - 1, right, y + 1) for (x, y), (right, _) in steps]
    return across + [Box(right - 1, up, right + 1, y) for (_, y), (right, up) in steps]


def _front(places: Sequence[Place]) -> str:
    """Steps: between two of its points nothing is better than the faster one's agreement at the slower one's time."""
    (x, y), *others = places
    steps = "".join(f"H{right:.1f}V{up:.1f}" for right, up in others)
    return f"<path class='front' d='M{x:.1f} {y:.1f}{steps}'/>"


def _dot(outcome: Outcome, place: Place, is_best: bool) -> str:
    x, y = place
    colour = f"var(--{outcome.cell.target})"
    fill = colour if is_best else "var(--paper)"
    title = f"{outcome.bundle}: {outcome.milliseconds:#.3g} ms, {outcome.decibels:.1f} dB"
    return (
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{DOT - 1:g}' fill='{fill}' stroke='{colour}' stroke-width='2'>"
        f"<title>{escape(title)}</title></circle>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    css = f" class='{kind}'" if kind else ""
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'{css}>{escape(text)}</text>"
