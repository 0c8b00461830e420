"""Per-frequency equalisation: what int8 rounds gets rows of similar size, and the model computes what it did.

int8 has one step for a whole activation x (.., H, d). The rows of a spectrum, its frequencies, differ by orders of
magnitude, and the small ones vanish in the step that the large ones need. So x is divided by a scale with one entry for
each row,

    s[k] = min(1, 2 max |x[k]| / max |x|)        over images and channels, rounded up to a power of two

which leaves the largest rows as they are and lifts the others to half of their size, or a quarter. `scale_flow` says
where that costs nothing and what undoes it: for HAMSA the rows of the DFT, K_hat and |K_hat| are divided and
multiplied, and two multiplications by s are left in each block, between W_g and its bias and behind W_2.

Powers of two, so that every product and sum stays bit for bit what it was, in any float type. The headroom is for
images that calibration did not see: with few of them, each row is exceeded now and then. HAMSA-S with random weights,
int8 only in what linears read of spectra, six photographs to calibrate and six others to judge, logits: 44.1 dB
unscaled, 49.2 without the headroom and rounded to the nearest power of two, 48.7 without it and rounded up, 50.5 as
above.

Rows are scaled together where the graph adds them (real and imaginary part, a frequency and its mirror image), or where
several linears read them; the largest of their s is that of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import NewConstants, constant_of, drop_unused, without_leading_ones
from hamsa_deploy.graph.insertion import hand_over, insert_behind
from hamsa_deploy.precision.observers import largest_over_runs
from hamsa_deploy.precision.passes.record import Pass
from hamsa_deploy.precision.passes.scale_flow import UNSCALED, ScaleFlow, has_rows

# The largest row over the geometric mean of all, from which on a scale is worth having. Headroom and rounding take 2 to
# 4 of it. Spectra have 20 to 130 in HAMSA's first stages; rows of tokens, which differ by chance, 2 to 3.5.
LEAST_GAIN = 4.0
HEADROOM = 2.0
# Rows are lifted by this factor at most: one that calibration hardly saw must not grow beyond bounds on other images.
MOST_LIFT = 2.0**12
TINY = float(np.finfo(np.float32).tiny)


def _row_sizes(x: np.ndarray) -> np.ndarray:
    return np.abs(x).max(axis=(0, -1), keepdims=True)


# max |x| of every row of a value x (batch, .., d), over images and channels, (1, .., 1): it broadcasts against the
# value. A row is one index along the axes between.
ROW_SIZES = largest_over_runs("rows", _row_sizes)


@dataclass(frozen=True)
class Equalisation:
    """What was done.

    Args:
        scales: for every value that is divided, of those with ranges: s, which broadcasts against it.
        undone: names of the multiplications by s that were inserted.
    """

    scales: dict[str, np.ndarray] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)


def equalisable(model: ir.Model) -> list[str]:
    """Inputs of linears over channels whose rows could be scaled: the values worth observing with ROW_SIZES."""
    flow = ScaleFlow(model.graph)
    return [str(value.name) for value in flow.labels if any(_is_linear(node) for node, _ in value.uses())]


def _is_linear(node: ir.Node) -> bool:
    return node.op_type == "MatMul" and constant_of(node.inputs[1]) is not None


def equalise(
    model: ir.Model,
    ranges: Mapping[str, np.ndarray],
    *,
    into_transforms: bool = True,
) -> Equalisation:
    """Scale the rows of values that int8 will round, exactly.

    Args:
        model: float32; changed in place.
        ranges: max |x| of each row, of the values that will be rounded; from ROW_SIZES. Others have no say.
        into_transforms: whether the columns of an inverse transform may undo a scale. A multiplication does it
            otherwise, which leaves the matrix flat for an int8 of its own.

    Returns:
        What was done; nothing where rows are of one size (LEAST_GAIN), or where it would take more multiplications than
        it serves linears.
    """
    declined: set[ir.Node] = set()
    while True:
        flow = ScaleFlow(model.graph, declined, into_transforms=into_transforms)
        sizes = _Sizes(flow, ranges)
        # What nobody measured first: it can stand in the way of the others.
        poor = flow.sites_outside(sizes.served) or flow.sites_outside(set(filter(sizes.worth_it, sizes.served)))
        if not poor:
            return _rewrite(model, flow, sizes.scale_of_label(), sizes.measured)
        declined |= poor


class _Sizes:
    """Sizes of rows by label, relative to the largest row of their value, and what follows from them."""

    def __init__(self, flow: ScaleFlow, ranges: Mapping[str, np.ndarray]) -> None:
        self.flow = flow
        self.measured = [value for value in flow.labels if value.name in ranges]
        self.classes, self.regions = flow.scale_classes, flow.regions
        largest = np.zeros(len(self.classes))
        for value in self.measured:
            labels = flow.labels[value]
            rows = ranges[str(value.name)]
            size, ids = np.broadcast_arrays((rows / max(rows.max(), TINY)) ** (1 / labels.power), labels.ids)
            np.maximum.at(largest, self.classes[ids], size)
        largest[UNSCALED] = 0
        self.size_of_label = largest[self.classes]
        self.served = Counter(flow.region_of(value) for value in self.measured)
        self.products = Counter(flow.region_of(value) for value in flow.to_undo())

    def worth_it(self, region: int) -> bool:
        """Whether rows differ, and undoing the scale takes no more products than there are values that gain."""
        rows = self.size_of_label[(self.regions == region) & (self.size_of_label > 0)]
        gain = len(rows) > 0 and rows.max() >= LEAST_GAIN * np.exp(np.log(rows).mean())
        return bool(gain) and self.products[region] <= self.served[region]

    def scale_of_label(self) -> np.ndarray:
        """(labels,): s, and 1 where nothing was measured."""
        measured = self.size_of_label > 0
        exponent = np.ceil(np.log2(HEADROOM * np.maximum(self.size_of_label[measured], 1 / MOST_LIFT)))
        scale = np.ones(len(measured))
        scale[measured] = np.minimum(1, np.exp2(exponent))
        return scale


def _rewrite(model: ir.Model, flow: ScaleFlow, scale_of_label: np.ndarray, measured: list[ir.Value]) -> Equalisation:
    scales = {value: scale_of_label[labels.ids] ** labels.power for value, labels in flow.labels.items()}
    rewriting = _Rewriting(flow, scales)
    for node in list(model.graph):
        rewriting.fold(node)
    undone = [rewriting.undo(value) for value in flow.to_undo()]
    drop_unused(model)
    return Equalisation({str(value.name): scales[value] for value in measured}, undone)


class _Rewriting:
    """Puts scales into constants, and multiplications where no constant takes them."""

    def __init__(self, flow: ScaleFlow, scales: Mapping[ir.Value, np.ndarray]) -> None:
        self.flow, self.scales = flow, scales
        self.constants = NewConstants(flow.graph)

    def fold(self, node: ir.Node) -> None:
        """Divide the constant of a product by the scale of its result, and multiply it by that of its input."""
        place = next((i for i, value in enumerate(node.inputs) if constant_of(value) is not None), None)
        if node.op_type not in ("MatMul", "Mul") or place is None or not self._takes_scales(node, place):
            return
        stored, result = node.inputs[place], self.scales.get(node.outputs[0], np.ones(1))
        constant = constant_of(stored)
        assert stored is not None
        assert constant is not None
        before = self._scale_before(node, 1 - place)
        if node.op_type == "MatMul":
            before = np.swapaxes(before, -1, -2) if before.ndim > 1 else before
        factor = before / result
        if (factor != 1).any():
            scaled = without_leading_ones(constant.astype(np.float64) * factor, constant.ndim)
            node.replace_input_with(place, self.constants.add(scaled, f"{stored.name}_equalised"))

    def _takes_scales(self, node: ir.Node, place: int) -> bool:
        """Whether the constant of this product takes scales, rather than letting them pass."""
        constant = constant_of(node.inputs[place])
        assert constant is not None
        return place == 0 if node.op_type == "MatMul" else has_rows(constant)

    def _scale_before(self, node: ir.Node, index: int) -> np.ndarray:
        """The scale of an input, or 1 if it is undone before it gets here."""
        value = node.inputs[index]
        if value is None or value not in self.scales or (node, index) in self.flow.stops(value):
            return np.ones(1)
        return self.scales[value]

    def undo(self, value: ir.Value) -> str:
        """Multiply by the scale behind a value, for the uses that need it undone."""
        uses = value.uses() if value in self.flow.unscaled_from_here else self.flow.stops(value)
        factor = self.constants.add(without_leading_ones(self.scales[value], 0), f"{value.name}_scale")
        name = f"{value.name}_unscaled"
        result = insert_behind(self.flow.graph, value, "Mul", [value, factor], name)
        hand_over(self.flow.graph, value, result, uses)
        return name


def _apply(model: ir.Model, rows: Mapping[str, np.ndarray]) -> str:
    done = equalise(model, rows)
    return f"{len(done.scales)} activations scaled by frequency, {len(done.undone)} multiplications added"


PASS = Pass(ROW_SIZES, equalisable, _apply, rescales=True)
