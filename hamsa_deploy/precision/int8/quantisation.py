"""From a float32 graph and calibration inputs to everything that an int8 file of any target needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from hamsa_deploy.graph.sessions import Evaluator, decibels, noise_to_signal
from hamsa_deploy.precision.int8.compact import store_as_float16, store_as_int8
from hamsa_deploy.precision.int8.histogram import HISTOGRAMS, Histogram
from hamsa_deploy.precision.int8.int8_sites import Site, other_sites_of, sites_of
from hamsa_deploy.precision.int8.qdq import int8_float16_from_float32, quantise
from hamsa_deploy.precision.int8.sensitivity import measure_costs
from hamsa_deploy.precision.int8.thresholds import threshold
from hamsa_deploy.precision.measurements import Measurements
from hamsa_deploy.precision.observers import Ranges
from hamsa_deploy.precision.passes import apply
from hamsa_runtime.batches import Arrays
from hamsa_runtime.vocabulary import AUTO, METHODS, PASSES

# Enough to put layers in order: the noise of one product hardly depends on the image.
RANKING_FEEDS = 8


@dataclass(frozen=True)
class Quantisation:
    """What calibration has found.

    Attributes:
        model: float32, with the passes applied; exact up to rounding.
        target: what it is for.
        sites: the products that int8 may compute.
        thresholds: for each activation of a site, the magnitude that the largest level stands for.
        method: how they were chosen.
        scores: signal-to-noise ratio of the outputs on the held-out inputs, in dB, of each method tried.
        passes: what each pass did, as it says itself.
    """

    model: ir.Model
    target: str
    sites: list[Site]
    thresholds: Mapping[str, float]
    method: str
    scores: Mapping[str, float]
    passes: Mapping[str, str]

    def without(self, kept: Sequence[str]) -> list[Site]:
        """The sites but those whose nodes are to stay in floating point."""
        return [site for site in self.sites if site.node not in set(kept)]

    def onnx(self, kept: Sequence[str] = ()) -> ir.Model:
        """An int8 copy of the model, in QuantizeLinear and DequantizeLinear."""
        copy = self.model.clone()
        quantise(copy, self.thresholds, self.without(kept))
        store_as_int8(copy, other_sites_of(copy.graph, self.target))
        store_as_float16(copy)
        return copy

    def onnx_around_float16(self, ranges: Ranges, kept: Sequence[str] = ()) -> tuple[ir.Model, dict[str, str]]:
        """An int8 copy with float16 between its products, and what stays in float32.

        Args:
            ranges: of the values of `model`.
            kept: nodes that are not to be int8.
        """
        copy = self.model.clone()
        islands = int8_float16_from_float32(copy, self.thresholds, self.without(kept), ranges)
        return copy, islands

    def compact(self) -> ir.Model:
        """A float32 copy, of which all but the weights of the sites are stored as float16."""
        copy = self.model.clone()
        store_as_float16(copy, but={site.weight for site in self.sites})
        return copy


def choose_quantisation(
    model: ir.Model,
    target: str,
    measurements: Measurements,
    held_out: Sequence[Arrays],
    method: str = AUTO,
    passes: Sequence[str] = PASSES,
) -> Quantisation:
    """Calibrate a model.

    Args:
        model: float32; the passes rewrite it in place.
        target: decides what can be int8, see `int8_sites`.
        measurements: on the calibration inputs.
        held_out: other inputs of the graph, to choose the method by.
        method: one of METHODS, or AUTO, which keeps the one with the least noise on `held_out`.
        passes: which of PASSES to apply.
    """
    notes = apply(passes, model, measurements)
    sites = sites_of(model.graph, target)
    histograms = measurements.observe(model, HISTOGRAMS, sorted({site.activation for site in sites}))
    candidates = METHODS if method == AUTO else (method,)
    thresholds = {name: _thresholds(histograms, name) for name in candidates}
    scores = _scores(model, sites, thresholds, held_out) if method == AUTO else {}
    best = max(scores, key=lambda name: scores[name]) if scores else method
    return Quantisation(model, target, sites, thresholds[best], best, scores, notes)


def rank_layers(found: Quantisation, measurements: Measurements) -> dict[str, float]:
    """Noise-to-signal ratio that each site alone causes at the outputs, by node, largest first."""
    known = measurements.numbers(found.model, "costs", thresholds=dict(found.thresholds))
    feeds = measurements.feeds[:RANKING_FEEDS]
    result = measure_costs(found.model, found.thresholds, found.sites, feeds, known)
    known.save()
    return result


def _thresholds(histograms: Mapping[str, Histogram], method: str) -> dict[str, float]:
    return {name: threshold(histogram, method) for name, histogram in histograms.items()}


def _scores(
    model: ir.Model, sites: Sequence[Site], thresholds: Mapping[str, Mapping[str, float]], feeds: Sequence[Arrays]
) -> dict[str, float]:
    """dB of each method on some inputs."""
    expected = Evaluator(model)(feeds)

    def score(chosen: Mapping[str, float]) -> float:
        copy = model.clone()
        quantise(copy, chosen, sites)
        return decibels(noise_to_signal(Evaluator(copy)(feeds), expected))

    return {method: score(chosen) for method, chosen in thresholds.items()}
