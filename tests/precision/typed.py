"""Running graphs that are typed in float16, and looking into them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx.parser
import onnx.shape_inference
import onnx_ir as ir

from hamsa_deploy.graph.observing import observe, values_by_name
from hamsa_deploy.graph.sessions import session_from_model
from hamsa_deploy.precision.float16.from_float32 import float16_from_float32
from hamsa_deploy.precision.observers import RANGES, float32_values
from hamsa_runtime.batches import Arrays


def graph(body: str, inputs: str, outputs: str = "float[batch, 2] out", **weights: np.ndarray) -> ir.Model:
    """A model from nodes in ONNX's text form; types and shapes between them are inferred."""
    opsets = '"": 20, "com.microsoft": 1'
    proto = onnx.parser.parse_model(
        f"<ir_version: 10, opset_import: [{opsets}]> g ({inputs}) => ({outputs}) {{ {body} }}"
    )
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True))


def typed(model: ir.Model, feeds: Iterable[Arrays]) -> tuple[ir.Model, dict[str, str]]:
    """A float16 copy of a float32 model, with its islands."""
    half = ir.from_proto(ir.to_proto(model))
    return half, float16_from_float32(half, RANGES.watch(model, float32_values(model), feeds))


def outputs_of(model: ir.Model, feed: Arrays) -> list[np.ndarray]:
    """What ONNX Runtime computes."""
    return session_from_model(model, optimised=True).run(None, feed)


def infinite_values(half: ir.Model, feed: Arrays) -> list[str]:
    """The float16 values that are not finite somewhere.

    ONNX Runtime on CPUs computes chains of float16 operators in float32: an overflow between two of them does not show
    in its results, but it does in what it hands out from between them.
    """
    names = [name for name, value in values_by_name(half.graph).items() if value.dtype == ir.DataType.FLOAT16]
    return [
        name
        for arrays in observe(half, names, [feed])
        for name, array in arrays.items()
        if not np.isfinite(array).all()
    ]
