"""Constants that are computed with in float32, stored in fewer bits and widened when an engine loads the file.

Next to int8 weights they would be most of the file: K_hat alone is 13 % of HAMSA-S in float32. Operators on constants
are computed once, at load, by every engine; what runs is float32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import add_constant, drop_unused
from hamsa_deploy.graph.insertion import insert_before
from hamsa_deploy.precision.int8.int8_sites import Site
from hamsa_deploy.precision.int8.qdq import rounded_weights

# A node takes about 1 kB in OpenVINO's XML, so smaller ones are not worth it.
LEAST_ELEMENTS = 1024
LARGEST_ERROR = 1e-3  # of the largest magnitude: float16's 2^-11, and something for what is subnormal in it
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def store_as_float16(model: ir.Model, but: Collection[str] = ()) -> None:
    """Halve the float32 constants that float16 can hold, in place; rounding to 11 bits is far below the noise of int8.

    Args:
        model: with float32 constants.
        but: names of constants that stay as they are.
    """
    graph = model.graph
    for name, value in list(graph.initializers.items()):
        uses = list(value.uses())
        if value.const_value is None or value.dtype != ir.DataType.FLOAT or not uses or name in but:
            continue
        array = value.const_value.numpy()
        if array.size < LEAST_ELEMENTS or not _fits(array) or any(node.op_type in QUANTISERS for node, _ in uses):
            continue
        widened = _widened(graph, name, array.astype(np.float16))
        for node, index in uses:
            node.replace_input_with(index, widened)
    drop_unused(model)


def store_as_int8(model: ir.Model, sites: Sequence[Site]) -> None:
    """Quarter the weights of products that the engine has no int8 kernel for, in place; activations stay float32."""
    graph = model.graph
    nodes = {str(node.name): node for node in graph}
    for site in sites:
        value = nodes[site.node].inputs[1]
        assert value is not None
        assert value.const_value is not None
        rounded, scales = rounded_weights(value.const_value.numpy(), site.axis)
        shape = [-1 if axis == site.axis else 1 for axis in range(rounded.ndim)]
        steps = add_constant(graph, f"{site.node}_weight_scale", scales.reshape(shape))
        product = ir.node("Mul", [_widened(graph, f"{site.node}_weight", rounded), steps], name=f"{site.node}_weight")
        nodes[site.node].replace_input_with(
            1, insert_before(graph, nodes[site.node], product, ir.DataType.FLOAT, value.shape)
        )
    drop_unused(model)


def _widened(graph: ir.Graph, name: str, stored: np.ndarray) -> ir.Value:
    """The constant in float32, by a node in front of all others."""
    constant = add_constant(graph, f"{name}_{stored.dtype}", stored)
    cast = ir.node("Cast", [constant], {"to": int(ir.DataType.FLOAT)}, name=f"{name}_float32")
    return insert_before(graph, graph[0], cast, ir.DataType.FLOAT, ir.Shape(stored.shape))


def _fits(array: np.ndarray) -> bool:
    largest = float(np.abs(array).max())
    if not 0 < largest <= float(np.finfo(np.float16).max):
        return False
    return float(np.abs(array - array.astype(np.float16).astype(np.float32)).max()) <= LARGEST_ERROR * largest
