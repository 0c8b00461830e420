"""int8 for a bundle: calibration inputs through the bundle's own preprocessing, and the files of each target."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.sessions import with_states
from hamsa_deploy.inputs.calibration_set import CalibrationSet, calibration_set
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.precision.int8.int8_sites import int8_of, why_no_site
from hamsa_deploy.precision.int8.quantisation import Quantisation, choose_quantisation
from hamsa_deploy.precision.measurements import Measurements
from hamsa_deploy.precision.observers import RANGES, float32_values
from hamsa_deploy.precision.records.record import FLOAT32
from hamsa_deploy.spectral.provenance import FLOAT32 as FLOAT32_NODES
from hamsa_deploy.targets import onnx_file
from hamsa_deploy.targets.record import Quantiser
from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import Calibration, Manifest, State
from hamsa_runtime.vocabulary import AUTO, ONNX_FILE

# Ranges of float16 are measured on the first images: more of them cost a second each in HAMSA-S, and hardly widen any
# range beyond the headroom that is kept anyway.
RANGE_IMAGES = 64
# For the correction of biases, which needs means only.
CORRECTION_FEEDS = 64


@dataclass(frozen=True)
class Calibrated:
    """A model that is ready to be written in int8.

    Attributes:
        quantisation: sites, thresholds and the graph that they belong to.
        inputs: what it was calibrated with.
        measurements: on these inputs.
        around: the precision between its products, one of `also_around`; None for what the target's engine always has.
    """

    quantisation: Quantisation
    inputs: CalibrationSet
    measurements: Measurements
    around: str | None = None

    def only(self, layers: Collection[str]) -> Calibrated:
        """The same where no other layers, as reports call them, may be in int8."""
        found = self.quantisation
        return replace(self, quantisation=replace(found, sites=[each for each in found.sites if each.layer in layers]))

    def write(self, target: str, folder: Path, kept: Sequence[str] = ()) -> Mapping[str, str]:
        """Write the files of a target.

        Args:
            target: its name.
            folder: for the files.
            kept: nodes that stay in floating point.

        Returns:
            Where floating point is float16, the islands that stay in float32.
        """
        path = folder / ONNX_FILE
        how = int8_of(target)
        if how.quantiser is not None:
            self._quantise_by_engine(how.quantiser, path, kept)
            return {}
        if how.around == "float16":
            float32 = self.quantisation.model
            ranges = self.measurements.observe(float32, RANGES, float32_values(float32), RANGE_IMAGES)
            model, islands = self.quantisation.onnx_around_float16(ranges, kept)
            onnx_file.save(model, path)
            return islands
        onnx_file.save(self.quantisation.onnx(kept), path)
        return {}

    def _quantise_by_engine(self, quantiser: Quantiser, path: Path, kept: Sequence[str]) -> None:
        onnx_file.save(self.quantisation.compact(), path)
        nodes = {site.node for site in self.quantisation.without(kept)}
        feeds = self.measurements.feeds[:CORRECTION_FEEDS]
        quantiser(path.parent, nodes, self.quantisation.thresholds, feeds, self.around or FLOAT32)

    def write_timed_only(self, target: str, everywhere: Path, folder: Path, kept: Sequence[str]) -> None:
        """Write files that take as long as those of `write`, in less time where there is a way.

        Args:
            target: its name.
            everywhere: the folder of a bundle with all products in int8, and float32 around them.
            folder: for the files.
            kept: nodes that stay in floating point.
        """
        way = int8_of(target).partly_float
        if way is None:
            self.write(target, folder, kept)
            return
        float32 = {str(node.name) for node in self.quantisation.model.graph if FLOAT32_NODES in node.metadata_props}
        way(everywhere, folder, kept, float32, self.around or FLOAT32)

    def recorded(self, kept: Sequence[str]) -> Calibration:
        """What the bundle's manifest says about it, where the nodes in `kept` stay in floating point."""
        found = self.quantisation
        layers = {site.node: site.layer for site in found.sites}
        return Calibration(
            inputs=self.inputs.recorded,
            method=found.method,
            # JSON has no number for a method that leaves no noise at all.
            signal_to_noise_db={name: round(score, 2) for name, score in found.scores.items() if math.isfinite(score)},
            passes=dict(found.passes),
            int8_layers=len(found.sites) - len(kept),
            kept_layers=tuple(layers[node] for node in kept),
            around=self.around,
        )

    def why_nothing_is_int8(self) -> str:
        """What to say where no product is left in int8."""
        if not self.quantisation.sites:
            return why_no_site(self.quantisation.model.graph, self.quantisation.target)
        return "every product costs more than --max-drop allows; use --fp32, or a larger one"


def calibrate(
    model: ir.Model,
    manifest: Manifest,
    source: Any,
    method: str,
    passes: Sequence[str],
    states: Sequence[tuple[State, np.ndarray]] = (),
) -> Calibrated:
    """Calibrate a float32 graph.

    Args:
        model: float32, as the bundle would hold it; the passes rewrite it in place.
        manifest: of the bundle, for its target, inputs and preprocessing.
        source: calibration inputs, see `calibration_set`.
        method: one of METHODS, or AUTO.
        passes: which of PASSES to apply.
        states: what the model keeps between calls, which the inputs then are, in order; with their first values.
    """
    inputs = calibration_set(source, manifest)
    fitted, held_out = (inputs.fitted, inputs.held_out) if method == AUTO else (inputs.inputs, ())
    feeds, others = (with_states(model, feeds_of_inputs(each, manifest), states) for each in (fitted, held_out))
    measurements = Measurements(feeds, inputs.sha256)
    found = choose_quantisation(model, manifest.target, measurements, others, method, passes)
    return Calibrated(found, inputs, measurements)


def feeds_of_inputs(inputs: Sequence[Any], manifest: Manifest) -> list[Arrays]:
    """Graph inputs, one image at a time; arrays are runs of the graph already."""
    if manifest.preprocessing is None:
        return list(inputs)
    return list(feeds_of(list(inputs), manifest))
