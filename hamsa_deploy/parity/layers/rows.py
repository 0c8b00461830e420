"""The comparison layer by layer, as data: a row for each layer, the verdict, and what is shown of them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HEADINGS = ("layer", "operator", "error", "own error", "band", "")


@dataclass(frozen=True)
class LayerRow:
    """One value that can be compared.

    Attributes:
        module: path in the user's model; "input" for what the model is given, an output's name for what it returns.
        value, node, operator, source: in the graph, whose node computes the value; `source` is a line of the model.
        error: relative error with everything before it as the bundle computes it; see `distance`. The largest of all
            images, as the next.
        own_error: with everything before it as the reference computes it.
        band: what the precision may add here.
        image: the one with the largest own error, counted from 0; where the graph's batch is fixed, which batch.
    """

    module: str
    value: str
    node: str
    operator: str
    source: str
    error: float
    own_error: float
    band: float
    image: int

    @property
    def outside(self) -> bool:
        return not self.own_error <= self.band

    @property
    def is_rounding(self) -> bool:
        """Whether this is what int8 makes of an activation; both errors are then those of the rounding alone."""
        return self.operator == "DequantizeLinear"


@dataclass(frozen=True)
class Divergence:
    """Where the bundle leaves the reference.

    Attributes:
        module, node, operator, source: the first layer whose own error leaves its band; the node is the first of its
            nodes that does, where that can be told.
        error, own_error, band: of the layer; see `LayerRow`.
        before: the largest error of what went before.
        image: where it is worst.
        stage: what introduced it: "preprocessing", "real form", "precision", "file" or "engine".
        finding: what is known about it, in a sentence.
    """

    module: str
    node: str
    operator: str
    source: str
    error: float
    own_error: float
    band: float
    before: float
    image: int
    stage: str
    finding: str


@dataclass(frozen=True)
class LayerReport:
    """The comparison of a bundle with its model, layer by layer.

    Attributes:
        reference: what was compared with, and in which precision it ran.
        precision: of the bundle.
        images: number of images, or of batches where the graph's batch is fixed.
        rows: in the order in which the graph computes them.
        not_comparable: tensors of the model that the graph does not hold, each with its reason.
        divergence: the first layer outside its band; None if there is none.
        notes: what was run, and what could not be.
    """

    reference: str
    precision: str
    images: int
    rows: tuple[LayerRow, ...]
    not_comparable: Mapping[str, str]
    divergence: Divergence | None
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return self.divergence is None

    def as_document(self) -> dict[str, Any]:
        """For JSON: an error that is not finite is null, and its row is outside."""
        rows = [{**dataclasses.asdict(row), "outside": row.outside} for row in self.rows]
        divergence = None if self.divergence is None else dataclasses.asdict(self.divergence)
        document = {**dataclasses.asdict(self), "rows": rows, "divergence": divergence, "passed": self.passed}
        finite: dict[str, Any] = _finite(document)
        return finite

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.as_document(), indent=2, ensure_ascii=False)

    def sentence(self) -> str:
        """The verdict in words."""
        found = self.divergence
        if found is None:
            return f"no layer leaves its band: {len(self.rows)} layers, {self.images} images, {self.precision}"
        where = f"node {found.node} ({found.operator})" + (f", {found.source}" if found.source else "")
        return (
            f"first divergence: {found.module}, {where}: own error {found.own_error:.2g}, band {found.band:.2g}, "
            f"error before it {found.before:.2g}; {found.stage}: {found.finding}"
        )


def table_rows(rows: Sequence[LayerRow]) -> list[tuple[str, ...]]:
    """The rows as text under HEADINGS."""
    return [
        (
            row.module,
            row.operator,
            f"{row.error:.1e}",
            f"{row.own_error:.1e}",
            f"{row.band:.2g}",
            "outside" if row.outside else "",
        )
        for row in rows
    ]


def _finite(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _finite(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_finite(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document
