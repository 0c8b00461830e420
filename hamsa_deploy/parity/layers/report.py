"""`layer_report`: from a bundle, its model and some images to the first layer that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import nn

from hamsa_deploy.parity.comparison import stand_in
from hamsa_deploy.parity.layers.comparison import Comparison, Sample, samples_of
from hamsa_deploy.parity.layers.distance import relative_error
from hamsa_deploy.parity.layers.divergence import Localisation
from hamsa_deploy.parity.layers.graph_values import GraphValues
from hamsa_deploy.parity.layers.rows import Divergence, LayerReport, LayerRow
from hamsa_deploy.targets.onnx import FILE
from hamsa_runtime import Engine
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.manifest import Manifest

IMAGES = 4
# An engine that fuses rounds elsewhere than the graph does; its outputs may be this many times the graph's own error
# away from the graph's, beside a band.
ENGINE_FACTOR = 3.0
ENGINE = "engine: "
"""In front of an output's name: the row of what the engine computes."""


def layer_report(bundle: str | Path, model: nn.Module, data: Any, images: int = IMAGES) -> LayerReport:
    """Compare a bundle with its model layer by layer.

    Args:
        bundle: the folder.
        model: the PyTorch model, in eval mode. A copy of it runs in float64 where it can.
        data: as `check_parity` takes them.
        images: how many of them are used, from the first on.

    Returns:
        The rows, and the first layer outside its band, if there is one.

    Raises:
        ParityError: no images, or the model itself computes NaN or Inf.
        InputError: the bundle is damaged, or the data do not fit the model.
    """
    opened = open_bundle(bundle)
    opened.verify()
    manifest = opened.manifest
    samples, dtype = samples_of(model, data, manifest, images)
    graph = ir.load(opened.folder / FILE)
    comparison = Comparison(graph, GraphValues(graph), manifest, samples)
    rows = comparison.rows()
    engine_rows = _engine_rows(opened.folder, manifest, comparison, samples)
    return LayerReport(
        reference=f"{type(model).__name__} in {str(dtype).removeprefix('torch.')}",
        precision=manifest.precision,
        images=len(samples),
        rows=(*rows, *engine_rows),
        not_comparable=comparison.matching.not_comparable,
        divergence=_divergence(model, comparison, rows, engine_rows, manifest),
        notes=NOTES,
    )


NOTES = (
    "layers: the nodes of model.onnx one by one on ONNX Runtime, without optimisations, which would fuse them",
    "engine: as it runs on the device, with its fusions, so at the outputs only",
)


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


def _engine_rows(folder: Path, manifest: Manifest, comparison: Comparison, samples: list[Sample]) -> list[LayerRow]:
    """The engine's outputs beside the graph's, and beside the reference's."""
    with Engine(folder, backend=stand_in(manifest)) as engine:
        found = [engine(sample.images) for sample in samples]
        name = engine.describe()["backend"]
    known = {match.value for match in comparison.matching.matches}
    return [
        _engine_row(output.name, name, [outputs[output.name] for outputs in found], comparison)
        for output in manifest.outputs
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
