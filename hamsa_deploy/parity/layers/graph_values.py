"""Values between the nodes of an ONNX graph: as it computes them, and as it computes each from the reference's.

In the second run every value that has a reference is replaced by it wherever it is used. So each value shows only what
the nodes since the last such values have added, and errors upstream do not hide or inflate it.

ONNX Runtime runs the graph as written, without optimisations, which would fuse nodes and lose values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx_ir as ir
import onnxruntime

from hamsa_deploy.onnx_import.loading import copy_of

Arrays = dict[str, np.ndarray]
GIVEN = "given_"  # in front of the name of a value that is an input of its own


class Values(Protocol):
    """Who can be asked for values between the nodes of a graph."""

    @property
    def names(self) -> frozenset[str]:
        """What it can be asked for."""

    def computed(self, names: Sequence[str], feed: Mapping[str, np.ndarray]) -> Arrays:
        """Some values, in the order of `names`, as the graph computes them."""

    def recomputed(
        self, names: Sequence[str], given: Mapping[str, np.ndarray], feed: Mapping[str, np.ndarray]
    ) -> Arrays:
        """Some values, each computed from those that are given, which are rounded to the graph's types."""


class GraphValues:
    """Runs an ONNX graph for values between its nodes; the model is left as it is."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._sessions: dict[tuple[tuple[str, ...], tuple[str, ...]], onnxruntime.InferenceSession] = {}

    @property
    def names(self) -> frozenset[str]:
        """Inputs, and everything that nodes compute."""
        return frozenset(names_in_order(self._model.graph))

    def computed(self, names: Sequence[str], feed: Mapping[str, np.ndarray]) -> Arrays:
        """Some values, in the order of `names`, as the graph computes them."""
        return self._run(names, {}, feed)

    def recomputed(
        self, names: Sequence[str], given: Mapping[str, np.ndarray], feed: Mapping[str, np.ndarray]
    ) -> Arrays:
        """Some values, each computed from those that are given, which are rounded to the graph's types."""
        return self._run(names, given, feed)

    def _run(self, names: Sequence[str], given: Mapping[str, np.ndarray], feed: Mapping[str, np.ndarray]) -> Arrays:
        key = (tuple(names), tuple(given))
        if key not in self._sessions:
            self._sessions[key] = session_of(cut_at(self._model, names, given))
        session = self._sessions[key]
        arrays = {**feed, **{GIVEN + name: array for name, array in given.items()}}
        inputs = {port.name: _in_type(arrays[port.name], port.type) for port in session.get_inputs()}
        return dict(zip(names, session.run(list(names), inputs), strict=True))


def names_in_order(graph: ir.Graph) -> list[str]:
    """Inputs, and everything that nodes compute."""
    return [str(value.name) for value in (*graph.inputs, *(out for node in graph for out in node.outputs))]


def cut_at(model: ir.Model, names: Iterable[str], given: Iterable[str]) -> ir.Model:
    """A copy whose outputs are the values `names`, and in which every use of `given` reads an input of its own."""
    model = copy_of(model)
    graph = model.graph
    values = {str(v.name): v for v in (*graph.inputs, *(out for node in graph for out in node.outputs))}
    for name in given:
        source = values[name]
        stand_in = ir.Value(name=GIVEN + name, type=source.type, shape=source.shape)
        for node, index in tuple(source.uses()):
            node.replace_input_with(index, stand_in)
        graph.inputs.append(stand_in)
    graph.outputs[:] = [values[name] for name in names]
    return model


def session_of(model: ir.Model) -> onnxruntime.InferenceSession:
    """A session that runs the nodes one by one."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


NUMPY_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def _in_type(array: np.ndarray, type_name: str) -> np.ndarray:
    """In the type of the graph's input, its largest number for what is beyond it."""
    dtype = NUMPY_TYPES.get(type_name)
    if dtype is None or array.dtype == dtype:
        return array
    largest = float(np.finfo(dtype).max)
    return np.clip(array, -largest, largest).astype(dtype)
