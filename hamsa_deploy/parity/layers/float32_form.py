"""The same model exported anew in float32: what the bundle's graph was made from.

Its nodes and values have the same names, so it says which node inside a layer differs, and whether the real form
itself is at fault.
"""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import nn

from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.spectral.factorisations import Plan
from hamsa_runtime.manifest import InputSpec, Manifest
from hamsa_runtime.vocabulary import ONNX_FILE
from hamsa_runtime.whole_files import scratch_folder


def float32_form(model: nn.Module, manifest: Manifest) -> ir.Model:
    """Export a model as the bundle was, with the same plans, but in float32 and as ONNX."""
    how = manifest.preprocessing
    first = manifest.inputs[0].shape[:1]
    request = Request(
        model,
        to=manifest.target,
        example_inputs=[_example(spec) for spec in manifest.inputs],
        preprocessing=how,
        input_dtype="uint8" if how is not None and how.normalise == "graph" else "float32",
        batch=None if first in ((), ("batch",)) else int(first[0]),
        fft="native" if manifest.has_native_transforms else "real",
    )
    plans = {row.length: Plan(row.length, row.factors) for row in manifest.plan if row.kind != "native"}
    with scratch_folder() as folder:
        path = folder / ONNX_FILE
        real_model_of_request(request, plans).write(path)
        written = ir.load(path)
        ir.external_data.load_to_model(written)
    return written


def _example(spec: InputSpec) -> torch.Tensor:
    shape = [2 if size == "batch" else size for size in spec.shape]
    return torch.zeros(shape, dtype=getattr(torch, spec.dtype))
