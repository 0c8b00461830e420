"""LiteRT: CPUs, by XNNPACK and LiteRT's own kernels. Runs LiteRT bundles (model.tflite), one input at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from hamsa_runtime.backends import Operator, Settings
from hamsa_runtime.backends.mobile import MobileRunner
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.port_names import as_identifiers, check_input, check_names
from hamsa_runtime.vocabulary import TFLITE_FILE

# NumPy's names for types -> those of `Operator`.
TYPES = {
    "float64": "f64", "float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32", "int8": "i8",
    "uint8": "u8", "bool": "bool",
}  # fmt: skip
DELEGATE = "DELEGATE"  # what XNNPACK was given: one operator for each connected part


class Runner(MobileRunner):
    """One signature of one model; see `Backend`."""

    name, title, package = "litert", "LiteRT", "ai-edge-litert"
    profiler = "its benchmark_model, on the device"

    def __init__(self, folder: Path, manifest: Manifest, settings: Settings) -> None:
        super().__init__(settings)
        path = folder / TFLITE_FILE
        with self.loading(path):
            self._model = Interpreter(model_content=path.read_bytes(), num_threads=settings.threads)
            self._model.allocate_tensors()  # only now XNNPACK takes its part
            self._run: Any = self._model.get_signature_runner()
        # Of a processor that computes in float16 it is not told.
        self.precision = {"fp16": "f32, weights f16", "int8": "f32, weights i8"}.get(manifest.precision, "f32")
        self._inputs = as_identifiers([spec.name for spec in manifest.graph_inputs])
        self._outputs = as_identifiers([spec.name for spec in manifest.graph_outputs])
        self.batch_limits = self._checked(manifest)

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs checked, contiguous inputs; the returned arrays belong to the caller."""
        with self.running():
            found = self._run(**{self._inputs[name]: array for name, array in inputs.items()})
        return {name: found[port] for name, port in self._outputs.items()}

    def describe(self) -> dict[str, str]:
        """What runs; `operators` counts the parts that XNNPACK has, and the operators that it has not."""
        kinds = [each.kind for each in self.operators()]
        delegated = kinds.count(DELEGATE)
        return {**super().describe(), "operators": f"{delegated} XNNPACK, {len(kinds) - delegated} built in"}

    def operators(self) -> list[Operator]:
        """What the model calls, in order. What XNNPACK was given is one operator, of the type that it writes: in a
        bundle of lower precision what it computes inside is not told, nor which modules it is of."""
        calls: list[dict[str, Any]] = self._model._get_ops_details()
        taken = _given_away(calls)
        return [_operator(call) for call in calls if call["index"] not in taken]

    def close(self) -> None:
        """Drops the model."""
        del self._run, self._model

    def _checked(self, manifest: Manifest) -> tuple[int, int] | None:
        """Compare the model with the manifest; gives the limits of the batch: a model is for one input at a time."""
        inputs, outputs = self._run.get_input_details(), self._run.get_output_details()
        check_names("inputs", self._inputs.values(), [{name} for name in inputs])
        check_names("outputs", self._outputs.values(), [{name} for name in outputs])
        any_free = False
        for spec in manifest.graph_inputs:
            port = inputs[self._inputs[spec.name]]
            free = [isinstance(size, str) for size in spec.shape]
            sizes = [int(size) for size in port["shape"]]
            shape = [None if is_free and size == 1 else size for size, is_free in zip(sizes, free, strict=False)]
            check_input(spec, np.dtype(port["dtype"]).name, shape if len(sizes) == len(free) else sizes)
            any_free = any_free or any(free)
        return (1, 1) if any_free else None


def _operator(call: dict[str, Any]) -> Operator:
    types = [np.dtype(each).name for each in call["result_types"]]
    return Operator(call["op_name"], TYPES.get(types[-1], types[-1]) if types else "?", ())


def _given_away(calls: list[dict[str, Any]]) -> set[int]:
    """The operators that a delegate computes in their place, which are listed beside it: from what it writes, back to
    what it reads."""
    makers = {int(tensor): call for call in calls if call["op_name"] != DELEGATE for tensor in call["outputs"]}
    found: set[int] = set()
    for delegate in (call for call in calls if call["op_name"] == DELEGATE):
        border = set(map(int, delegate["inputs"]))
        ahead = [int(tensor) for tensor in delegate["outputs"]]
        while ahead:
            maker = makers.get(tensor := ahead.pop())
            if maker is not None and tensor not in border and maker["index"] not in found:
                found.add(maker["index"])
                ahead += map(int, maker["inputs"])
    return found
