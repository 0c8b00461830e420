"""The mean of a signal goes round its forward transform: what int8 rounds gets smaller, and the result stays.

For x (batch, n, d) and any linear map F along the n samples,

    y = F x = F (x - mean(x)) + (F 1) mean(x),        1 the signal of n ones

exact. For a discrete Fourier transform F 1 is zero but at k = 0, so y gets the mean back in one row. Worth having
where the mean is large against the deviations from it, as behind a sigmoid or for raw pixels. Behind SiLU it is not:
the ranges of HAMSA-S, random weights and photographs, shrink by factors from 0.95 to 1.27, those of hamsa_nano from
1.09 to 1.66.

A transform is found by what it does: a chain of MatMul with a constant on the left and Reshape, from a value x to the
values that something else reads, in which 1 v for a random row v (1, d) arrives as one row times v, the same in all
channels. So plans with any number of factors, and transforms over several axes, are one case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import NewConstants, constant_of, known_shape
from hamsa_deploy.graph.insertion import hand_over, insert_behind
from hamsa_deploy.precision.observers import largest_over_runs
from hamsa_deploy.precision.passes.record import Pass
from hamsa_runtime.fix.constants import evaluated

AXES_ARE_AN_INPUT = 18  # of ReduceMean, from this opset on
# max |x| over max |x - mean|, from which on int8 gains enough (3.5 dB) for the four operators that the mean costs.
LEAST_GAIN = 1.5
# Sums of a row of float32 sines and cosines, relative to the row of k = 0: rounding leaves 1e-7, a sample more or less
# at least 1e-4 (n < 10,000).
ROUNDING = 1e-6


@dataclass(frozen=True)
class Transform:
    """A forward transform.

    Args:
        signal: x, (batch, .., d).
        entries: the uses of x with which the chains begin.
        results: the values y that come out, each with F 1, (.., 1), of which one entry is not zero, or none.
    """

    signal: ir.Value
    entries: list[tuple[ir.Node, int]]
    results: dict[ir.Value, np.ndarray]


def transforms_of(model: ir.Model) -> list[Transform]:
    """The transforms whose signal could lose its mean."""
    begun: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    for node in model.graph:
        if _is_product(node):
            use = _entry(node)
            signal = use[0].inputs[use[1]]
            if signal is not None and use not in begun.setdefault(signal, []):
                begun[signal].append(use)
    found = (_transform(model.graph, signal, entries) for signal, entries in begun.items())
    return [transform for transform in found if transform is not None]


def _sizes(x: np.ndarray) -> np.ndarray:
    deviation = x - x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    return np.array([np.abs(x).max(), np.abs(deviation).max()])


# max |x| and max |x - mean(x)| of a signal, (2,).
DEVIATIONS = largest_over_runs("splitting", _sizes)


def gains_from_deviations(deviations: Mapping[str, np.ndarray]) -> dict[str, float]:
    """max |x| / max |x - mean(x)| of each signal that is not constant, from what DEVIATIONS has seen."""
    return {name: float(whole / deviation) for name, (whole, deviation) in deviations.items() if deviation > 0}


def split_means(model: ir.Model, gains: Mapping[str, float]) -> list[str]:
    """Take the mean out before transforms, and put it back at k = 0 behind them.

    Args:
        model: float32; changed in place, exact up to rounding.
        gains: by signal, from `gains_from_deviations`.

    Returns:
        Names of the values that now enter the transforms, x - mean(x), where it was done: from LEAST_GAIN on.
    """
    chosen = [t for t in transforms_of(model) if gains.get(str(t.signal.name), 0.0) >= LEAST_GAIN]
    return [_split(model, transform) for transform in chosen]


def _is_product(node: ir.Node) -> bool:
    constant = constant_of(node.inputs[0]) if node.op_type == "MatMul" else None
    return constant is not None and constant.ndim >= 2


def _entry(node: ir.Node) -> tuple[ir.Node, int]:
    """Back from a product over what only reshapes its input."""
    use = (node, 1)
    while (source := use[0].inputs[use[1]]) is not None:
        producer = source.producer()
        if producer is None or producer.op_type != "Reshape":
            break
        use = (producer, 0)
    return use


def _transform(graph: ir.Graph, signal: ir.Value, entries: list[tuple[ir.Node, int]]) -> Transform | None:
    shape = known_shape(signal)
    if shape is None or len(shape) < 3 or signal.dtype != ir.DataType.FLOAT:
        return None
    row = np.random.default_rng(0).uniform(1, 2, shape[-1])
    arriving = _arriving(graph, signal, entries, np.broadcast_to(row, shape))
    if arriving is None:
        return None
    largest = max(np.abs(array).max(initial=0) for array in arriving.values())
    results = {}
    for value, array in arriving.items():
        if array.ndim != len(shape) or array.shape[-1] != shape[-1]:
            return None
        response = array[:1] / row
        there = np.abs(response[..., :1]) > ROUNDING * largest
        if there.sum() > 1 or np.abs(array - response[..., :1] * row).max() > ROUNDING * largest:
            return None
        results[value] = np.where(there, response[..., :1], 0)[0]
    return Transform(signal, entries, results) if largest > 0 else None


def _arriving(
    graph: ir.Graph, signal: ir.Value, entries: list[tuple[ir.Node, int]], array: np.ndarray
) -> dict[ir.Value, np.ndarray] | None:
    """What comes out of the chains for a given signal; None if it cannot be computed without the batch."""
    inside: dict[ir.Value, np.ndarray] = {}
    followed: set[tuple[ir.Node, int]] = set()
    for node in graph:
        index = 1 if _is_product(node) else 0
        value = node.inputs[index] if len(node.inputs) > index else None
        if value is None or not (value in inside or (node, index) in entries):
            continue
        result = _computed(node, array if (node, index) in entries else inside[value])
        if result is not None:
            inside[node.outputs[0]] = result
            followed.add((node, index))
    if not followed.issuperset(entries):
        return None
    return {v: a for v, a in inside.items() if v in graph.outputs or not followed.issuperset(v.uses())}


def _computed(node: ir.Node, array: np.ndarray) -> np.ndarray | None:
    if _is_product(node):
        constant = constant_of(node.inputs[0])
        assert constant is not None
        return constant.astype(np.float64) @ array
    shape = constant_of(node.inputs[1]) if node.op_type == "Reshape" else None
    if shape is None:
        return None
    (result,) = evaluated(node, [array, shape])
    return result if result.shape == known_shape(node.outputs[0]) else None


def _split(model: ir.Model, transform: Transform) -> str:
    graph, constants, x = model.graph, NewConstants(model.graph), transform.signal
    mean = _mean(model, constants, x)
    deviation = insert_behind(graph, mean, "Sub", [x, mean], f"{x.name}_deviation")
    deviation.shape = x.shape
    for node, index in transform.entries:
        node.replace_input_with(index, deviation)
    for y, response in transform.results.items():
        if response.any():
            _put_back(graph, y, mean, constants.add(response, f"{y.name}_of_ones"))
    return str(deviation.name)


def _mean(model: ir.Model, constants: NewConstants, x: ir.Value) -> ir.Value:
    """(batch, 1, .., d): the mean over all axes but the batch and the channels."""
    assert x.shape is not None
    axes = np.arange(1, len(x.shape) - 1)
    name = f"{x.name}_mean"
    if model.opset_imports.get("", 0) >= AXES_ARE_AN_INPUT:
        inputs = [x, constants.add(axes, f"{x.name}_axes")]
        mean = insert_behind(model.graph, x, "ReduceMean", inputs, name, {"keepdims": 1})
    else:
        mean = insert_behind(model.graph, x, "ReduceMean", [x], name, {"keepdims": 1, "axes": axes.tolist()})
    mean.shape = ir.Shape([1 if index in axes else size for index, size in enumerate(x.shape)])
    return mean


def _put_back(graph: ir.Graph, y: ir.Value, mean: ir.Value, response: ir.Value) -> None:
    """y + response * mean, for all users of y."""
    uses = y.uses()
    addend = insert_behind(graph, y, "Mul", [response, mean], f"{y.name}_of_mean")
    whole = insert_behind(graph, addend, "Add", [y, addend], f"{y.name}_whole")
    hand_over(graph, y, whole, uses)


def _signals(model: ir.Model) -> list[str]:
    return [str(transform.signal.name) for transform in transforms_of(model)]


def _apply(model: ir.Model, deviations: Mapping[str, np.ndarray]) -> str:
    split = split_means(model, gains_from_deviations(deviations))
    return f"{len(split)} of {len(deviations)} transforms without the mean"


PASS = Pass(DEVIATIONS, _signals, _apply)
