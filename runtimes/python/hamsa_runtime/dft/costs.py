"""What a way to compute something costs on a target: the model that chooses between ways.

    time = operators * operator + matrices * matrix + thin * matrix + trips * trip + stored * numbers stored
         + columns * (plain * MACs + batched * MACs + depthwise * MACs + convolved * MACs + transposed * MACs
                      + moved * numbers + pointwise * numbers)

Only the ratios of the rates matter.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Work:
    """What has to be done for one column (one signal); from `stored` on, for all columns together.

    Args:
        plain: multiply-accumulates in products with one constant matrix.
        batched: multiply-accumulates in products with one constant matrix for every entry of a batch axis.
        depthwise: multiply-accumulates in depthwise convolutions.
        convolved: multiply-accumulates in convolutions of one signal with many kernels.
        transposed: multiply-accumulates in transposed convolutions.
        moved: numbers written by products, convolutions, copies.
        pointwise: numbers written by pointwise operators, which engines fuse or not.
        stored: numbers in constants.
        operators: how many operators run.
        matrices: how many matrices products with a batch axis have.
        thin: how many matrices products with a batch axis and with few columns have, beside their other cost.
        trips: how often the bodies of loops are entered, beside the operators in them.
    """

    plain: float = 0.0
    batched: float = 0.0
    depthwise: float = 0.0
    convolved: float = 0.0
    transposed: float = 0.0
    moved: float = 0.0
    pointwise: float = 0.0
    stored: float = 0.0
    operators: float = 0.0
    matrices: float = 0.0
    trips: float = 0.0
    thin: float = 0.0

    @property
    def macs(self) -> float:
        """Multiply-accumulates of one column."""
        return self.plain + self.batched + self.depthwise + self.convolved + self.transposed

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


PER_COLUMN = ("plain", "batched", "depthwise", "convolved", "transposed", "moved", "pointwise")
FIELDS = tuple(field.name for field in fields(Work))


def for_columns(work: Work, columns: int) -> Work:
    """The work for so many columns."""
    each = {name: columns * getattr(work, name) for name in PER_COLUMN}
    return replace(work, **each)


@dataclass(frozen=True)
class Rates(Work):
    """Nanoseconds for each field of Work, in float32: how fast an engine is; the records in targets/ have them.

    Fitted ones come from benchmarks/fit_costs.py on two cores, ONNX Runtime 1.31 and OpenVINO 2026.4, November 2026. By
    how much the plan that is chosen is slower than the fastest one measured, mean and worst of 41 lengths and widths:

        fitted to              chosen on            ONNX Runtime          OpenVINO
        a Xeon with AMX        the same             2.0 %,  22 %          2.1 %, 13 %
        a Xeon with AMX        an AMD Zen 4        16.4 %, 185 %          4.9 %, 46 %
        an AMD Zen 4           the same             1.2 %,  16 %          5.3 %, 54 %
        what stands here       the AMD Zen 4        3.5 %,  28 %          4.9 %, 46 %

    Two processors do not need two sets: OpenVINO's are the Xeon's, and so are ONNX Runtime's, but for products, for
    which its Zen 4 takes 3.3 times as long beside everything else: they stand here 2.5 times as long as on the Xeon,
    where that costs 2.7 % (by the model, not measured). No ARM was measured, and an emulator's times mean nothing: by
    data sheets what stands here chooses plans that are 0 to 1.7 % slower there than the best (means; the worst 27 %;
    benchmarks/arm_costs.py). --tune measures any processor.

    Those of scans are from single scans of three sizes on an AMD Zen 4, and those of convolutions of frames from one
    thread of it: of 12 lengths, hops and batches the plan that is chosen is 1.9 % and 1.5 % slower than the fastest of
    eight (means; the worst 11 % and 13 %; benchmarks/short_time.py --plans).

    Args:
        largest_tree: operators that a scan without a loop may have: where a loop's trips are cheap, files stay small
            and load fast without.
    """

    largest_tree: float = 24


# fmt: off
CPU = Rates(  # ONNX Runtime's: what is chosen for where nobody names an engine
    plain=0.0145, batched=0.0146, depthwise=0.102, convolved=0.0233, transposed=0.025, moved=0.189, pointwise=0.649,
    stored=0.15, operators=862, matrices=204, trips=2500, thin=1500,
)
# fmt: on


def nanoseconds(work: Work, rates: Rates, columns: int) -> float:
    """Estimated time of some work on so many columns."""
    whole = for_columns(work, columns)
    return sum(getattr(rates, name) * getattr(whole, name) for name in FIELDS)
