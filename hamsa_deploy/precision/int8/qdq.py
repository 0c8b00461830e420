"""float32 ONNX -> int8 ONNX: explicit QuantizeLinear and DequantizeLinear on both inputs of some products.

Symmetric throughout, zero point 0: activations with one scale, weights with one for each output channel. Nothing else
is quantised: not the outputs of products, nor biases, nor what else reads an activation. onnxruntime.quantization does
all of these by default. Some can be switched off; but it gives the rounded activation to everybody who reads it, and
in a spectral gate g |U| would be computed from the rounded |U|.

Three things that ONNX Runtime needs to find its int8 kernel, each shown by its optimised graph (HAMSA-S on two cores:
64 ms in float32, 100 ms without them, 56 ms with them):
- a product and its bias may not look like a Gemm, which has no int8 kernel with a float bias: biases get rank 3;
- products that share an activation need a pair of nodes each;
- and those pairs may not be equal, or it merges them again: their scales differ in the last bit.

TensorRT wants none of these, and computes around the products in float16. There a scale is a float16 as well, because
the type of DequantizeLinear's result is that of its scale: so scales are rounded upwards to float16 before weights are
divided by them, and nothing changes when float16 types the rest of the graph. What float16 could not hold is not
quantised either, because a product reads its dequantised factors in float16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import add_constant, drop_unused
from hamsa_deploy.graph.insertion import insert_before
from hamsa_deploy.precision.float16.from_float32 import float16_from_float32
from hamsa_deploy.precision.float16.islands import HEADROOM, LARGEST
from hamsa_deploy.precision.int8.int8_sites import Site
from hamsa_deploy.precision.int8.thresholds import LEVELS, SMALLEST_SCALE, scale
from hamsa_deploy.precision.observers import Ranges

# Below its normal numbers, 2^-14, float16 has steps of 2^-24: from here on a scale is rounded up by 6 % at most, which
# costs as much as a threshold 6 % too large, 0.5 dB.
SMALLEST_THRESHOLD = LEVELS * 2.0**-20


def quantise(model: ir.Model, thresholds: Mapping[str, float], sites: Sequence[Site]) -> None:
    """Quantise some products of a float32 model as ONNX Runtime wants them, in place.

    Args:
        model: float32.
        thresholds: for the activation of each site the t that becomes 127; the scale is t / 127.
        sites: the products that become int8.
    """
    graph = model.graph
    nodes = {str(node.name): node for node in graph}
    uses: dict[str, int] = {}
    for site in sites:
        node, nth = nodes[site.node], uses.get(site.activation, 0)
        uses[site.activation] = nth + 1
        node.replace_input_with(0, _quantised_activation(graph, node, thresholds[site.activation], nth))
        node.replace_input_with(1, _quantised_weight(graph, node, site.axis))
        _keep_from_becoming_gemm(graph, node)
    drop_unused(model)


def quantise_for_float16(model: ir.Model, thresholds: Mapping[str, float], sites: Sequence[Site]) -> dict[str, str]:
    """Quantise some products of a float32 model as TensorRT wants them, in place; arguments are those of `quantise`.

    One pair of nodes for each activation, shared by its products, and scales that float16 holds exactly.

    Returns:
        Dequantised activation -> the activation that it stands for.
    """
    graph = model.graph
    nodes = {str(node.name): node for node in graph}
    shared: dict[str, ir.Value] = {}
    stands_for: dict[str, str] = {}
    for site in sites:
        node = nodes[site.node]
        if site.activation not in shared:
            step = _at_least(np.array(scale(thresholds[site.activation])), np.float16)
            shared[site.activation] = _pair(graph, node, step)
            stands_for[str(shared[site.activation].name)] = site.activation
        node.replace_input_with(0, shared[site.activation])
        node.replace_input_with(1, _quantised_weight(graph, node, site.axis, np.float16))
    drop_unused(model)
    return stands_for


def int8_float16_from_float32(
    model: ir.Model, thresholds: Mapping[str, float], sites: Sequence[Site], ranges: Ranges
) -> dict[str, str]:
    """Quantise a model in place, with float16 between its products, for TensorRT, which takes every type from the file.

    Args:
        model: float32, with a dtype and a shape on every value.
        thresholds: for each activation of a site, the magnitude that the largest level stands for.
        sites: the products that become int8, if float16 can hold their factors.
        ranges: of the model's values, from RANGES.

    Returns:
        The islands that stay in float32, as `float16_from_float32` names them.
    """
    fitting = [site for site in sites if _fits(thresholds[site.activation]) and _fits(_largest(model, site.weight))]
    stands_for = quantise_for_float16(model, thresholds, fitting)
    return float16_from_float32(model, {**ranges, **{name: ranges[other] for name, other in stands_for.items()}})


def scale_of(threshold: float, nth: int = 0) -> np.float32:
    """threshold / 127, the nth float32 from there on upwards."""
    step = np.float32(scale(threshold))
    for _ in range(nth):
        step = np.nextafter(step, np.float32(np.inf))
    return step


def rounded_weights(
    weights: np.ndarray, axis: int, held_by: type[np.floating[Any]] = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights of the same shape, and one float32 scale for each channel along `axis`, exact in the type given."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scales = np.maximum(np.abs(weights).max(axis=others) / LEVELS, SMALLEST_SCALE)
    scales = scales.astype(np.float32) if held_by is np.float32 else _at_least(scales, held_by)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    rounded = np.rint(weights / scales.reshape(shape).astype(np.float64))
    return np.clip(rounded, -LEVELS, LEVELS).astype(np.int8), scales


def dequantised_weights(weights: np.ndarray, axis: int) -> np.ndarray:
    """What int8 weights stand for, float32."""
    rounded, scales = rounded_weights(weights, axis)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    return rounded.astype(np.float32) * scales.reshape(shape)


def _at_least(scales: np.ndarray, held_by: type[np.floating[Any]]) -> np.ndarray:
    """The smallest numbers of a type that are at least as large, as float32: rounded down, the largest would be cut."""
    nearest = np.asarray(scales).astype(held_by)
    above = np.where(nearest < scales, np.nextafter(nearest, held_by(np.inf)), nearest)
    return np.asarray(above, np.float32)


def _quantised_activation(graph: ir.Graph, node: ir.Node, threshold: float, nth: int) -> ir.Value:
    return _pair(graph, node, np.array(scale_of(threshold, nth)))


def _pair(graph: ir.Graph, node: ir.Node, scale: np.ndarray) -> ir.Value:
    """The first input of a node, to int8 and back, with a float32 scale."""
    value = node.inputs[0]
    assert value is not None
    prefix = f"{node.name}_input"
    step = add_constant(graph, f"{prefix}_scale", scale)
    zero = add_constant(graph, f"{prefix}_zero_point", np.array(0, np.int8))
    eight = ir.node("QuantizeLinear", [value, step, zero], name=f"{prefix}_quantize")
    back = ir.node("DequantizeLinear", [eight.outputs[0], step, zero], name=f"{prefix}_dequantize")
    insert_before(graph, node, eight, ir.DataType.INT8, value.shape)
    return insert_before(graph, node, back, ir.DataType.FLOAT, value.shape)


def _quantised_weight(
    graph: ir.Graph, node: ir.Node, axis: int, held_by: type[np.floating[Any]] = np.float32
) -> ir.Value:
    value = node.inputs[1]
    assert value is not None
    assert value.const_value is not None
    prefix = f"{node.name}_weight"
    rounded, scales = rounded_weights(value.const_value.numpy(), axis, held_by)
    inputs = [
        add_constant(graph, f"{prefix}_int8", rounded),
        add_constant(graph, f"{prefix}_scale", scales),
        add_constant(graph, f"{prefix}_zero_point", np.zeros(scales.shape, np.int8)),
    ]
    back = ir.node("DequantizeLinear", inputs, {"axis": axis}, name=f"{prefix}_dequantize")
    return insert_before(graph, node, back, ir.DataType.FLOAT, value.shape)


def _fits(threshold: float) -> bool:
    return SMALLEST_THRESHOLD <= threshold <= LARGEST / HEADROOM


def _largest(model: ir.Model, weight: str) -> float:
    tensor = model.graph.initializers[weight].const_value
    assert tensor is not None
    return float(np.abs(tensor.numpy()).max(initial=0.0))


def _keep_from_becoming_gemm(graph: ir.Graph, product: ir.Node) -> None:
    """A bias of rank 3 after a product of rank 3."""
    output = product.outputs[0]
    if product.op_type != "MatMul" or output.shape is None or output.shape.rank() != 3:
        return
    for node, index in output.uses():
        bias = node.inputs[1 - index] if node.op_type == "Add" else None
        if bias is not None and bias.const_value is not None and bias.shape is not None and bias.shape.rank() == 1:
            raised = add_constant(graph, f"{bias.name}_rank3", bias.const_value.numpy().reshape(1, 1, -1))
            node.replace_input_with(1 - index, raised)
