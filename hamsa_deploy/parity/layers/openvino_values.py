"""Values between the operators of an OpenVINO model, by the names that they have in the ONNX file it was made from.

Each value is read through a result of its own, so that the plugin cannot fuse what computes it with what uses it: these
are the values of the IR, not those of the fused model that runs on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import Manifest


class OpenVinoValues:
    """Runs an IR for values between its operators; see `GraphValues`.

    Args:
        file: model.xml.
        manifest: of the bundle.
    """

    def __init__(self, file: Path, manifest: Manifest) -> None:
        with no_usage_reports():
            import openvino
        from hamsa_runtime.backends.openvino import hint_and_precision, shared_core

        self._openvino, self._core = openvino, shared_core()
        self._model = self._core.read_model(file)
        self._options = {"INFERENCE_PRECISION_HINT": hint_and_precision(manifest)[0]}
        self._compiled: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}

    @cached_property
    def names(self) -> frozenset[str]:
        """The values that have a name."""
        return frozenset(_ports(self._model))

    def computed(self, names: Sequence[str], feed: Arrays) -> Arrays:
        """Some values, in the order of `names`, float32."""
        return self._run(names, {}, feed)

    def recomputed(self, names: Sequence[str], given: Arrays, feed: Arrays) -> Arrays:
        """Some values, each computed from those that are given, which are rounded to the IR's types."""
        return self._run(names, given, feed)

    def _run(self, names: Sequence[str], given: Arrays, feed: Arrays) -> Arrays:
        key = (tuple(names), tuple(given))
        if key not in self._compiled:
            self._compiled[key] = self._core.compile_model(self._cut(names, given), "CPU", self._options)
        inputs = [feed[_name(port)] for port in self._model.inputs]
        arrays = [*inputs, *(array.astype(np.float32) for array in given.values())]
        # Shared, which is the default, the memory of one call's arrays is written over by a later call's (2026.4).
        results = self._compiled[key](arrays, share_inputs=False)
        return {name: np.array(results[index]) for index, name in enumerate(names)}

    def _cut(self, names: Sequence[str], given: Arrays) -> Any:
        """A copy whose results are the values `names`, and in which every use of `given` reads a parameter."""
        from openvino import opset13 as op

        model = self._model.clone()
        ports = _ports(model)
        parameters = model.get_parameters()
        for name in given:
            port = ports[name]
            parameter = op.parameter(port.get_partial_shape(), self._openvino.Type.f32)
            stand_in = op.convert(parameter, port.get_element_type().to_string()).output(0)
            for user in port.get_target_inputs():
                user.replace_source_output(stand_in)
            parameters.append(parameter)
        results = [op.result(op.convert(ports[name], "f32")) for name in names]
        return self._openvino.Model(results, parameters, "values")


def _name(port: Any) -> str:
    return str(port.get_any_name())


def _ports(model: Any) -> dict[str, Any]:
    return {
        name: port
        for node in model.get_ordered_ops()
        if node.get_type_name() not in ("Constant", "Result")
        for port in node.outputs()
        for name in port.get_names()
    }
