"""Did the accuracy change, or was it chance? Two models judged on the same N images are paired data.

                        exported right   exported wrong
    reference right         both             lost
    reference wrong         gained           neither

    change   D = (gained - lost) / N

Interval for D: Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10. With p1 = (both + gained) / N and
p2 = (both + lost) / N, their Wilson intervals [l1, u1] and [l2, u2], and the correlation of both models

    phi = C / sqrt((both + gained)(lost + neither)(both + lost)(gained + neither))       (0 if the root is)
    C = B if B < 0, else max(B - N/2, 0),   B = both neither - gained lost

    lower = D - sqrt((p1 - l1)^2 - 2 phi (p1 - l1)(u2 - p2) + (u2 - p2)^2)
    upper = D + sqrt((u1 - p1)^2 - 2 phi (u1 - p1)(p2 - l2) + (p2 - l2)^2)

Unlike the normal approximation it holds for few images, and has a width where no image changed sides. Test of D = 0:
McNemar's, exact for any number of discordant pairs: given n = lost + gained, lost is binomial with n and 1/2;

    p = min(1, 2 P[X <= min(lost, gained)])
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %


@dataclass(frozen=True)
class PairedAccuracy:
    """How many images each of two models is right on; `lost` and `gained` from the reference to the exported model."""

    both: int
    lost: int
    gained: int
    neither: int

    @property
    def images(self) -> int:
        return self.both + self.lost + self.gained + self.neither

    @property
    def accuracy(self) -> float:
        """Of the exported model, 0 to 1."""
        return (self.both + self.gained) / self.images

    @property
    def reference_accuracy(self) -> float:
        """Of the reference, 0 to 1."""
        return (self.both + self.lost) / self.images

    @property
    def change(self) -> float:
        """D, -1 to 1: below 0 if the exported model is worse."""
        return (self.gained - self.lost) / self.images

    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of D."""
        p1, p2, phi = self.accuracy, self.reference_accuracy, self._correlation()
        l1, u1 = wilson_interval(self.both + self.gained, self.images)
        l2, u2 = wilson_interval(self.both + self.lost, self.images)
        return (
            self.change - _combined(p1 - l1, u2 - p2, phi),
            self.change + _combined(u1 - p1, p2 - l2, phi),
        )

    def p_value(self) -> float:
        """Of McNemar's exact test, two-sided; 1 where no image changed sides."""
        pairs, fewer = self.lost + self.gained, min(self.lost, self.gained)
        return min(1.0, 2 * sum(_half_binomial(pairs, k) for k in range(fewer + 1)))

    def _correlation(self) -> float:
        root = math.sqrt(
            (self.both + self.gained)
            * (self.lost + self.neither)
            * (self.both + self.lost)
            * (self.gained + self.neither)
        )
        product = self.both * self.neither - self.gained * self.lost
        corrected = product if product < 0 else max(product - self.images / 2, 0.0)
        return corrected / root if root else 0.0


def paired_accuracy(right: np.ndarray, reference_right: np.ndarray) -> PairedAccuracy:
    """From whether each image is classified rightly, (N,) of bool each, N >= 1."""
    return PairedAccuracy(
        both=int((right & reference_right).sum()),
        lost=int((~right & reference_right).sum()),
        gained=int((right & ~reference_right).sum()),
        neither=int((~right & ~reference_right).sum()),
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of one proportion (Wilson, JASA 22 (1927) 209-212)."""
    p, weight = successes / trials, Z95**2 / trials
    middle, spread = p + weight / 2, Z95 * math.sqrt(p * (1 - p) / trials + weight / (4 * trials))
    return (middle - spread) / (1 + weight), (middle + spread) / (1 + weight)


def _combined(one: float, other: float, phi: float) -> float:
    # Rounding may leave -1e-18 where both are equal and phi is 1.
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def _half_binomial(n: int, k: int) -> float:
    """P[X = k], by logarithms: 2^-n has no float64 from n = 1075 on."""
    log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log_choose - n * math.log(2))
