"""A few inputs of the comparison with what the original computes for them: what a page compares again.

A page cannot run PyTorch. It is given arrays by name, as the graph has them,

    input.<name>     what the graph takes: the first SAMPLES images, or the first call
    output.<name>    what the original computes
    unit.<name>      of an output of floats, as float32: what an error is divided by, `differences.denominators`

so that its largest |a - b| / unit is the relative error that the manifest's figures are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from hamsa_deploy.inputs.feeds import calls_of, feeds_of, is_calls
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.parity.comparison import run_model
from hamsa_deploy.parity.differences import denominators, is_exact
from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import Manifest, OutputSpec
from hamsa_runtime.preprocess import inputs_from_images

SAMPLES = 4


def sample_of(model: nn.Module | OnnxFile, data: Any, manifest: Manifest) -> Arrays:
    """The arrays above.

    Args:
        model, data: as for `check_parity`.
        manifest: of the bundle.
    """
    if manifest.preprocessing is not None:
        size = manifest.inputs[0].shape[0]
        call = given = data[: size if isinstance(size, int) else SAMPLES]
    elif is_calls(data, manifest):
        call = calls_of(data, manifest)[0]
        given = [call]
    else:
        call = given = next(iter(feeds_of(data, manifest, SAMPLES, SAMPLES)))
    arrays = {f"input.{name}": array for name, array in inputs_from_images(call, manifest).items()}
    expected = run_model(model, given, manifest)[1]
    for spec in manifest.outputs:
        output = _as_given(expected[spec.name], spec)
        arrays[f"output.{spec.name}"] = output
        if not is_exact(output):
            arrays[f"unit.{spec.name}"] = _units(output, spec)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _as_given(rows: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """As the graph gives it, of rows for streams and calls, of which there is one; in the graph's type."""
    return rows.reshape(rows.shape[rows.ndim - len(spec.shape) :]).astype(spec.dtype)


def _units(output: np.ndarray, spec: OutputSpec) -> np.ndarray:
    images = output if spec.batch_axis == 0 and output.ndim else output[None]
    return denominators(images).reshape(output.shape).astype(np.float32)
