"""Outputs of an ONNX graph on ONNX Runtime, and how far two sets of outputs are apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir
import onnxruntime

Arrays = Mapping[str, np.ndarray]


class Evaluator:
    """A graph, loaded once.

    Args:
        model: any types; it is copied.
    """

    def __init__(self, model: ir.Model) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        content = ir.to_proto(model).SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, feeds: Iterable[Arrays]) -> dict[str, np.ndarray]:
        """Each output, concatenated over the feeds."""
        runs = [self._session.run(None, dict(feed)) for feed in feeds]
        return {name: np.concatenate(parts) for name, parts in zip(self._outputs, zip(*runs, strict=True), strict=True)}


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
