"""Histograms count every image, on a scale that holds the limit."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hamsa_deploy.report.histograms import SMALLEST, histogram, histogram_drawing
from hamsa_deploy.report.svg import COLOURS


def test_every_image_is_counted_where_it_belongs() -> None:
    found = histogram(np.array([1.5e-3, 2e-2, 2.1e-2, 0.9]), 0.3)
    assert (sum(found["counts"]), found["edge"], len(found["counts"])) == (4, -3, 24)
    assert found["counts"][0] == 0  # from 1.00e-3 to 1.33e-3
    assert found["counts"][1] == 1
    # log10(2e-2) is 1.301 decades above 1e-3: in bin 10, as is 2.1e-2
    assert found["counts"][10] == 2
    assert found["counts"][23] == 1


def test_no_difference_at_all_has_a_place() -> None:
    found = histogram(np.array([0.0, -1e-17]), 0.0)
    assert (found["edge"], sum(found["counts"])) == (round(np.log10(SMALLEST)), 2)
    assert "limit" not in histogram_drawing("logits", {"quantity": "error", **found}).in_page()


def test_the_limit_is_drawn_even_far_from_all_images() -> None:
    found = {"quantity": "error", **histogram(np.array([1e-7, 2e-7]), 0.01)}
    svg = histogram_drawing("logits", found).in_page()
    limit = float(re.findall(rf'<path d="M([\d.]+) [^>]* stroke="{COLOURS["bad"][0]}"', svg)[0])
    bars = [float(x) for x in re.findall(rf'<rect x="([\d.]+)"[^>]* fill="{COLOURS["series"][0]}"', svg)]
    assert len(bars) == 2
    assert max(bars) < limit
    assert "1e-7" in svg


@pytest.mark.parametrize(("most", "numbers"), [(1, [0, 1]), (4, [0, 1, 2, 3, 4]), (9, [0, 5, 10])])
def test_images_are_counted_in_whole_numbers(most: int, numbers: list[int]) -> None:
    found = {"quantity": "error", **histogram(np.full(most, 1e-7), 0.0)}
    svg = histogram_drawing("logits", found).in_page()
    texts = re.findall(r'text-anchor="end"[^>]*>(\d+)<', svg)
    assert [int(each) for each in texts] == numbers
