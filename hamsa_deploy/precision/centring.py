"""Activations moved to the middle of their range before they are rounded, channel by channel; exact.

Symmetric int8 has as many levels below zero as above, and a GELU, a magnitude or a gate leaves half of them unused. For
a product of x (.., d) with weights W (d, n), and any c (d,),

    x W = (x - c) W + c W

where c W is a constant and joins the bias. With c = (min x + max x) / 2 for each channel, x - c is as small as a shift
can make it. It also takes the mean of x out of reach of what rounding does to W.

A smaller range is not yet a smaller error: of a GELU most values are close to zero, where they cost nothing, and moved
away from there they cost half a step. So an activation is moved only if the error expected from its histogram shrinks.
(By range alone, HAMSA-S with random weights lost 2 dB.)

Where x comes out of a LayerNormalization that nobody else reads, c goes into its bias and costs nothing; else it costs
a subtraction, which engines merge with what is pointwise before it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.graphs import add_constant, drop_unused, insert_after, insert_before
from hamsa_deploy.precision.histogram import Histogram
from hamsa_deploy.precision.measurements import Measurements
from hamsa_deploy.precision.sites import Site
from hamsa_deploy.precision.thresholds import mse, squared_errors

# By which factor the expected squared error has to shrink for a subtraction to be worth it, and for a free one.
LEAST_GAIN, LEAST_FREE_GAIN = 1.5, 1.05
TINY = float(np.finfo(np.float64).tiny)


def centre(model: ir.Model, sites: list[Site], measurements: Measurements, *, unsigned: bool) -> tuple[int, int]:
    """Move activations, in place.

    Args:
        model: float32.
        sites: the products that will be int8.
        measurements: on the calibration inputs.
        unsigned: whether the target has levels from 0 on for what is never negative.

    Returns:
        How many activations were moved, and for how many of them it took a subtraction.
    """
    nodes = {str(node.name): node for node in model.graph}
    products: dict[str, list[ir.Node]] = {}
    for site in sites:
        if nodes[site.node].op_type == "MatMul":
            products.setdefault(site.activation, []).append(nodes[site.node])
    centres, gains = _centres_and_gains(model, sorted(products), measurements, unsigned=unsigned)
    moved = subtracted = 0
    for name, c in centres.items():
        norm = _normalisation(products[name])
        if gains[name] < (LEAST_GAIN if norm is None else LEAST_FREE_GAIN):
            continue
        if norm is None:
            _subtract(model.graph, products[name], c)
        else:
            _into_normalisation(model.graph, norm, c)
        for product in products[name]:
            _add_to_bias(model.graph, product, c)
        moved += 1
        subtracted += norm is None
    drop_unused(model.graph)
    return moved, subtracted


def _centres_and_gains(
    model: ir.Model, names: list[str], measurements: Measurements, *, unsigned: bool
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """c of each activation, and by what factor it makes the expected squared error smaller."""
    extremes = measurements.channels(model, names)
    centres = {name: (low + high) / 2 for name, (low, high) in extremes.items()}
    before = measurements.histograms(model, names)
    after = measurements.histograms(model, names, centres)
    gains = {}
    for name, (low, _) in extremes.items():
        # Twice the levels where there are none below zero: a quarter of the error.
        native = 0.25 if unsigned and low.min() >= 0 else 1.0
        gains[name] = native * _least_error(before[name]) / max(_least_error(after[name]), TINY)
    return centres, gains


def _least_error(histogram: Histogram) -> float:
    if not histogram.counts.any():
        return 0.0
    return float(squared_errors(histogram, np.array([mse(histogram)]))[0])


def _normalisation(products: list[ir.Node]) -> ir.Node | None:
    """The LayerNormalization that these products alone read."""
    value = products[0].inputs[0]
    assert value is not None
    node = value.producer()
    if node is None or node.op_type != "LayerNormalization" or value.is_graph_output():
        return None
    scale = node.inputs[1]
    readers = {user for user, _ in value.uses()}
    axis = node.attributes.get("axis")
    last = axis is None or axis.as_int() == -1 or (value.shape is not None and axis.as_int() == value.shape.rank() - 1)
    return node if scale is not None and scale.const_value is not None and readers == set(products) and last else None


def _into_normalisation(graph: ir.Graph, node: ir.Node, c: np.ndarray) -> None:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    old = 0.0 if bias is None or bias.const_value is None else bias.const_value.numpy()
    moved = add_constant(graph, f"{node.name}_centred_bias", (old - c).astype(np.float32))
    if len(node.inputs) > 2:
        node.replace_input_with(2, moved)
    else:
        node.resize_inputs(3)
        node.replace_input_with(2, moved)


def _subtract(graph: ir.Graph, products: list[ir.Node], c: np.ndarray) -> None:
    first, value = products[0], products[0].inputs[0]
    assert value is not None
    minus = add_constant(graph, f"{first.name}_minus_centre", (-c).astype(np.float32))
    node = ir.node("Add", [value, minus], name=f"{first.name}_centred")
    centred = insert_before(graph, first, node, ir.DataType.FLOAT, value.shape)
    for product in products:
        product.replace_input_with(0, centred)


def _add_to_bias(graph: ir.Graph, product: ir.Node, c: np.ndarray) -> None:
    """Add c W behind a product: to its bias if it has one."""
    weight = product.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    shift = c.astype(np.float64) @ weight.const_value.numpy().astype(np.float64)
    output = product.outputs[0]
    uses = list(output.uses())
    if len(uses) == 1 and uses[0][0].op_type == "Add" and not output.is_graph_output():
        node, index = uses[0]
        bias = node.inputs[1 - index]
        if bias is not None and bias.const_value is not None and bias.const_value.size == shift.size:
            array = bias.const_value.numpy()
            summed = (array + shift.reshape(array.shape)).astype(np.float32)
            node.replace_input_with(1 - index, add_constant(graph, f"{product.name}_centred_bias", summed))
            return
    constant = add_constant(graph, f"{product.name}_centre", shift.astype(np.float32))
    insert_after(graph, product, ir.node("Add", [output, constant], name=f"{product.name}_restored"))
