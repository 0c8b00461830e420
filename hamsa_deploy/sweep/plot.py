"""Latency against agreement as a drawing: faster is left, closer to the original is up, and the front is a line.

What the axes measure, and why, is in `pareto`; top-1 stands beside each point.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from hamsa_deploy.bench.percentiles import digits
from hamsa_deploy.report.markup import Markup
from hamsa_deploy.report.svg import (
    LETTER,
    LINE,
    SERIES,
    Box,
    Drawing,
    Scale,
    circle,
    columns,
    line,
    rect,
    rows,
    text,
    ticks,
)
from hamsa_deploy.sweep.pareto import SAME_DB
from hamsa_deploy.sweep.record import Outcome, Sweep
from hamsa_runtime.vocabulary import TARGETS

WIDTH, HEIGHT = 860, 520
FRAME = Box(72, 62, WIDTH - 24, HEIGHT - 74)
DOT, GAP = 6.0, 10.0
EMPTY = "Nothing could be timed on this machine."
SAME = f"above {SAME_DB:g} dB: float32's own rounding, no difference"
SAME_PLACE = Box(FRAME.right - LETTER * len(SAME), FRAME.top + 2, FRAME.right - 6, FRAME.top + 2 + LINE)
UPWARDS = "signal to noise of the worst output, dB; closer to the original is up"
FOOTER = "Line: the bundles that no other one beats in both (Pareto's front). Hollow: beaten."

Place = tuple[float, float]
"""A point in pixels, from the left and from the top."""


def sweep_drawing(sweep: Sweep) -> Drawing:
    """All bundles that were timed."""
    shown = [each for each in sweep.outcomes if each.point is not None]
    title = f"{sweep.name}: latency against agreement with the original"
    marks = _marks(sweep, shown) if shown else [text(FRAME.left, HEIGHT / 2, EMPTY)]
    return Drawing(title, WIDTH, HEIGHT, [text(FRAME.left, 26, title, bold=True, size=15), *marks])


def _marks(sweep: Sweep, shown: Sequence[Outcome]) -> Iterator[Markup]:
    axes = Axes(shown)
    places = [axes.place(each) for each in shown]
    labels = [label_of(each) for each in shown]
    best = [each.bundle in sweep.best for each in shown]
    front = _steps(sorted(place for place, is_best in zip(places, best, strict=True) if is_best))
    yield from _grid(axes)
    yield line(front, "quiet", width=1.5, dashes="5 4")
    lines = [_box_of(*ends) for ends in itertools.pairwise(front)]
    if axes.y.high > SAME_DB:
        lines.append(SAME_PLACE)
        yield text(SAME_PLACE.right, SAME_PLACE.bottom - 4, SAME, "quiet", anchor="end")
    for place, label, box in zip(places, labels, placed(places, labels, lines), strict=True):
        yield from _label(place, label, box)
    for outcome, place, is_best in zip(shown, places, best, strict=True):
        yield _dot(outcome, place, is_best)
    batch = 1 if sweep.table is None else sweep.table.batch
    x = f"milliseconds for a batch of {batch}, median; faster is left"
    yield text((FRAME.left + FRAME.right) / 2, HEIGHT - 34, x, anchor="middle")
    yield text(FRAME.left, 48, UPWARDS, "quiet")
    yield text(FRAME.left, HEIGHT - 10, FOOTER, "quiet")


def label_of(outcome: Outcome) -> str:
    """Target, precision, and the share of inputs with the same top-1 where the model has classes."""
    return str(outcome.cell) + ("" if outcome.top1 is None else f", top-1 {100 * outcome.top1:.4g} %")


class Axes:
    """Milliseconds from left to right and decibels upwards, both linear, with room around the points."""

    def __init__(self, shown: Sequence[Outcome]) -> None:
        points = [each.point for each in shown if each.point is not None]
        self.x = Scale(*_range([point.milliseconds for point in points]), FRAME.left, FRAME.right)
        self.y = Scale(*_range([point.decibels for point in points]), FRAME.bottom, FRAME.top)

    def place(self, outcome: Outcome) -> Place:
        point = outcome.point
        assert point is not None
        return self.x(point.milliseconds), self.y(point.decibels)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From below the smallest to above the largest value; never empty."""
    low, high = min(values), max(values)
    margin = 0.15 * (high - low) or 0.15 * abs(high) or 1.0
    return low - margin, high + margin


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
    for top in range(int(FRAME.top), HEIGHT, int(LINE)):
        for left in range(int(FRAME.left), WIDTH, 20):
            yield Box(left, top, left + width, top + LINE)


def _label(place: Place, label: str, box: Box) -> Iterator[Markup]:
    x, y = place
    middle = (box.top + box.bottom) / 2
    if abs(middle - y) > LINE:
        end = min(max(x, box.left), box.right)
        yield line([(x, y), (end, box.top if middle > y else box.bottom)], "quiet", width=0.8)
    is_left = box.right < x  # letters are narrower than they are taken for: the text begins, or ends, at the point
    yield text(box.right if is_left else box.left, box.bottom - 4, label, anchor="end" if is_left else "start")


def _grid(axes: Axes) -> Iterator[Markup]:
    if axes.y.high > SAME_DB:
        bottom = min(axes.y(SAME_DB), FRAME.bottom)
        yield rect(FRAME.left, FRAME.top, FRAME.right - FRAME.left, bottom - FRAME.top, "band")
    yield from rows(FRAME, axes.y, ticks(axes.y.low, axes.y.high), "{:g}".format)
    yield from columns(FRAME, axes.x, ticks(axes.x.low, axes.x.high), "{:.4g}".format)


def _steps(front: Sequence[Place]) -> list[Place]:
    """Between two points of the front nothing is better than the faster one's agreement at the slower one's time."""
    corners = [(right, y) for (_, y), (right, _) in itertools.pairwise(front)]
    return [front[0], *(place for pair in zip(corners, front[1:], strict=True) for place in pair)]


def _box_of(start: Place, end: Place) -> Box:
    """What a line straight across or up covers."""
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(start, end, strict=True))
    return Box(left - 1, top - 1, right + 1, bottom + 1)


def _dot(outcome: Outcome, place: Place, is_best: bool) -> Markup:
    colour = SERIES[TARGETS.index(outcome.cell.target) % len(SERIES)]
    title = f"{outcome.bundle}: {digits(outcome.milliseconds)} ms, {outcome.decibels:.1f} dB"
    return circle(*place, DOT - 1, colour if is_best else "paper", edge=colour, title=title)
