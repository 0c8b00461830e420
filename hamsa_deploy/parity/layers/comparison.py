"""`layer_report`: the first layer at which a bundle leaves the model that it was made from.

Each image goes through the model in PyTorch, in float64 where it can, and twice through the graph of the bundle: as it
is, for the error that has come together at each layer, and with the reference's values in front of each layer, for the
layer's own error. The own error is held against the band of the precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from hamsa_deploy.graph.observing import values_by_name
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.parity.comparison import reference_inputs
from hamsa_deploy.parity.layers.bands import band_of
from hamsa_deploy.parity.layers.distance import relative_error
from hamsa_deploy.parity.layers.graph_values import Values
from hamsa_deploy.parity.layers.matching import INPUT, Match, Matching, candidates_of, matching_of, module_of
from hamsa_deploy.parity.layers.module_values import ModuleValue, ReferenceModel
from hamsa_deploy.parity.layers.rescaled import channel_scales, may_be_rescaled
from hamsa_deploy.parity.layers.rounding import BAND, pairs_of
from hamsa_deploy.parity.layers.rows import LayerRow
from hamsa_runtime.batches import Arrays
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Manifest


@dataclass(frozen=True)
class Sample:
    """One batch: what the reference computes for it, the graph's inputs, and what the engine is called with."""

    values: Mapping[str, ModuleValue]
    feed: Arrays
    images: Any


@dataclass(frozen=True)
class Expected:
    """What a value of the graph should be, in the graph's units, and what divides it into the model's."""

    array: np.ndarray
    units: np.ndarray

    def error(self, found: np.ndarray) -> float:
        return relative_error(found / self.units, self.array / self.units)


class Comparison:
    """A graph beside the reference, on a few samples.

    Args:
        model: the graph, for its nodes and where they come from.
        values: runs it, or what was made of it and kept the names of its values.
        manifest: of the bundle.
        samples: see `samples_of`.
    """

    def __init__(self, model: ir.Model, values: Values, manifest: Manifest, samples: Sequence[Sample]) -> None:
        self.model, self.values, self.samples = model, values, samples
        self.band = band_of(manifest)
        candidates = candidates_of(model.graph)
        self.pairs = {pair.after: pair for pair in pairs_of(model.graph)}
        wanted = {name for names in candidates.values() for name in names}
        wanted |= {name for pair in self.pairs.values() for name in (pair.before, pair.after)}
        self._names = [name for name in values_by_name(model.graph) if name in wanted & values.names]
        self._computed = [values.computed(self._names, sample.feed) for sample in samples]
        self.matching: Matching = matching_of(samples[0].values.values(), candidates, self._computed[0])
        self._units: dict[str, np.ndarray] = {}
        self._units = self._fitted_units(may_be_rescaled(model, manifest))

    def rows(self) -> list[LayerRow]:
        """A row for each value that has a match, and for each activation that int8 rounds, in order."""
        modules = {match.value: match.names[0] for match in self.matching.matches}
        modules |= {name: module_of(pair.node) for name, pair in self.pairs.items() if name not in modules}
        errors: dict[str, list[float]] = {name: [] for name in modules}
        own: dict[str, list[float]] = {name: [] for name in modules}
        for index, computed in enumerate(self._computed):
            again = self.recomputed(index)
            expected = self.expected(index)
            for name in modules:
                errors[name].append(self._error(name, computed, expected))
                own[name].append(self._error(name, again, expected))
        producers = producers_of(self.model.graph)
        return [
            self._row(modules[name], name, producers.get(name), errors[name], own[name])
            for name in self._names
            if name in modules
        ]

    def recomputed(self, index: int) -> Arrays:
        """The compared values for one sample, each from the reference's."""
        given = {name: value.array for name, value in self.expected(index).items()}
        pairs = {name for pair in self.pairs.values() for name in (pair.before, pair.after)}
        names = [name for name in self._names if name in given or name in pairs]
        return self.values.recomputed(names, given, self.samples[index].feed)

    def _error(self, name: str, found: Arrays, expected: Mapping[str, Expected]) -> float:
        if name in expected:
            return expected[name].error(found[name])
        return relative_error(found[name], found[self.pairs[name].before])

    def expected(self, index: int) -> dict[str, Expected]:
        """What the matched values should be for one sample, by name."""
        return {match.value: self._expected(match, index) for match in self.matching.matches}

    def computed(self, name: str, index: int) -> np.ndarray:
        """What the graph computes for one sample."""
        return self._computed[index][name]

    def _expected(self, match: Match, index: int) -> Expected:
        units = self._units.get(match.value, np.ones(1))
        array = match.in_graph(
            self.samples[index].values[match.names[0]].array, self._computed[index][match.value].shape
        )
        return Expected(array * units, units)

    def _fitted_units(self, names: set[str]) -> dict[str, np.ndarray]:
        """Of values that a pass may have rescaled, each computed from those that none can have."""
        expected = self.expected(0)
        open_to_it = [name for name in expected if name in names]
        given = {name: value.array for name, value in expected.items() if name not in names}
        found = self.values.recomputed(open_to_it, given, self.samples[0].feed) if open_to_it else {}
        scales = {name: channel_scales(array, expected[name].array) for name, array in found.items()}
        return {name: scale for name, scale in scales.items() if scale is not None}

    def _row(self, module: str, value: str, node: ir.Node | None, errors: list[float], own: list[float]) -> LayerRow:
        worst = int(np.argmax([np.inf if not np.isfinite(error) else error for error in own]))
        return LayerRow(
            module=module,
            value=value,
            node="" if node is None else str(node.name),
            operator="" if node is None else node.op_type,
            source="" if node is None else node.metadata_props.get("source", ""),
            error=max(errors),
            own_error=own[worst],
            band=BAND if value in self.pairs else self.band,
            image=worst,
        )


