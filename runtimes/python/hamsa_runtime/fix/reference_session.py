"""What an ONNX file computes: the reference for the parity check of its export.

Neither engine can say: ONNX Runtime's DFT has relative errors of 2e-5 at 196 points and 3e-4 at 3136, OpenVINO reads
the operator wrongly. The referee is the standard's own implementation in Python, `onnx.reference`, whose DFT is
numpy.fft, with every floating-point type of the file widened to float64. It shares no code with the compiler and none
with the engines. (HAMSA-S takes it some seconds for an image.)
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes import common as passes

from hamsa_runtime.batches import Arrays
from hamsa_runtime.errors import InputError
from hamsa_runtime.fix.loading import OnnxFile, copy_of

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
# Attributes that hold an element type: Cast; the random and EyeLike operators; the window operators.
TYPE_ATTRIBUTES = ("to", "dtype", "output_datatype")


class ReferenceSession:
    """Runs an ONNX file in float64.

    Raises:
        InputError: an operator that onnx.reference does not have, such as one of another domain.
    """

    def __init__(self, file: OnnxFile) -> None:
        self._file = file
        self.name = f"{file.path.name} in float64"
        try:
            self._evaluator = ReferenceEvaluator(ir.to_proto(float64_from(file.model)))
        except Exception as error:  # a missing operator surfaces in many ways
            raise self._unable(error) from error

    def __call__(self, inputs: Arrays) -> Arrays:
        """Outputs by name, for inputs by name."""
        widened = {name: _widened(array) for name, array in inputs.items()}
        try:
            results = self._evaluator.run(None, widened)
        except Exception as error:  # the operators are plain numpy, and raise whatever numpy raises
            raise self._unable(error) from error
        assert isinstance(results, list)
        return dict(zip(self._evaluator.output_names, map(np.asarray, results), strict=True))

    def _unable(self, error: Exception) -> InputError:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        return InputError(
            f"{self._file.path}: the reference implementation cannot run it: {type(error).__name__}: {text[:300]}",
            expected="operators of the ONNX standard, and inputs that they take",
            cause="an operator of another domain, which only one engine has, or --data that do not fit the model",
            fix="export the file again without an engine's own optimisations",
        )


def float64_from(model: ir.Model) -> ir.Model:
    """A copy with float64 in place of every narrower floating-point type; integers and booleans stay."""
    model = copy_of(model)
    passes.InlinePass()(model)
    for graph in model.graphs():
        for value in graph.initializers.values():
            assert value.const_value is not None
            value.const_value = _widened_tensor(value.const_value)
        for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
            if value.dtype in FLOATS:
                value.dtype = ir.DataType.DOUBLE
        for node in graph:
            _widen_attributes(node)
    return model


def _widen_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR:
            node.attributes[name] = ir.AttrTensor(name, _widened_tensor(attribute.as_tensor()))
        elif name in TYPE_ATTRIBUTES and attribute.type == ir.AttributeType.INT and attribute.as_int() in FLOATS:
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.DOUBLE))


def _widened_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float64), name=tensor.name) if tensor.dtype in FLOATS else tensor


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype in (np.float32, np.float16) else array
