"""How the images of a comparison agree, counted in bins of equal width on a logarithmic scale.

Of each image the largest relative error, and 1 - cosine, which is 0 for the same direction. A report holds the counts,
not the values: it stays small with any number of images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hamsa_deploy.parity.agreement import Agreement
from hamsa_deploy.parity.metrics import Thresholds

BINS_PER_DECADE = 8
# Smaller ones count as this large: what float64 makes of no difference at all.
SMALLEST = 1e-16
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
