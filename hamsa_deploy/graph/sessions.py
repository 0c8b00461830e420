"""ONNX graphs in memory on ONNX Runtime: sessions, outputs over many runs, how far two sets of outputs are apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime

from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import State

ERRORS_ONLY = 3


def session_from_model(
    model: ir.Model, *, optimised: bool, outputs: Sequence[ir.Value] = ()
) -> onnxruntime.InferenceSession:
    """Load a graph on the CPU.

    Args:
        model: any types; it is left as it is.
        optimised: as a bundle would run. Otherwise node by node, as the graph is written, and every value can be had:
            optimisations fuse nodes, and lose what is between them.
        outputs: the values that the session computes, in place of the outputs of the graph.
    """
    proto = ir.to_proto(model)
    if outputs:
        del proto.graph.output[:]
        proto.graph.output.extend(map(ir.to_proto, outputs))
    levels, options = onnxruntime.GraphOptimizationLevel, onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Evaluator:
    """A graph, loaded once.

    Args:
        model: any types; it is copied.
    """

    def __init__(self, model: ir.Model) -> None:
        self._session = session_from_model(model, optimised=True)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, feeds: Iterable[Arrays]) -> Arrays:
        """The values of each output, those of one feed after the other's: signals have lengths of their own."""
        runs = [self._session.run(None, feed) for feed in feeds]
        return {
            name: np.concatenate([*map(np.ravel, parts)])
            for name, parts in zip(self._outputs, zip(*runs, strict=True), strict=True)
        }


def with_states(
    model: ir.Model, feeds: Iterable[Arrays], states: Sequence[tuple[State, np.ndarray]]
) -> Sequence[Arrays]:
    """Feeds of a model that keeps something between calls, each with what the calls before it have left.

    Args:
        model: float32; it is left as it is.
        feeds: inputs by name, one dict for each call, in order.
        states: what it keeps, each with its first value.
    """
    if not states:
        return list(feeds)
    outputs = {str(value.name): value for value in model.graph.outputs}
    session = session_from_model(model, optimised=True, outputs=[outputs[state.output] for state, _ in states])
    values = {state.input: value for state, value in states}
    complete = []
    for feed in feeds:
        complete.append({**feed, **values})
        # ONNX Runtime's own int64 is C's long long, which OpenVINO does not take.
        values = {
            state.input: np.asarray(array, state.dtype)
            for (state, _), array in zip(states, session.run(None, complete[-1]), strict=True)
        }
    return complete


def noise_to_signal(found: Arrays, expected: Arrays) -> float:
    """sum |found - expected|^2 / sum |expected|^2 of the output where it is largest; 0 where all are equal."""
    ratios = []
    for name, reference in expected.items():
        a, b = found[name].astype(np.float64), reference.astype(np.float64)
        signal = float(np.sum(b * b))
        ratios.append(float(np.sum((a - b) ** 2)) / (signal if signal > 0 else 1.0))
    return max(ratios)


def decibels(ratio: float) -> float:
    """A noise-to-signal ratio as signal-to-noise in dB; infinite without noise."""
    return -10 * float(np.log10(ratio)) if ratio > 0 else float("inf")
