"""Whether ARM processors need rates of their own: by data sheets, as none was here to be measured.

    python benchmarks/arm_costs.py [--json FILE]

What a target's rates say of two x86 processors is scaled to an ARM core: products by multiply-accumulates in float32 a
second, what is moved by bytes stored a second, calls and loops by instructions decoded a second. Of each length and
width of cost_samples.py, the plan that today's rates choose is compared with the one that the scaled rates choose, by
the scaled rates: what today's choice would lose there, if the data sheets were all there is to know.
"""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

import numpy as np
import tables
from cost_samples import TRANSFORMS

from hamsa_deploy.targets import target_of
from hamsa_runtime.dft.costs import Rates, nanoseconds
from hamsa_runtime.dft.factorisations import plan_for


class Core(NamedTuple):
    """Of a data sheet, a cycle: fused multiply-adds in float32, bytes stored to the nearest cache, instructions
    decoded; and the clock in GHz."""

    multiply_adds: int
    bytes_stored: int
    decoded: int
    gigahertz: float


# AMD's software optimisation guide for family 19h, Arm's for the cores; clocks of the boards that are sold.
MEASURED = Core(16, 32, 6, 3.7)  # AMD Zen 4
CORES = {
    "Cortex-A76, Raspberry Pi 5": Core(8, 16, 4, 2.4),
    "Cortex-A78AE, Jetson Orin": Core(8, 32, 4, 2.2),
    "Neoverse V2, Graviton4": Core(16, 32, 8, 2.8),
}
PRODUCTS = ("plain", "batched", "depthwise", "convolved", "transposed")
MOVED = ("moved", "pointwise", "stored")
TARGETS = ("onnx", "openvino")
COLUMNS = {"core": "", "target": "", "products": ".2f", "moved": ".2f", "calls": ".2f", "other plans": "",
           "mean loss": ".1%", "worst": ".0%"}  # fmt: skip
NOTE = (
    "Products, moved numbers, calls: times as long as on the Zen 4. Other plans: of how many lengths and widths the "
    "scaled rates choose another plan than today's."
)


def main() -> None:
    _, report = tables.begin(tables.parser(__doc__))
    rows = [row(name, core, target) for name, core in CORES.items() for target in TARGETS]
    report.show("Plans on ARM, by data sheets", COLUMNS, rows, note=NOTE)


def row(name: str, core: Core, target: str) -> tables.Row:
    """What today's choices would lose on a core."""
    today, ratios = target_of(target).rates, slower(core)
    there = scaled(today, *ratios)
    losses = []
    for n, columns in [(n, columns) for n, every in TRANSFORMS.items() for columns in every]:
        ours, best = (nanoseconds(plan_for(n, rates, columns).work, there, columns) for rates in (today, there))
        losses.append(ours / best - 1)
    others = f"{np.count_nonzero(losses)} of {len(losses)}"
    return [name, target_of(target).title, *ratios, others, float(np.mean(losses)), max(losses)]


def slower(core: Core) -> tuple[float, float, float]:
    """By how much products, what is moved, and calls take longer than on the Zen 4."""
    products, moved, calls = (
        MEASURED[i] * MEASURED.gigahertz / (core[i] * core.gigahertz) for i in range(len(core) - 1)
    )
    return products, moved, calls


def scaled(rates: Rates, products: float, moved: float, calls: float) -> Rates:
    """The rates of a core that is slower by so much."""
    of = dict.fromkeys(PRODUCTS, products) | dict.fromkeys(MOVED, moved) | {"largest_tree": 1.0}
    return Rates(**{each.name: of.get(each.name, calls) * getattr(rates, each.name) for each in fields(rates)})


if __name__ == "__main__":
    main()
