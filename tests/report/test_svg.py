"""What all drawings share: text is text, colours have names, axes have round numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from hamsa_deploy.report.svg import (
    COLOURS,
    SERIES,
    Box,
    Drawing,
    Scale,
    columns,
    rect,
    round_step,
    rows,
    style,
    text,
    ticks,
)

from .comparisons import HOSTILE


def test_text_is_text_and_a_file_needs_nothing_else() -> None:
    drawing = Drawing(HOSTILE, 100, 50, [text(1, 2, HOSTILE), rect(0, 0, 1, 1, "band", title=HOSTILE)])
    element = ElementTree.fromstring(drawing.as_file())  # noqa: S314  # our own text
    names = [each.tag.rpartition("}")[2] for each in element.iter()]
    assert names == ["svg", "title", "style", "rect", "text", "rect", "title"]
    assert not re.search(r"(href|src=|url\()", drawing.as_file().replace("src=x", ""))
    assert (element.get("width"), element.get("viewBox")) == ("100", "0 0 100 50")


def test_a_page_brings_its_own_style() -> None:
    drawing = Drawing("t", 100, 50, [])
    assert "<style" not in drawing.in_page()
    assert style() in drawing.as_file()


def test_every_colour_can_be_told_from_what_is_written() -> None:
    assert len({white for white, _ in COLOURS.values()}) == len(COLOURS)
    assert set(SERIES) <= set(COLOURS)
    for name, (white, dark) in COLOURS.items():
        assert f'fill="{white}"' in rect(0, 0, 1, 1, name)
        assert f'svg [fill="{white}"]{{fill:var(--{name})}}' in style()
        assert style().count(f"--{name}:{dark};") == 1 + (white == dark)


@pytest.mark.parametrize(
    ("length", "most", "step"),
    [(4, 4, 1), (5, 4, 2), (9, 4, 5), (21, 4, 10), (360, 4, 100), (0.23, 5, 0.05), (129, 5, 50)],
)
def test_steps_are_round_and_few_enough(length: float, most: int, step: float) -> None:
    assert round_step(length, most) == pytest.approx(step)


def test_ticks_are_within_the_axis() -> None:
    assert ticks(0.61, 0.84) == pytest.approx([0.65, 0.7, 0.75, 0.8])
    assert ticks(24.0, 153.0) == pytest.approx([50, 100, 150])


def test_axes_stand_at_their_frame() -> None:
    frame = Box(50, 10, 250, 110)
    x, y = Scale(0, 2, frame.left, frame.right), Scale(0, 4, frame.bottom, frame.top)
    assert rows(frame, y, [1], str)[0].startswith('<path d="M50 85L250 85"')
    line, number = columns(frame, x, [1], str)
    assert line.startswith('<path d="M150 10L150 110"')
    assert 'x="150"' in number
    assert len(columns(frame, x, [1], str, lines=False)) == 1
