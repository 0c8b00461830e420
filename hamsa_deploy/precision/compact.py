"""Constants that stay in floating point, stored as float16 and widened when an engine loads the file.

Next to int8 weights they would be most of the file: K_hat alone is 13 % of HAMSA-S in float32. A Cast of a constant is
computed once, at load, by every engine; what runs is float32. Rounding to 11 bits is far below the noise of int8.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.constants import add_constant, drop_unused

# Smaller ones are not worth a node; scales, which have to stay as they are, are among these or next to a zero point.
LEAST_ELEMENTS = 256
LARGEST_ERROR = 1e-3  # of the largest magnitude: float16's 2^-11, and something for what is subnormal in it
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def store_as_float16(model: ir.Model) -> None:
    """Halve the float32 constants that float16 can hold, in place."""
    graph = model.graph
    for name, value in list(graph.initializers.items()):
        uses = list(value.uses())
        if value.const_value is None or value.dtype != ir.DataType.FLOAT or not uses:
            continue
        array = value.const_value.numpy()
        if array.size < LEAST_ELEMENTS or not _fits(array) or any(node.op_type in QUANTISERS for node, _ in uses):
            continue
        stored = add_constant(graph, f"{name}_float16", array.astype(np.float16))
        cast = ir.node("Cast", [stored], {"to": int(ir.DataType.FLOAT)}, name=f"{name}_float32")
        widened = cast.outputs[0]
        widened.name, widened.type, widened.shape = str(cast.name), value.type, value.shape
        graph.insert_before(graph[0], cast)
        for node, index in uses:
            node.replace_input_with(index, widened)
    drop_unused(model)


def _fits(array: np.ndarray) -> bool:
    largest = float(np.abs(array).max())
    if not 0 < largest <= float(np.finfo(np.float16).max):
        return False
    return float(np.abs(array - array.astype(np.float16).astype(np.float32)).max()) <= LARGEST_ERROR * largest
