"""Inputs and outputs of a plan: compared with the manifest, and how much memory they take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamsa_runtime.errors import BuildError
from hamsa_runtime.manifest import BATCH, InputSpec, OutputSpec
from hamsa_runtime.port_names import check_names

# TensorRT's names of types -> numpy's, for those that a manifest can have
DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
DYNAMIC = -1


@dataclass(frozen=True)
class Port:
    """One input or output; "batch" in `shape`, or "4*batch", stands for the dynamic dimension."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]

    def shape_of(self, batch: int) -> tuple[int, ...]:
        """Its shape for so many images."""
        return tuple(_of_batch(size) * batch if isinstance(size, str) else size for size in self.shape)

    def nbytes_of(self, batch: int) -> int:
        """Its size for so many images; TensorRT stores it without gaps."""
        return math.prod(self.shape_of(batch)) * self.dtype.itemsize


def _of_batch(size: str) -> int:
    """4 for "4*batch", and 1 for "batch": bundles for TensorRT have no other axes."""
    factor, times, axis = size.rpartition("*")
    if axis != BATCH or (times and not factor.isdecimal()):
        raise BuildError(f"an axis {size!r}", expected=f"{BATCH}, or a number times that, in bundles for TensorRT")
    return int(factor or 1)


def ports_of(trt: Any, engine: Any, inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]) -> list[list[Port]]:
    """The inputs and the outputs, in the manifest's order.

    Raises:
        BuildError: names, types or shapes of the plan are not those of the manifest.
    """
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
    check_names("inputs", [spec.name for spec in inputs], [{name} for name in names if is_input[name]])
    check_names("outputs", [spec.name for spec in outputs], [{name} for name in names if not is_input[name]])
    return [[_port(engine, spec) for spec in specs] for specs in (inputs, outputs)]


def _port(engine: Any, spec: InputSpec | OutputSpec) -> Port:
    kind = engine.get_tensor_dtype(spec.name).name
    dtype, shape = DTYPES.get(kind, kind), tuple(engine.get_tensor_shape(spec.name))
    wanted = tuple(DYNAMIC if isinstance(size, str) else size for size in spec.shape)
    if (dtype, shape) != (spec.dtype, wanted):
        raise BuildError(
            f"{spec.name!r} of the plan is {dtype} {shape}",
            expected=f"{spec.dtype} {wanted}, as the manifest says ({DYNAMIC} for the batch)",
            cause="a plan of another model",
            fix="hamsa-build --rebuild BUNDLE",
        )
    return Port(spec.name, np.dtype(dtype), spec.shape)


def batch_limits(engine: Any, inputs: Sequence[Port]) -> tuple[int, int] | None:
    """Smallest and largest batch of the optimisation profile; None for a model with a fixed one.

    Raises:
        BuildError: no batch fits all inputs.
    """
    low, high = 1, None
    for port in inputs:
        if BATCH in port.shape:
            axis = port.shape.index(BATCH)
            smallest, _, largest = (shape[axis] for shape in engine.get_tensor_profile_shape(port.name, 0))
            low, high = max(low, smallest), largest if high is None else min(high, largest)
    if high is not None and low > high:
        raise BuildError(
            f"the plan takes batches of at least {low} and at most {high}", fix="hamsa-build --rebuild BUNDLE"
        )
    return None if high is None else (low, high)
