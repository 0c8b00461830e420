"""The plot: valid, self-contained, and legible where points are close."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from hamsa_deploy.report.svg import COLOURS, Box
from hamsa_deploy.sweep.cells import Cell, matrix
from hamsa_deploy.sweep.plot import DOT, EMPTY, FRAME, label_of, placed, sweep_drawing

from .outcomes import failed, sweep_of, timed

CELLS = matrix(["onnx", "openvino"], ["fp32", "fp16", "bf16", "int8"])
SVG = "{http://www.w3.org/2000/svg}"


def circles(text: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(text).findall(f"{SVG}circle")  # noqa: S314  # our own


def test_every_timed_bundle_is_a_point_and_those_on_the_front_are_filled() -> None:
    sweep = sweep_of(
        timed(CELLS[0], 2.0, 130.0), timed(CELLS[1], 1.0, 60.0), timed(CELLS[3], 1.5, 45.0, 0.995), failed(CELLS[2], 2)
    )
    text = sweep_drawing(sweep).as_file()
    dots = circles(text)
    (colour,) = {dot.get("stroke") for dot in dots}  # one for each target
    assert colour != COLOURS["paper"][0]
    assert [dot.get("fill") for dot in dots] == [colour, colour, COLOURS["paper"][0]]
    assert float(dots[1].get("cx", "")) < float(dots[2].get("cx", "")) < float(dots[0].get("cx", ""))
    assert float(dots[0].get("cy", "")) < float(dots[1].get("cy", "")) < float(dots[2].get("cy", ""))
    assert "onnx int8, top-1 99.5 %" in text
    assert "milliseconds" in text
    assert "dB" in text
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"(href|src|url\()", text)


def test_a_model_without_classes_has_no_top1_in_its_labels() -> None:
    assert label_of(timed(CELLS[0], 1.0, 50.0, None)) == "onnx fp32"


def test_nothing_timed_is_said_and_not_drawn() -> None:
    assert EMPTY in sweep_drawing(sweep_of(failed(CELLS[0], 4))).as_file()


@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0, 40.0])
def test_labels_of_close_points_cover_neither_each_other_nor_points_nor_the_front(spread: float) -> None:
    points = [(500 + spread * (i % 3), 250 + spread * (i // 3)) for i in range(8)]
    line = Box(300, 249, 500, 251)
    boxes = placed(points, ["openvino int8, top-1 99.5 %"] * 8, [line])
    assert not any(a.meets(b) for a, b in itertools.combinations(boxes, 2))
    dots = [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points]
    assert not any(box.meets(other) for box in boxes for other in (*dots, line))
    assert all(box.is_inside(FRAME) for box in boxes)


def test_targets_have_colours_of_their_own() -> None:
    cells = matrix(["onnx", "openvino", "tensorrt", "tensorrt-rtx"], ["fp32"])
    dots = circles(sweep_drawing(sweep_of(*(timed(cell, 1.0 + k, 50.0) for k, cell in enumerate(cells)))).as_file())
    assert len({dot.get("stroke") for dot in dots}) == 4


def test_points_of_one_value_still_have_an_axis() -> None:
    cells = Cell("onnx", "fp32"), Cell("onnx", "fp16")
    text = sweep_drawing(sweep_of(*(timed(cell, 1.0, 313.0) for cell in cells))).as_file()
    assert len(circles(text)) == 2
    assert "nan" not in text
