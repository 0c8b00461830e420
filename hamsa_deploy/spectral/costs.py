"""What a way to compute something costs on a target: the model that chooses between ways.

    time = operators * operator + stored * numbers stored
         + columns * (plain * MACs + batched * MACs + depthwise * MACs + moved * numbers written)

The rates are fitted to measurements by benchmarks/fit_costs.py; only their ratios matter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What has to be done for one column (one signal); `stored` and `operators` are for all columns together.

    Args:
        plain: multiply-accumulates in products with one constant matrix.
        batched: multiply-accumulates in products with one constant matrix for every entry of a batch axis.
        depthwise: multiply-accumulates in depthwise convolutions.
        moved: numbers written.
        stored: numbers in constants.
        operators: how many operators run.
    """

    plain: float = 0.0
    batched: float = 0.0
    depthwise: float = 0.0
    moved: float = 0.0
    stored: float = 0.0
    operators: float = 0.0

    @property
    def macs(self) -> float:
        """Multiply-accumulates of one column."""
        return self.plain + self.batched + self.depthwise

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


# Nanoseconds for each field of Work.
RATES = {
    "onnx": Work(plain=0.011, batched=0.016, depthwise=0.1, moved=0.4, stored=0.3, operators=6000.0),
    "openvino": Work(plain=0.011, batched=0.016, depthwise=0.1, moved=0.4, stored=0.3, operators=4000.0),
}
TARGETS = tuple(RATES)


def nanoseconds(work: Work, target: str, columns: int) -> float:
    """Estimated time of some work on so many columns."""
    rates = RATES[target]
    per_column = (
        rates.plain * work.plain
        + rates.batched * work.batched
        + rates.depthwise * work.depthwise
        + rates.moved * work.moved
    )
    return columns * per_column + rates.stored * work.stored + rates.operators * work.operators
