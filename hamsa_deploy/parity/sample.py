"""A few inputs of the comparison with what the original computes for them: what a page compares again.

A page cannot run PyTorch. It is given arrays by name, as the graph has them,

    input.<name>     what the graph takes: the first SAMPLES images, or the first call
    output.<name>    what the original computes
    unit.<name>      of an output of floats, as float32: what an error is divided by, `differences.denominators`

so that its largest |a - b| / unit is the relative error that the manifest's figures are. Of a model that keeps
something between calls it is the first stream, CALLS calls of it at most, which are the first axis of all arrays: one
block alone may be silence, of which a model gives rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from hamsa_deploy.inputs.feeds import calls_of, feeds_of, is_calls, streams_of
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.parity.comparison import run_model
from hamsa_deploy.parity.differences import denominators, is_exact
from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import Manifest, OutputSpec
from hamsa_runtime.preprocess import inputs_from_images

SAMPLES, CALLS = 4, 256


def sample_of(model: nn.Module | OnnxFile, data: Any, manifest: Manifest) -> Arrays:
    """The arrays above.

    Args:
        model, data: as for `check_parity`.
        manifest: of the bundle.
    """
    calls = _calls(data, manifest)
    inputs = [inputs_from_images(call, manifest) for call in calls]
    given = calls if is_calls(data, manifest) else calls[0]
    expected = run_model(model, given, manifest)[1]
    arrays = {f"input.{name}": _stacked([each[name] for each in inputs], manifest) for name in inputs[0]}
    for spec in manifest.outputs:
        shape = (
            (len(calls), *_shape(expected[spec.name], spec)) if manifest.states else _shape(expected[spec.name], spec)
        )
        output = expected[spec.name].reshape(shape).astype(spec.dtype)
        arrays[f"output.{spec.name}"] = output
        if not is_exact(output):
            arrays[f"unit.{spec.name}"] = _units(output, spec, manifest)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _calls(data: Any, manifest: Manifest) -> list[Any]:
    """What the bundle is called with: one call, or those of a stream that are as large as its first."""
    if manifest.states:
        stream = streams_of(data, manifest)[0][:CALLS]
        shapes = [_shapes(inputs_from_images(call, manifest)) for call in stream]
        return [
            call for call, _ in itertools.takewhile(lambda pair: pair[1] == shapes[0], zip(stream, shapes, strict=True))
        ]
    if manifest.preprocessing is not None:
        size = manifest.inputs[0].shape[0]
        if not isinstance(size, int):
            return [data[:SAMPLES]]
        images = list(data[:size])
        return [images + images[-1:] * (size - len(images))]  # as an engine fills a batch up
    if is_calls(data, manifest):
        return calls_of(data, manifest)[:1]
    return [next(iter(feeds_of(data, manifest, SAMPLES, SAMPLES)))]


def _shapes(inputs: Arrays) -> list[tuple[int, ...]]:
    return [array.shape for array in inputs.values()]


def _stacked(calls: Sequence[np.ndarray], manifest: Manifest) -> np.ndarray:
    return np.stack(calls) if manifest.states else calls[0]


def _shape(rows: np.ndarray, spec: OutputSpec) -> tuple[int, ...]:
    """Of the output of one call: what is before it in `rows` counts streams and calls."""
    return rows.shape[rows.ndim - len(spec.shape) :]


def _units(output: np.ndarray, spec: OutputSpec, manifest: Manifest) -> np.ndarray:
    """Relative to each image, or each call; of a clip to all of its blocks."""
    has_rows = manifest.audio is None if manifest.states else spec.batch_axis == 0 and output.ndim > 0
    return denominators(output if has_rows else output[None]).reshape(output.shape).astype(np.float32)
