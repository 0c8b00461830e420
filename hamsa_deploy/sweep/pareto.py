"""Which bundles no other one beats: Pareto's front of latency against agreement.

Agreement is the signal-to-noise ratio of a bundle's outputs against PyTorch's, in dB, of the worst output:

    a = min over outputs of 10 log10( sum y^2 / sum (y_hat - y)^2 )

Neither top-1 nor cosine would do: where all is well, all precisions have the same top-1, and a cosine of 1 in as many
digits as one can read. The signal-to-noise ratio is the same for none of them, and its scale is logarithmic already.

b is beaten by another bundle that is at least as fast and agrees at least as well, one of both strictly. Above
SAME_DB all agree alike: an error of 1e-6 is what summation in another order makes of float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SAME_DB = 120.0  # 20 log10(1e6)


@dataclass(frozen=True)
class Point:
    """A bundle that was timed: median milliseconds of one inference, and decibels."""

    milliseconds: float
    decibels: float

    def beats(self, other: Point) -> bool:
        """At least as good in both, and better in one."""
        mine, others = min(self.decibels, SAME_DB), min(other.decibels, SAME_DB)
        no_worse = self.milliseconds <= other.milliseconds and mine >= others
        return no_worse and (self.milliseconds < other.milliseconds or mine > others)


def agreement(metrics: Mapping[str, Mapping[str, Any]]) -> float:
    """Decibels, from the parity metrics of a manifest: output name -> metric name -> value."""
    return min(float(output["signal_to_noise_db"]) for output in metrics.values())


def front(points: Mapping[str, Point]) -> set[str]:
    """The names of the points that no other one beats."""
    return {name for name, point in points.items() if not any(other.beats(point) for other in points.values())}