def producers_of(graph: ir.Graph) -> dict[str, ir.Node]:
    """The node that computes each value, by the value's name."""
    return {str(value.name): node for node in graph for value in node.outputs}


def samples_of(
    model: nn.Module, data: Any, manifest: Manifest, images: int, initial: Mapping[str, np.ndarray]
) -> tuple[list[Sample], torch.dtype]:
    """The first images of the data, one batch each, and the precision that the reference ran in.

    Args:
        model, data, manifest, images: as `layer_report` has them.
        initial: what the graph takes for what the model keeps between calls.

    Raises:
        ParityError: there are none, or the model computes NaN or Inf for one.
    """
    samples: list[Sample] = []
    reference: ReferenceModel | None = None
    for inputs, feed, chunk in _batches(data, manifest, images):
        reference = reference or ReferenceModel(model, inputs, [spec.name for spec in manifest.outputs])
        values = [*_given(inputs, manifest), *reference.values(inputs)]
        _check_finite(values, type(model).__name__)
        samples.append(Sample({value.name: value for value in values}, {**feed, **initial}, chunk))
    if reference is None:
        raise ParityError("no images to compare", expected="at least one image")
    return samples, reference.dtype


def _batches(data: Any, manifest: Manifest, images: int) -> Iterator[tuple[list[torch.Tensor], Arrays, Any]]:
    if manifest.preprocessing is None:
        for feed in feeds_of(data, manifest, limit=images):
            yield reference_inputs(feed, manifest), feed, feed
        return
    first = manifest.inputs[0].shape[0]
    size = first if isinstance(first, int) else 1
    for start in range(0, min(images, len(data)), size):
        chunk = list(data[start : start + size])
        chunk += chunk[-1:] * (size - len(chunk))
        yield reference_inputs(chunk, manifest), next(feeds_of(chunk, manifest, batch=size)), chunk


def _given(inputs: Sequence[torch.Tensor], manifest: Manifest) -> list[ModuleValue]:
    """A model of images is given normalised pixels, which the bundle computes by itself."""
    return [] if manifest.preprocessing is None else [ModuleValue(INPUT, INPUT, inputs[0].numpy())]


def _check_finite(values: Sequence[ModuleValue], model: str) -> None:
    for value in values:
        if not np.isfinite(value.array).all():
            raise ParityError(
                f"{value.name}: {model} itself computes NaN or infinite values in PyTorch",
                expected="finite values to compare with",
                cause="broken weights, or an image that the model cannot take",
                fix="check the weights",
            )
