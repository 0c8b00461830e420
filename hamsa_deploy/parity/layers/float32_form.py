"""The same model exported anew in float32: what the bundle's graph was made from.

Its nodes and values have the same names, so it says which node inside a layer differs, and whether the real form
itself is at fault.
"""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import nn
from torch.export import Dim

from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.scan.forms import Key, Way, form_of, size_of
from hamsa_deploy.spectral.complex_linear import FORMS, layer_of
from hamsa_runtime.batches import batch_axes
from hamsa_runtime.batches import zeros as zeros_of
from hamsa_runtime.dft.factorisations import Plan
from hamsa_runtime.manifest import BATCH, Manifest
from hamsa_runtime.vocabulary import ONNX_FILE
from hamsa_runtime.whole_files import scratch_folder


def float32_form(model: nn.Module, manifest: Manifest) -> ir.Model:
    """Export a model as the bundle was, with the same plans, but in float32 and as ONNX."""
    how = manifest.preprocessing
    request = Request(
        model,
        to=manifest.target,
        example_inputs=_examples(manifest),
        dynamic_shapes=_dynamic_shapes(manifest),
        input_names=[spec.name for spec in manifest.inputs],
        output_names=[spec.name for spec in manifest.outputs],
        preprocessing=how,
        input_dtype="uint8" if how is not None and how.normalise == "graph" else "float32",
        batch=_batch(manifest),
        fft="native" if manifest.has_native_transforms else "real",
    )
    plans: dict[Key, Way] = {row.length: Plan(row.length, row.factors) for row in manifest.plan if row.kind != "native"}
    plans |= {size_of(scan): form_of(scan.form, scan.factors) for scan in manifest.scans if scan.length is not None}
    plans |= {layer_of(each): FORMS[each.form] for each in manifest.linears}
    with scratch_folder() as folder:
        path = folder / ONNX_FILE
        real_model_of_request(request, plans).write(path)
        written = ir.load(path)
        ir.external_data.load_to_model(written)
    return written


def _examples(manifest: Manifest) -> list[torch.Tensor]:
    """Complex numbers, where the model takes those."""
    zeros = {name: torch.from_numpy(array) for name, array in zeros_of(manifest, 2).items()}
    return [torch.view_as_complex(zeros[s.name]) if s.is_complex else zeros[s.name] for s in manifest.inputs]


def _batch(manifest: Manifest) -> int | None:
    """A fixed one; of a model of arrays its examples say it all."""
    first = manifest.inputs[0].shape[:1]
    return int(first[0]) if first and isinstance(first[0], int) and not batch_axes(manifest.inputs) else None


def _dynamic_shapes(manifest: Manifest) -> tuple[dict[int, Dim], ...] | None:
    """What the inputs say; None for images, whose first axis is the batch."""
    if manifest.preprocessing is not None:
        return None
    dims = {axis.name: Dim(axis.name, min=axis.min, max=axis.max) for axis in manifest.axes} | {BATCH: Dim(BATCH)}
    return tuple(
        {axis: dims[name] for axis, name in enumerate(spec.shape) if isinstance(name, str)} for spec in manifest.inputs
    )
