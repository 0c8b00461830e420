"""`layer_report`: from a bundle, its model and some images to the first layer that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from hamsa_deploy.inputs.feeds import streams_of
from hamsa_deploy.parity.comparison import engine_for, reference_inputs
from hamsa_deploy.parity.layers.comparison import Comparison, Sample, samples_of
from hamsa_deploy.parity.layers.distance import relative_error
from hamsa_deploy.parity.layers.divergence import Localisation
from hamsa_deploy.parity.layers.float32_form import float32_form
from hamsa_deploy.parity.layers.graph_values import GraphValues, Values
from hamsa_deploy.parity.layers.openvino_values import OpenVinoValues
from hamsa_deploy.parity.layers.rows import Divergence, LayerReport, LayerRow
from hamsa_deploy.scan.cuda import DEVICES
from hamsa_deploy.spectral.compiler.state import copy_of, state_of
from hamsa_deploy.spectral.values import viewed_as_real
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.vocabulary import IR_FILES, ONNX_FILE

IMAGES = 4
CALLS_BEFORE = 8
# An engine that fuses rounds elsewhere than the graph does; its outputs may be this many times the graph's own error
# away from the graph's, beside a band.
ENGINE_FACTOR = 3.0
ENGINE = "engine: "
"""In front of an output's name: the row of what the engine computes."""


def layer_report(
    bundle: str | Path, model: nn.Module, data: Any, images: int = IMAGES, *, device: str | None = None
) -> LayerReport:
    """Compare a bundle with its model layer by layer.

    Args:
        bundle: the folder.
        model: the PyTorch model, in eval mode. A copy of it runs in float64 where it can.
        data: as `check_parity` takes them.
        images: how many of them are used, from the first on; of a model that keeps something between calls, the
            ninth call of the first clip, or its last: in those before there may be nothing yet, such as frames that
            are not full.
        device: that the bundle's engine runs on, for the outputs; the layers between are run on a CPU.

    Returns:
        The rows, and the first layer outside its band, if there is one.

    Raises:
        ParityError: no images, an output of another shape, or the model itself computes NaN or Inf.
        InputError: the bundle is damaged, or the data do not fit the model.
    """
    opened = open_bundle(bundle)
    opened.verify()
    manifest = opened.manifest
    before: Sequence[Any] = []
    initial: Mapping[str, np.ndarray] = {}
    if manifest.states:
        *before, last = streams_of(data, manifest)[0][: CALLS_BEFORE + 1]
        data, images = last if manifest.preprocessing else [last], 1
        model, initial = _after(model, before, manifest)
    samples, dtype = samples_of(model, data, manifest, images, initial)
    graph, values, how = _graph_of(opened, model)
    comparison = Comparison(graph, values, manifest, samples)
    _check_outputs(samples[0], comparison)
    rows = comparison.rows()
    engine_rows = _engine_rows(opened, device, comparison, samples, before)
    return LayerReport(
        reference=f"{type(model).__name__} in {str(dtype).removeprefix('torch.')}",
        precision=manifest.precision,
        images=len(samples),
        rows=(*rows, *engine_rows),
        not_comparable=comparison.matching.not_comparable,
        divergence=_divergence(model, comparison, rows, engine_rows, manifest),
        notes=(how, ENGINE_NOTE),
    )


def _after(model: nn.Module, calls: Sequence[Any], manifest: Manifest) -> tuple[nn.Module, Mapping[str, np.ndarray]]:
    """A copy of the model that has been called, and what it keeps then, as the graph takes it."""
    ran = copy_of(model)
    with torch.inference_mode(), DEVICES:
        for call in calls:
            ran(*reference_inputs(call, manifest))
    kept = state_of(ran)
    return ran, {state.input: _as_array(kept, state.name) for state in manifest.states}


def _as_array(kept: Mapping[str, Any], name: str) -> np.ndarray:
    """Of a tensor of the model, or of one that is in a model around it."""
    tensor = next(value for path, value in kept.items() if f".{path}".endswith(f".{name}"))
    array: np.ndarray = viewed_as_real(tensor).numpy()
    return array


def _check_outputs(sample: Sample, comparison: Comparison) -> None:
    """What the model returns must be there; of inner layers it is enough to say that they are not."""
    for value in sample.values.values():
        if value.path == "" and value.name in comparison.matching.not_comparable:
            raise ParityError(
                f"output '{value.name}': {comparison.matching.not_comparable[value.name]}",
                expected="the model's outputs, by name and shape",
                cause="a bundle of another model",
            )


ENGINE_NOTE = "engine: as it runs on the device, with its fusions, so at the outputs only"


def _graph_of(bundle: Bundle, model: nn.Module) -> tuple[ir.Model, Values, str]:
    """The graph with its provenance, who runs it, and a note on how."""
    if ONNX_FILE in bundle.manifest.files:
        graph = ir.load(bundle.folder / ONNX_FILE)
        return graph, GraphValues(graph), "layers: the nodes of model.onnx one by one on ONNX Runtime, nothing fused"
    if IR_FILES[0] not in bundle.manifest.files:
        raise InputError(
            f"{bundle.folder}: a bundle for {bundle.manifest.target}, without {ONNX_FILE} and {IR_FILES[0]}",
            expected="one of both, between whose operators values can be read",
            fix="leave --layers away: the outputs can be compared",
        )
    note = "layers: the IR on OpenVINO, each value read through a result of its own, so that nothing is fused with it"
    values = OpenVinoValues(bundle.folder / IR_FILES[0], bundle.manifest)
    return float32_form(model, bundle.manifest), values, note


def _divergence(
    model: nn.Module, comparison: Comparison, rows: list[LayerRow], engine_rows: list[LayerRow], manifest: Manifest
) -> Divergence | None:
    row = next((row for row in rows if row.outside), None)
    if row is not None:
        return Localisation(comparison, rows, row, model, manifest).divergence()
    row = next((row for row in engine_rows if row.outside), None)
    if row is None:
        return None
    return Divergence(
        row.module, row.node, row.operator, row.source, row.error, row.own_error, row.band,
        before=max((each.error for each in rows if not each.is_rounding), default=0.0),
        image=row.image,
        stage="engine",
        finding="the graph run node by node is right; what the engine makes of it is not",
    )  # fmt: skip


def _engine_rows(
    bundle: Bundle, device: str | None, comparison: Comparison, samples: list[Sample], before: Sequence[Any]
) -> list[LayerRow]:
    """The engine's outputs, after the calls before, beside the graph's, and beside the reference's."""
    with engine_for(bundle, device=device) as engine:
        for call in before:
            engine(call)
        found = [engine(sample.images) for sample in samples]
        name = engine.describe()["backend"]
    known = {match.value for match in comparison.matching.matches}
    return [
        _engine_row(output.name, name, [outputs[output.name] for outputs in found], comparison)
        for output in bundle.manifest.outputs
        if output.name in known
    ]


def _engine_row(output: str, engine: str, found: list[np.ndarray], comparison: Comparison) -> LayerRow:
    expected = [comparison.expected(index)[output] for index in range(len(found))]
    errors = [value.error(array) for value, array in zip(expected, found, strict=True)]
    graph = [value.error(comparison.computed(output, index)) for index, value in enumerate(expected)]
    own = [relative_error(array, comparison.computed(output, index)) for index, array in enumerate(found)]
    worst = int(np.argmax(own))
    return LayerRow(
        module=ENGINE + output,
        value=output,
        node=engine,
        operator="engine",
        source="",
        error=max(errors),
        own_error=own[worst],
        band=comparison.band + ENGINE_FACTOR * max(graph),
        image=worst,
    )
