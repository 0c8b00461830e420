"""How the images of a comparison agree, counted in bins of equal width on a logarithmic scale, and drawn.

Of each image the largest relative error, and 1 - cosine, which is 0 for the same direction. A report holds the counts,
not the values: it stays small with any number of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hamsa_deploy.parity.agreement import Agreement
from hamsa_deploy.parity.metrics import Thresholds
from hamsa_deploy.report.markup import Markup
from hamsa_deploy.report.svg import Box, Drawing, Scale, columns, line, power_text, rect, round_step, rows, text

BINS_PER_DECADE = 8
# Smaller ones count as this large: what float64 makes of no difference at all.
SMALLEST = 1e-16
WIDTH, HEIGHT = 360, 230  # as wide as a phone: nothing is made smaller there
FRAME = Box(46, 30, WIDTH - 14, HEIGHT - 44)
MOST_STEPS = 4  # on the axis of images
MOST_DECADES = 7  # with a number each
QUANTITIES = ("relative error", "1 \N{MINUS SIGN} cosine")


def histograms_of(agreement: Agreement, thresholds: Thresholds) -> list[dict[str, Any]]:
    """One for each of QUANTITIES."""
    values = (agreement.relative_error, 1.0 - agreement.cosine)
    limits = (thresholds.max_relative_error, 1.0 - thresholds.cosine)
    return [
        {"quantity": quantity, **histogram(each, limit)}
        for quantity, each, limit in zip(QUANTITIES, values, limits, strict=True)
    ]


def histogram(values: np.ndarray, limit: float) -> dict[str, Any]:
    """Counts of values >= 0.

    Args:
        values: (N,) finite.
        limit: of the verdict.

    Returns:
        `counts`, the decimal logarithm of the lowest `edge` and the `width` of a bin in decades, and the `limit`.
    """
    levels = np.log10(np.maximum(values, SMALLEST))
    low, high = math.floor(levels.min()), max(math.ceil(levels.max()), math.floor(levels.min()) + 1)
    counts, _ = np.histogram(levels, bins=BINS_PER_DECADE * (high - low), range=(low, high))
    return {"counts": counts.tolist(), "edge": low, "width": 1 / BINS_PER_DECADE, "limit": limit}


def histogram_drawing(title: str, found: Mapping[str, Any]) -> Drawing:
    """Images over the decimal logarithm of a quantity, with the limit as a dashed line.

    Args:
        title: shown above.
        found: as `histogram` gives it, with a `quantity`.
    """
    counts: list[int] = found["counts"]
    step = max(1, round(round_step(max(counts), MOST_STEPS)))
    most = step * math.ceil(max(counts) / step)
    x, y = _levels(found), Scale(0, most, FRAME.bottom, FRAME.top)
    every = math.ceil((x.high - x.low) / MOST_DECADES)
    marks = [
        text(FRAME.left, 16, title, bold=True),
        text(FRAME.right, 16, "images", anchor="end"),
        *columns(FRAME, x, range(int(x.low), int(x.high) + 1, every), power_text, lines=False),
        *rows(FRAME, y, range(0, most + 1, step), str),
        *_bars(found, x, y),
        *_limit(found["limit"], x),
        text((FRAME.left + FRAME.right) / 2, HEIGHT - 6, f"{found['quantity']}, one image each", anchor="middle"),
    ]
    return Drawing(f"{title}: {found['quantity']} of {sum(counts)} images", WIDTH, HEIGHT, marks)


def _levels(found: Mapping[str, Any]) -> Scale:
    """Decades from left to right, with room for the limit."""
    edge = float(found["edge"])
    end = edge + float(found["width"]) * len(found["counts"])
    limit = math.log10(found["limit"]) if found["limit"] > 0 else edge
    return Scale(math.floor(min(edge, limit)), math.ceil(max(end, limit)), FRAME.left, FRAME.right)


def _bars(found: Mapping[str, Any], x: Scale, y: Scale) -> Iterator[Markup]:
    edge, width = float(found["edge"]), float(found["width"])
    for k, count in enumerate(found["counts"]):
        if count:
            low, high = edge + k * width, edge + (k + 1) * width
            title = f"{count} with {found['quantity']} from {10**low:.1e} to {10**high:.1e}"
            size = max(x(high) - x(low) - 1, 1), FRAME.bottom - y(count)
            yield rect(x(low) + 0.5, y(count), *size, "series", title=title)


def _limit(limit: float, x: Scale) -> list[Markup]:
    """A limit of 0 is where nothing but no difference is allowed: there is no place for it on this axis."""
    if limit <= 0:
        return []
    at = x(math.log10(limit))
    anchor, shift = ("end", -5) if at > WIDTH / 2 else ("start", 5)
    return [
        line([(at, FRAME.top - 4), (at, FRAME.bottom)], "bad", width=1.5, dashes="5 4"),
        text(at + shift, FRAME.top + 8, f"limit {limit:.2g}", "bad", anchor=anchor),
    ]
