"""`OnnxFile` -> `RealModel`: dimensions settled, transforms replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir

from hamsa_deploy.form.real_model import RealModel, Shape, each_once
from hamsa_deploy.onnx_import.replacement import real_onnx
from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.targets import onnx_file
from hamsa_runtime.errors import InputError
from hamsa_runtime.fix.loading import OnnxFile, copy_of
from hamsa_runtime.manifest import InputSpec, OutputSpec
from hamsa_runtime.vocabulary import DTYPES

Sizes = Sequence[int]


def real_model_of_file(
    file: OnnxFile,
    *,
    target: str,
    shapes: Sequence[Sizes] = (),
    batch: int | None = None,
    plans: Plans = MappingProxyType({}),
) -> RealModel:
    """Replace the transforms of a file, and describe the result.

    Args:
        file: as loaded; it stays as it is.
        target: whose engine the products are shaped for.
        shapes: one for each input, to settle dimensions that the file leaves open; the first is the batch, and stays
            open.
        batch: settles the first dimension too.
        plans: the plan for some transform lengths, as for to_real.

    Raises:
        InputError: a NaN in a weight; shapes that the file contradicts; a dimension other than the batch that stays
            open; an input or output of a type that no bundle has.
        UnsupportedTransformError: see `real_onnx`.
    """
    _check_weights(file)
    model = copy_of(file.model)
    inputs = [value for value in model.graph.inputs if str(value.name) not in model.graph.initializers]
    _settle(file, inputs, shapes, batch)
    model, transforms = real_onnx(model, target=target, plans=plans)
    weights = [value.const_value for value in file.model.graph.initializers.values()]
    return RealModel(
        reference=file.path.name,
        parameters=sum(int(tensor.size) for tensor in weights if tensor and tensor.dtype.is_floating_point()),
        inputs=tuple(InputSpec(*_spec(file, value, "input")) for value in model.graph.inputs),
        outputs=tuple(OutputSpec(*_spec(file, value, "output")) for value in model.graph.outputs),
        transforms=each_once(transforms),
        write=lambda path: _written(model, path),
    )


def _written(model: ir.Model, path: Path) -> ir.Model:
    onnx_file.save(model, path)
    return model


def _check_weights(file: OnnxFile) -> None:
    """No NaN. Infinity is allowed here: exporters write -Inf into attention masks."""
    values = [value for graph in file.model.graphs() for value in graph.initializers.values()]
    bad = [str(value.name) for value in values if value.const_value and _has_nan(value.const_value)]
    if bad:
        raise InputError(f"{file.path} holds NaN in {', '.join(bad)}", expected="finite weights", fix="another file")


def _has_nan(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype.is_floating_point() and bool(np.isnan(tensor.numpy()).any())


def _settle(file: OnnxFile, inputs: Sequence[ir.Value], shapes: Sequence[Sizes], batch: int | None) -> None:
    """Write the sizes that are known into the graph's inputs; the open first dimension of each becomes `batch`."""
    if shapes and len(shapes) != len(inputs):
        raise InputError(
            f"{len(shapes)} input shapes for {file.path}",
            expected=f"{len(inputs)}: {', '.join(map(_text, inputs))}",
        )
    for index, value in enumerate(inputs):
        if value.shape is None:
            raise InputError(f"{file.path}: the input {value.name!r} has no shape", expected="at least a rank")
        value.shape = _settled_shape(file, value, [*shapes[index]] if shapes else [None] * len(value.shape), batch)
    if batch is not None and not any(value.shape and value.shape[0] == batch for value in inputs):
        raise _contradiction(file, inputs[0], [batch])


def _settled_shape(file: OnnxFile, value: ir.Value, wanted: list[int | None], batch: int | None) -> ir.Shape:
    """The file's shape, with open sizes as wanted; an open first one is `batch`."""
    assert value.shape is not None
    settled = [
        given if isinstance(given, int) else want or given for given, want in zip(value.shape, wanted, strict=False)
    ]
    agree = all(want in (None, size) for size, want in zip(settled[1:], wanted[1:], strict=False))
    if len(wanted) != len(value.shape) or not agree:
        raise _contradiction(file, value, wanted)
    if settled and not isinstance(value.shape[0], int):
        settled[0] = batch or ir.SymbolicDim("batch")
    return ir.Shape(settled)


def _contradiction(file: OnnxFile, value: ir.Value, wanted: Any) -> InputError:
    shape = "x".join("?" if size is None else str(size) for size in wanted)
    return InputError(
        f"the shape {shape} for the input {_text(value)} of {file.path}",
        expected="the sizes that the file itself fixes, and any for those that it leaves open",
        fix="leave --batch away, or export the file again with a dynamic batch",
    )


def _text(value: ir.Value) -> str:
    return f"{value.name} [{', '.join(map(str, value.shape or ()))}]"


def _spec(file: OnnxFile, value: ir.Value, kind: str) -> tuple[str, str, Shape]:
    """Name, dtype and shape."""
    dtype = "" if value.dtype is None or not isinstance(value.type, ir.TensorType) else _numpy_name(value.dtype)
    if dtype not in DTYPES or value.shape is None:
        raise InputError(
            f"{file.path}: the {kind} {value.name!r} is {value.type} of shape {value.shape}",
            expected=f"a tensor of known rank, of {', '.join(DTYPES)}",
        )
    others = [size for size in value.shape[1:] if isinstance(size, int)]
    if len(others) < len(value.shape) - 1:
        raise InputError(
            f"{file.path}: the {kind} {_text(value)} has a dynamic dimension beside the batch",
            expected="fixed sizes but for the first dimension",
            fix="fix them: --input 1x3x224x224",
        )
    first: Shape = tuple(size if isinstance(size, int) else "batch" for size in value.shape[:1])
    return str(value.name), dtype, (*first, *others)


def _numpy_name(dtype: ir.DataType) -> str:
    return "" if dtype == ir.DataType.STRING else str(dtype.numpy())
