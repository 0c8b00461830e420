"""Where a bundle leaves its model: the first layer outside its band, the node in it, and what introduced it.

preprocessing   what the first layer is given differs
real form       the float32 form exported anew has the same error: the compiler, or the exporter
precision       a value is too large for its type, or int8 too coarse
file            the form exported anew is right and the file is not: changed since, or wrongly converted
engine          the graph is right, run node by node, and the engine's outputs are not
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import onnx_ir as ir
from torch import nn

from hamsa_deploy.parity.layers.comparison import Comparison, producers_of
from hamsa_deploy.parity.layers.distance import relative_error
from hamsa_deploy.parity.layers.findings import changed_constants, finding_about
from hamsa_deploy.parity.layers.float32_form import float32_form
from hamsa_deploy.parity.layers.graph_values import GraphValues, Values
from hamsa_deploy.parity.layers.matching import FLOATS, INPUT, module_of
from hamsa_deploy.parity.layers.rounding import rounding_finding
from hamsa_deploy.parity.layers.rows import Divergence, LayerRow
from hamsa_deploy.parity.metrics import BANDS
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.precision.records.record import FLOAT32
from hamsa_runtime.batches import Arrays
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.vocabulary import ONNX_FILE


class Localisation:
    """Looks into one row that is outside its band.

    Args:
        comparison: of the bundle.
        rows: its rows.
        row: one of them.
        model: the PyTorch model, which is exported anew if that tells more.
        manifest: of the bundle.
    """

    def __init__(
        self, comparison: Comparison, rows: Sequence[LayerRow], row: LayerRow, model: nn.Module, manifest: Manifest
    ) -> None:
        self.comparison, self.rows, self.row, self.manifest = comparison, rows, row, manifest
        self._reference = model
        self.expected = comparison.expected(row.image)
        self.feed = comparison.samples[row.image].feed
        self.nodes = list(nodes_between(comparison.model.graph, row.value, set(self.expected)))

    def divergence(self) -> Divergence:
        """What can be told about it."""
        if self.row.value not in self.expected:
            return self._divergence_of_pair()
        found = self._again(self.comparison.values, [self.row.value])[self.row.value]
        value = self.expected[self.row.value]
        finding = finding_about(found / value.units, value.array / value.units)
        node, more = (None, "") if self.row.module == INPUT else self._node()
        return Divergence(
            module=self._module(node),
            node=self.row.node if node is None else str(node.name),
            operator=self.row.operator if node is None else node.op_type,
            source=self.row.source if node is None else node.metadata_props.get("source", ""),
            error=self.row.error,
            own_error=self.row.own_error,
            band=self.row.band,
            before=self._before(),
            image=self.row.image,
            stage=self._stage(found, bool(more)),
            finding="; ".join(filter(None, (finding, more))),
        )

    @cached_property
    def anew(self) -> ir.Model:
        """The float32 form of the model; a bundle without an ONNX file has been compared by it already."""
        if ONNX_FILE not in self.manifest.files:
            return self.comparison.model
        return float32_form(self._reference, self.manifest)

    def _divergence_of_pair(self) -> Divergence:
        pair = self.comparison.pairs[self.row.value]
        finding = rounding_finding(pair.node, self.comparison.recomputed(self.row.image)[pair.before])
        return Divergence(
            self.row.module, self.row.node, self.row.operator, self.row.source,
            self.row.error, self.row.own_error, self.row.band, self._before(), self.row.image,
            stage="precision" if finding.startswith("int8") else "file",
            finding=finding,
        )  # fmt: skip

    def _module(self, node: ir.Node | None) -> str:
        return (module_of(node) or self.row.module) if self.row.module != INPUT else INPUT

    @property
    def _is_quantised(self) -> bool:
        return precision_of(self.manifest.precision).is_quantised

    def _before(self) -> float:
        place = self.rows.index(self.row)
        return max((row.error for row in self.rows[:place] if not row.is_rounding), default=0.0)

    def _stage(self, found: np.ndarray, is_damaged: bool) -> str:
        if self.row.module == INPUT:
            return "preprocessing"
        if self._is_wrong_anew():
            return "real form"
        if is_damaged or self.manifest.precision == FLOAT32:
            return "file"
        return "precision" if self._is_quantised or not np.isfinite(found).all() else "file"

    def _is_wrong_anew(self) -> bool:
        value = self.expected[self.row.value]
        if self.row.value not in GraphValues(self.anew).names or (value.units != 1).any():
            return False
        again = self._again(GraphValues(self.anew), [self.row.value])[self.row.value]
        return again.shape == value.array.shape and not value.error(again) <= max(BANDS[FLOAT32], self.row.band)

    def _node(self) -> tuple[ir.Node | None, str]:
        """The first node of the layer that is outside, and what is known about it; int8's passes change them all."""
        node = self._first_unlike_anew() if not self._is_quantised else None
        if node is None:
            return None, ""
        original = producers_of(self.anew.graph)[str(node.outputs[0].name)]
        return node, changed_constants(node, original)

    def _first_unlike_anew(self) -> ir.Node | None:
        """By the values between the layer's nodes, each computed from the same reference."""
        known = self.comparison.values.names & GraphValues(self.anew).names
        names = [str(v.name) for node in self.nodes for v in node.outputs if v.dtype in FLOATS and v.name in known]
        found, anew = self._again(self.comparison.values, names), self._again(GraphValues(self.anew), names)
        producers = producers_of(self.comparison.model.graph)
        for name in names:
            same_shape = found[name].shape == anew[name].shape
            if same_shape and not relative_error(found[name], anew[name]) <= self.row.band:
                return producers[name]
        return None

    def _again(self, values: Values, names: Sequence[str]) -> Arrays:
        given = {name: value.array for name, value in self.expected.items() if name in values.names}
        return values.recomputed(names, given, self.feed)


def nodes_between(graph: ir.Graph, value: str, given: set[str]) -> Iterator[ir.Node]:
    """The nodes that a value depends on, back to values that are given, in order."""
    producers = producers_of(graph)
    wanted, pending = {value}, [value]
    while pending:
        node = producers.get(pending.pop())
        names = [] if node is None else [str(source.name) for source in node.inputs if source is not None]
        new = [name for name in names if name not in given and name not in wanted]
        wanted.update(new)
        pending.extend(new)
    for node in graph:
        if any(str(out.name) in wanted for out in node.outputs):
            yield node
