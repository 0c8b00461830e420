"""ExecuTorch: CPUs, by XNNPACK and portable kernels. Runs ExecuTorch bundles (model.pte).

Its Python bindings take and give PyTorch's tensors, so that this backend, alone of all, needs PyTorch as well. On a
phone ExecuTorch's own runtimes, in C++, Java and Swift, load the same file.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.runtime import Runtime

from hamsa_runtime.backends import Operator, Settings
from hamsa_runtime.backends.mobile import MobileRunner
from hamsa_runtime.errors import BuildError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.port_names import check_input
from hamsa_runtime.vocabulary import PTE_FILE

METHOD = "forward"
# ExecuTorch's numbers for types, which are PyTorch's -> the names of manifests, and those of `Operator`.
DTYPES = {0: "uint8", 1: "int8", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool"}
TYPES = {0: "u8", 1: "i8", 3: "i32", 4: "i64", 5: "f16", 6: "f32", 7: "f64", 11: "bool"}


class Runner(MobileRunner):
    """One method of one program; see `Backend`."""

    name, title, package = "executorch", "ExecuTorch", "executorch"
    threads = "ExecuTorch has one pool of threads for the whole process, which taskset limits"
    profiler = "a build with its event tracer"

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        super().__init__(settings)
        self.precision = {"fp16": "f16", "int8": "f32, products i8"}.get(manifest.precision, "f32")
        self._manifest = manifest
        self._inputs = [spec.name for spec in manifest.graph_inputs]
        self._outputs = [spec.name for spec in manifest.graph_outputs]
        path = folder / PTE_FILE
        with self.loading(path):
            self._data = path.read_bytes()
            program = Runtime.get().load_program(self._data)
            self._method: Any = program.load_method(METHOD)
        self.batch_limits = self._checked()

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        tensors = [torch.from_numpy(inputs[name]) for name in self._inputs]
        with self.running():
            results = self._method.execute(tensors)
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, results, strict=True)}

    def describe(self) -> dict[str, str]:
        """What runs; `operators` counts the parts that each of both has."""
        kinds = Counter("XNNPACK" if _is_delegate(each) else "portable" for each in self.operators())
        parts = ", ".join(f"{count} {name}" for name, count in kinds.most_common())
        return {**super().describe(), "operators": parts}

    def operators(self) -> list[Operator]:
        """What the program calls, in order: what XNNPACK was given is one operator for each connected part. The file
        does not say which modules they are of; the precision is that of what they write."""
        from executorch.exir._serialize._program import deserialize_pte_binary

        plan = deserialize_pte_binary(self._data).program.execution_plan[0]
        calls = [each.instr_args for chain in plan.chains for each in chain.instructions]
        return [_operator(call, plan) for call in calls if hasattr(call, "args")]

    def close(self) -> None:
        """Drops the program."""
        del self._method, self._data

    def _checked(self) -> tuple[int, int] | None:
        """Compare the program with the manifest; gives the limits of the batch: memory is planned for the largest."""
        meta, specs = self._method.metadata, self._manifest.graph_inputs
        found = (meta.num_inputs(), meta.num_outputs())
        if found != (len(specs), len(self._outputs)):
            raise BuildError(
                f"the model has {found[0]} inputs and {found[1]} outputs",
                expected=f"{len(specs)} and {len(self._outputs)}, as the manifest says",
            )
        largest = []
        for index, spec in enumerate(specs):
            port = meta.input_tensor_meta(index)
            free = [isinstance(size, str) for size in spec.shape]
            sizes = port.sizes()
            largest += [size for size, is_free in zip(sizes, free, strict=False) if is_free]
            shape = [None if is_free else size for size, is_free in zip(sizes, free, strict=False)]
            check_input(spec, DTYPES.get(port.dtype(), "of another type"), shape if len(sizes) == len(free) else sizes)
        return (1, min(largest)) if largest else None


def _is_delegate(operator: Operator) -> bool:
    return "::" not in operator.kind


def _operator(call: Any, plan: Any) -> Operator:
    """From a call in the plan, of an operator or of a delegate; its last argument is what it writes."""
    named = hasattr(call, "op_index")
    kind = plan.operators[call.op_index].name if named else plan.delegates[call.delegate_index].id
    written = plan.values[call.args[-1]].val
    return Operator(kind, TYPES.get(int(getattr(written, "scalar_type", 4)), "unknown"), (kind,))
