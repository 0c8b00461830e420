"""Smoothing: what int8 rounds gets channels of similar size, and the model computes what it did.

int8 has one step for the whole input x (.., d) of a linear, and one for each column of W. Channels of different size
are divided by c, and the rows of W multiplied, where the constant that computes x takes 1/c for free:

    y = x W = (x / c) (c W),        c[j] = max |x[j]|^a / max |W[j]|^(1 - a), rounded to a power of two

which is exact, and bit for bit for powers of two. No multiplication is ever inserted (`channel_flow`). How much of the
unevenness goes from x to W, `a`, is chosen for each group of linears by the noise that rounding is expected to make, of
variance step^2 / 12 in every entry of x and of W:

    E (dy)^2 = (step_x^2 sum_j W[j]^2 + step_W^2 sum_j x[j]^2) / 12

Source: Xiao et al., SmoothQuant, arXiv 2211.10438, who divide what LayerNormalization computes, with one a. HAMSA has
little to gain there; what gains are the spectra, divided in K_hat, and what enters the last linear of the mixer,
divided in W_1. HAMSA-S with random weights, equalised, int8 noise of single linears at a = 0.75, the mean over layers:
29.3 -> 34.7 dB for the linears behind K_hat, 29.5 -> 34.4 dB for Linear_out, 39.4 -> 39.8 behind LayerNormalization.
hamsa_nano with every linear in int8, logits: 37.7 -> 41.0 dB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import NewConstants, constant_of, drop_unused, without_leading_ones
from hamsa_deploy.precision.observers import Observer
from hamsa_deploy.precision.passes.channel_flow import ChannelFlow, has_channels, one_row
from hamsa_deploy.precision.passes.record import Pass

EXPONENTS = (0.25, 0.5, 0.75, 1.0)
LEAST_GAIN = 1.0  # dB
# Channels are divided by this at least and multiplied by it at most: a dead one must not grow beyond bounds.
MOST_LIFT = 2.0**12
STEPS = 127


@dataclass(frozen=True)
class ChannelRanges:
    """Sizes of the channels of a value (.., d), over images and rows.

    Attributes:
        largest: max |x| of every channel, (d,).
        squares: the mean of x^2 in one run, summed over the runs, (d,).
        runs: how many there were.
    """

    largest: np.ndarray
    squares: np.ndarray
    runs: int = 1

    @property
    def mean_square(self) -> np.ndarray:
        """Mean x^2 of every channel, (d,)."""
        return self.squares / self.runs


def _look(so_far: ChannelRanges | None, array: np.ndarray, _name: str) -> ChannelRanges:
    rows = np.abs(array.reshape(-1, array.shape[-1]))
    largest, squares = rows.max(axis=0), np.square(rows, dtype=np.float64).mean(axis=0)
    if so_far is None:
        return ChannelRanges(largest, squares)
    return ChannelRanges(np.maximum(so_far.largest, largest), so_far.squares + squares, so_far.runs + 1)


def _pack(ranges: ChannelRanges) -> np.ndarray:
    return np.stack([ranges.largest, ranges.squares, np.full(len(ranges.squares), ranges.runs)])


def _unpack(array: np.ndarray) -> ChannelRanges:
    largest, squares, runs = array
    return ChannelRanges(largest, squares, int(runs[0]))


CHANNEL_SIZES = Observer("channels", _look, _pack, _unpack)


def smoothable(model: ir.Model) -> list[str]:
    """Inputs of linears: the values worth observing with CHANNEL_SIZES."""
    values = [value for node in model.graph for value in node.outputs]
    return [str(value.name) for value in values if _weights(value)]


def _weights(value: ir.Value) -> list[np.ndarray]:
    """W of the linears that read a value."""
    products = [node for node, index in value.uses() if node.op_type == "MatMul" and index == 0]
    constants = [constant_of(node.inputs[1]) for node in products]
    return [constant for constant in constants if constant is not None and constant.ndim == 2]


def smooth(model: ir.Model, ranges: Mapping[str, ChannelRanges]) -> dict[str, np.ndarray]:
    """Scale the channels of what linears read, exactly.

    Args:
        model: float32; changed in place.
        ranges: from CHANNEL_SIZES, of the values that will be rounded. Others have no say.

    Returns:
        c (d,) of every value that was divided; none where LEAST_GAIN is not expected, or would cost a multiplication.
    """
    declined: set[ir.Node] = set()
    while True:
        flow = ChannelFlow(model.graph, declined)
        groups = _groups(flow, ranges)
        poor = _blocked_for_good(flow) or flow.sites_outside(groups)
        poor = poor or flow.sites_outside(groups.keys() - {flow.region_of(value) for value in flow.to_undo()})
        if not poor:
            chosen = {region: _chosen(flow, values, ranges) for region, values in groups.items()}
            poor = flow.sites_outside({region for region, scale in chosen.items() if scale is not None})
        if not poor:
            return _rewrite(model, flow, [s for s in chosen.values() if s is not None], ranges)
        declined |= poor


def _blocked_for_good(flow: ChannelFlow) -> set[ir.Node]:
    """Sites whose scale has to be undone, and not only where it meets another that may turn out not to be there."""
    blocked = set()
    for value in flow.to_undo():
        users = [node.op_type for node, _ in flow.stops(value)]
        if value in flow.graph.outputs or set(users) != {"Mul"}:
            blocked.add(flow.region_of(value))
    return flow.sites.keys() - flow.sites_outside(blocked)


def _groups(flow: ChannelFlow, ranges: Mapping[str, ChannelRanges]) -> dict[int, list[ir.Value]]:
    """Measured inputs of linears, by the region whose scales are chosen together.

    Where those lie along another axis than the one that the linear sums over, as behind a transposition, its input has
    one scale and no say.
    """
    groups: dict[int, list[ir.Value]] = defaultdict(list)
    for value, labels in flow.labels.items():
        measured = ranges.get(str(value.name))
        if measured is not None and _weights(value) and labels.ids.shape[-1] == len(measured.largest):
            groups[flow.region_of(value)].append(value)
    return groups


def _chosen(flow: ChannelFlow, values: list[ir.Value], ranges: Mapping[str, ChannelRanges]) -> np.ndarray | None:
    """(labels,): the scale with the least expected noise, or None if that is hardly less than without one."""
    candidates = [_scale_of_label(flow, values, ranges, exponent) for exponent in EXPONENTS]
    noises = [_noise(flow, values, ranges, scale) for scale in candidates]
    best = int(np.argmin(noises))
    plain = _noise(flow, values, ranges, np.ones_like(candidates[0]))
    return candidates[best] if noises[best] <= plain - LEAST_GAIN else None


def _scale_of_label(
    flow: ChannelFlow, values: list[ir.Value], ranges: Mapping[str, ChannelRanges], exponent: float
) -> np.ndarray:
    classes = flow.scale_classes
    sizes, weights = np.zeros(len(classes)), np.zeros(len(classes))
    for value in values:
        labels = flow.labels[value]
        ids = classes[one_row(labels.ids)]
        np.maximum.at(sizes, ids, _relative(ranges[str(value.name)].largest))
        for weight in _weights(value):
            np.maximum.at(weights, ids, _relative(np.abs(weight).max(axis=1)))
    known = (sizes > 0) & (weights > 0)
    scale = np.ones(len(classes))
    scale[known] = np.clip(sizes[known] ** exponent / weights[known] ** (1 - exponent), 1 / MOST_LIFT, MOST_LIFT)
    return np.exp2(np.round(np.log2(scale)))[classes]


def _relative(sizes: np.ndarray) -> np.ndarray:
    return sizes / max(float(sizes.max()), float(np.finfo(np.float32).tiny))


def _noise(
    flow: ChannelFlow, values: list[ir.Value], ranges: Mapping[str, ChannelRanges], scale_of_label: np.ndarray
) -> float:
    """dB, up to a constant: E (dy)^2, the geometric mean over the linears."""
    noises = []
    for value in values:
        scale, measured = scale_of_label[one_row(flow.labels[value].ids)], ranges[str(value.name)]
        step = (measured.largest / scale).max() / STEPS
        squares = (measured.mean_square / scale**2).sum()
        for weight in _weights(value):
            scaled = weight * scale[:, None]
            steps = np.abs(scaled).max(axis=0) / STEPS
            noises.append(step**2 * np.square(scaled).sum() + np.square(steps).sum() * squares)
    return float(10 * np.log10(np.maximum(noises, np.finfo(np.float64).tiny)).mean())


def _rewrite(
    model: ir.Model, flow: ChannelFlow, chosen: list[np.ndarray], ranges: Mapping[str, ChannelRanges]
) -> dict[str, np.ndarray]:
    if not chosen:
        return {}
    scale_of_label = np.prod(chosen, axis=0)  # each is 1 outside of its region
    scales = {value: scale_of_label[labels.ids] ** labels.power for value, labels in flow.labels.items()}
    folding = _Folding(model.graph, scales)
    for node in list(model.graph):
        folding.fold(node)
    drop_unused(model)
    smoothed = [value for values in _groups(flow, ranges).values() for value in values]
    return {str(value.name): one_row(scales[value]) for value in smoothed}


class _Folding:
    """Puts scales into constants."""

    def __init__(self, graph: ir.Graph, scales: Mapping[ir.Value, np.ndarray]) -> None:
        self.scales, self.constants = scales, NewConstants(graph)

    def fold(self, node: ir.Node) -> None:
        after = self._scale(node.outputs[0])
        places = [index for index, value in enumerate(node.inputs) if constant_of(value) is not None]
        if node.op_type == "LayerNormalization":
            for place in places:
                self._multiply(node, place, 1 / after)
        elif places and node.op_type in ("Add", "Sub"):
            self._multiply(node, places[0], 1 / after)
        elif places and node.op_type == "Mul" and has_channels(constant_of(node.inputs[places[0]])):
            self._multiply(node, places[0], self._scale(node.inputs[1 - places[0]]) / after)
        elif places == [1] and node.op_type == "MatMul":
            self._multiply(node, 1, one_row(self._scale(node.inputs[0]))[:, None] / one_row(after))

    def _scale(self, value: ir.Value | None) -> np.ndarray:
        return np.ones(1) if value is None or value not in self.scales else self.scales[value]

    def _multiply(self, node: ir.Node, place: int, factor: np.ndarray) -> None:
        stored = node.inputs[place]
        constant = constant_of(stored)
        if stored is None or constant is None or (factor == 1).all():
            return
        scaled = without_leading_ones(constant.astype(np.float64) * factor, constant.ndim)
        node.replace_input_with(place, self.constants.add(scaled, f"{stored.name}_smoothed"))


def _apply(model: ir.Model, ranges: Mapping[str, ChannelRanges]) -> str:
    return f"{len(smooth(model, ranges))} activations scaled by channel"


PASS = Pass(CHANNEL_SIZES, smoothable, _apply, rescales=True)
