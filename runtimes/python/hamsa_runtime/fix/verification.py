"""Whether the products compute what the nodes did that they stand in for.

Each node by itself: on seeded noise, against numpy.fft in float64, which is how the standard defines it. No engine can
be the judge: ONNX Runtime's own DFT is off by 2e-5 at 196 points, 4e-3 at 48,000 and 4e-2 at 441,000 (by 1e-6 at powers
of two), and OpenVINO reads the operator wrongly. The products run on ONNX Runtime, or on onnx.reference where that is
not installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper
from onnx.reference import ReferenceEvaluator

from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.fix.forms import output_shape
from hamsa_runtime.fix.operators import Dft, Shape, Stft
from hamsa_runtime.fix.replacement import Replaced, Replacement

# Relative to the largest value of the result. Products in float32 leave 1e-6 at most (measured: to a million points); a
# wrong sign, row or scale leaves 1e-2 and more. The 16-bit types round their results to 5e-4 and 4e-3.
ALLOWED = {
    ir.DataType.DOUBLE: 1e-12,
    ir.DataType.FLOAT: 1e-5,
    ir.DataType.FLOAT16: 2e-3,
    ir.DataType.BFLOAT16: 1e-2,
}
SEED = 20261127
# What stands for a size that may be any.
SOME = 2
# Of a node's input: its noise and spectrum in float64 take some gigabytes then.
MOST_NUMBERS = 2**26


def verify_nodes(replacement: Replacement, opset: int, ir_version: int) -> list[float]:
    """The error of what stands in for each node, relative to the largest value of its result.

    Raises:
        ParityError: one is not within `ALLOWED`; a bug of the products. Names the node.
        InputError: one takes more numbers than can be checked.
    """
    known: dict[tuple[object, ...], float] = {}
    errors = []
    for each in replacement.replaced:
        window = None if each.window is None else each.window.tobytes()
        key = (each.operator, each.plan, window, len(each.inputs))
        if key not in known:
            known[key] = _error_of(each, opset, ir_version)
        errors.append(known[key])
    return errors


def _error_of(replaced: Replaced, opset: int, ir_version: int) -> float:
    operator = replaced.operator
    rng = np.random.default_rng(SEED)
    kind, sizes = operator.dtype.numpy(), _sizes(operator)
    if math.prod(sizes) > MOST_NUMBERS:
        raise InputError(
            f"the node '{replaced.name}' takes {math.prod(sizes):.1e} numbers, too many to be checked",
            expected=f"at most {MOST_NUMBERS:.1e} at a time",
            fix="export the file with a dynamic batch",
        )
    arrays = [rng.standard_normal(sizes).astype(kind)]
    if len(replaced.inputs) > 1:
        arrays.append(rng.standard_normal(operator.length).astype(kind))
    expected = reference(operator, *arrays, *(() if replaced.window is None else (replaced.window,)))
    feeds = {str(value.name): array for value, array in zip(replaced.inputs, arrays, strict=True)}
    found = _outcome(_model_of(replaced, opset, ir_version), feeds).astype(np.float64)
    error = relative_error(found, expected)
    if not error <= ALLOWED[operator.dtype]:
        raise ParityError(
            f"what stands in for the node '{replaced.name}' is off by {error:.1e}",
            expected=f"at most {ALLOWED[operator.dtype]:g} of the largest value, against numpy.fft in float64",
            cause="a bug of hamsa-fix or of the engine that ran it; nothing was written",
        )
    return error


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max |found - expected| / max |expected|; infinite where shapes differ, or one of them is not finite alone."""
    if found.shape != expected.shape or not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return float("inf")
    finite = np.isfinite(expected)
    if not finite.any():
        return 0.0
    a, b = (np.asarray(each, dtype=np.float64)[finite] for each in (found, expected))
    size = float(np.abs(b).max())
    return float(np.abs(a - b).max()) / (size if size > 0 else 1.0)


def reference(operator: Dft | Stft, signal: np.ndarray, window: np.ndarray | None = None) -> np.ndarray:
    """What the standard says that an operator computes, in float64."""
    signal = signal.astype(np.float64)
    value = signal[..., 0] + 1j * signal[..., 1] if signal.shape[-1] == 2 else signal[..., 0]
    if isinstance(operator, Stft):
        starts = range(0, value.shape[1] - operator.length + 1, operator.step)
        frames = np.stack([value[:, start : start + operator.length] for start in starts], axis=1)
        value = frames if window is None else frames * window.astype(np.float64)
    forward, inverse = (np.fft.rfft, np.fft.irfft) if operator.onesided else (np.fft.fft, np.fft.ifft)
    transform, axis = (
        (forward, -1) if isinstance(operator, Stft) else (inverse if operator.inverse else forward, operator.axis)
    )
    result = transform(value, n=operator.length, axis=axis)
    return np.stack([result.real, result.imag], axis=-1) if np.iscomplexobj(result) else result[..., None]


def _sizes(operator: Dft | Stft) -> Sequence[int]:
    """Some for what is dynamic."""
    sizes = [SOME if size is None else size for size in operator.shape]
    if isinstance(operator, Stft) and operator.shape[1] is None:
        sizes[1] = operator.length + 3 * operator.step + 1
    if isinstance(operator, Dft) and operator.shape[operator.axis] is None:
        sizes[operator.axis] = operator.length + 1
    return sizes


def _model_of(replaced: Replaced, opset: int, ir_version: int) -> onnx.ModelProto:
    """The nodes by themselves."""
    operator = replaced.operator
    used = {value.name: value for node in replaced.nodes for value in node.inputs if value is not None}
    made = {value.name for node in replaced.nodes for value in node.outputs}
    free = {value.name for value in replaced.inputs}
    constants = [value.const_value for name, value in used.items() if name not in made | free and value.const_value]
    shapes: list[Shape] = [operator.shape, (operator.length,)]
    inputs = [
        helper.make_tensor_value_info(str(value.name), int(operator.dtype), list(shape))
        for value, shape in zip(replaced.inputs, shapes, strict=False)
    ]
    output = helper.make_tensor_value_info(str(replaced.output.name), int(operator.dtype), list(output_shape(operator)))
    graph = helper.make_graph(
        [ir.to_proto(node) for node in replaced.nodes], "one", inputs, [output], [*map(ir.to_proto, constants)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def _outcome(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """On ONNX Runtime where it is installed and takes the type: of bfloat16 it has no arrays and no products."""
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, feeds)[0])
    except Exception:  # noqa: BLE001  # not there, or what it does not take, which it refuses in many ways
        return np.asarray(next(iter(ReferenceEvaluator(model).run(None, feeds))))
