"""Values between the nodes of an ONNX graph: as it computes them, and as it computes each from the reference's.

In the second run every value that has a reference is replaced by it wherever it is used. So each value shows only what
the nodes since the last such values have added, and errors upstream do not hide or inflate it.

ONNX Runtime runs the graph as written, without optimisations, which would fuse nodes and lose values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import onnx_ir as ir
import onnxruntime

from hamsa_deploy.graph.observing import values_by_name
from hamsa_deploy.graph.sessions import session_from_model
from hamsa_runtime.batches import Arrays
from hamsa_runtime.fix.loading import copy_of

GIVEN = "given_"  # in front of the name of a value that is an input of its own


class Values(Protocol):
    """Who can be asked for values between the nodes of a graph."""

    @property
    def names(self) -> frozenset[str]:
        """What it can be asked for."""

    def computed(self, names: Sequence[str], feed: Arrays) -> Arrays:
        """Some values, in the order of `names`, as the graph computes them."""

    def recomputed(self, names: Sequence[str], given: Arrays, feed: Arrays) -> Arrays:
        """Some values, each computed from those that are given, which are rounded to the graph's types."""


class GraphValues:
    """Runs an ONNX graph for values between its nodes; the model is left as it is."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._sessions: dict[tuple[tuple[str, ...], tuple[str, ...]], onnxruntime.InferenceSession] = {}

    @property
    def names(self) -> frozenset[str]:
        """Inputs, and everything that nodes compute."""
        return frozenset(values_by_name(self._model.graph))

    def computed(self, names: Sequence[str], feed: Arrays) -> Arrays:
        """Some values, in the order of `names`, as the graph computes them."""
        return self._run(names, {}, feed)

    def recomputed(self, names: Sequence[str], given: Arrays, feed: Arrays) -> Arrays:
        """Some values, each computed from those that are given, which are rounded to the graph's types."""
        return self._run(names, given, feed)

    def _run(self, names: Sequence[str], given: Arrays, feed: Arrays) -> Arrays:
        key = (tuple(names), tuple(given))
        if key not in self._sessions:
            self._sessions[key] = session_from_model(cut_at(self._model, names, given), optimised=False)
        session = self._sessions[key]
        arrays = {**feed, **{GIVEN + name: array for name, array in given.items()}}
        inputs = {port.name: _in_type(arrays[port.name], port.type) for port in session.get_inputs()}
        return dict(zip(names, session.run(list(names), inputs), strict=True))


def cut_at(model: ir.Model, names: Iterable[str], given: Iterable[str]) -> ir.Model:
    """A copy whose outputs are the values `names`, and in which every use of `given` reads an input of its own."""
    model = copy_of(model)
    graph = model.graph
    values = values_by_name(graph)
    for name in given:
        source = values[name]
        stand_in = ir.Value(name=GIVEN + name, type=source.type, shape=source.shape)
        for node, index in tuple(source.uses()):
            node.replace_input_with(index, stand_in)
        graph.inputs.append(stand_in)
    graph.outputs[:] = [values[name] for name in names]
    return model


NUMPY_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def _in_type(array: np.ndarray, type_name: str) -> np.ndarray:
    """In the type of the graph's input, its largest number for what is beyond it."""
    dtype = NUMPY_TYPES.get(type_name)
    if dtype is None or array.dtype == dtype:
        return array
    largest = float(np.finfo(dtype).max)
    return np.clip(array, -largest, largest).astype(dtype)
