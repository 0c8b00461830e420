"""What measured times allow to say: percentiles of runs, ratios by round, and whether a difference is one.

In round k each candidate c has a time t_c[k]. Its ratio to the first candidate is the median over the rounds of

    r_c[k] = t_c[k] / t_first[k]

so that what drifts between rounds cancels; its spread is the interquartile range [q1, q3] of r_c.

A machine that is busy with something else finds differences where there are none. How large these are is measured: the
first candidate takes part twice, and the ratio of its two engines, the control, should be 1. With

    f = max(|q1 - 1|, |q3 - 1|)   of the control

a candidate is faster or slower than the first if its interquartile range lies on one side of 1 and its median is
farther from 1 than f. Else nothing can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The p-th percentile of n runs needs at least one run beyond it: n >= 100 / (100 - p). With fewer it would be the
# slowest run under another name.
PERCENTILES = {"p50": 50, "p90": 90, "p99": 99}
FASTER, SLOWER, UNCLEAR = "faster", "slower", "too noisy to tell"


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of the ratios of two times by round."""

    median: float
    q1: float
    q3: float

    @property
    def quartiles(self) -> str:
        """ "0.97-1.02"."""
        return f"{self.q1:.2f}-{self.q3:.2f}"

    @property
    def floor(self) -> float:
        """For a control: how far from 1 its quartiles are."""
        return max(abs(self.q1 - 1), abs(self.q3 - 1))


def percentiles(times: Sequence[float]) -> dict[str, float | None]:
    """p50, p90 and p99 of at least one time, in its unit; None where there are too few of them."""
    known = {name: share for name, share in PERCENTILES.items() if len(times) * (100 - share) >= 100 or share == 50}
    return {name: float(np.percentile(times, known[name])) if name in known else None for name in PERCENTILES}


def ratio(times: Sequence[float], first: Sequence[float]) -> Ratio:
    """Of one candidate's times by round to another's."""
    by_round = np.asarray(times, np.float64) / np.asarray(first, np.float64)
    q1, median, q3 = np.percentile(by_round, [25, 50, 75])
    return Ratio(float(median), float(q1), float(q3))


def verdict(found: Ratio, control: Ratio) -> str:
    """FASTER, SLOWER or UNCLEAR; see the module."""
    if abs(found.median - 1) <= control.floor or found.q1 <= 1 <= found.q3:
        return UNCLEAR
    return FASTER if found.median < 1 else SLOWER


def digits(value: float | None) -> str:
    """Three digits, and all of those before the point: "0.123", "12.3", "1234"; "-" where nothing is known."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"
