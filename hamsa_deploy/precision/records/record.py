"""What there is to know of a precision: everything that asks "which precision?" asks its record.

Adding one:

1. its name, in $defs precision of hamsa_runtime/manifest.schema.json;
2. hamsa_deploy/precision/records/<name>.py, and in it PRECISION: a `Precision`, or an instance of a subclass whose
   `apply` types the graph;
3. its limits, with reasons, in THRESHOLDS and BANDS of hamsa_deploy/parity/metrics.py;
4. its name among the `precisions` of the records of targets that have it, in hamsa_deploy/targets/.

Nothing else lists precisions. Records are imported by --help: what `apply` needs is imported in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    from torch.export import ExportedProgram

    from hamsa_deploy.precision.observers import Ranges
    from hamsa_runtime.batches import Arrays
    from hamsa_runtime.manifest import Manifest, State

FLOAT32 = "fp32"


@dataclass(frozen=True)
class Precision:
    """A type of number that bundles are made for.

    Attributes:
        name: in the vocabulary.
        type: what engines call its numbers, as `hamsa_runtime.backends.Operator` has it.
        words: what people call them.
        stages: those of an export that make the float32 graph one of this precision, and what they do, for people. None
            for one whose graph stays float32 in the ONNX file, so that the target's `write` does all of it.
        significand: its bits, with the one before the point; None for integers.
        is_measured: whether it depends on ranges that are measured on images.
        is_quantised: whether its numbers are integers with scales: products are calibrated, some of them can stay in
            floating point, and transforms, which are products with a constant on the left, do.
        way_out: what to do about a bundle that failed the comparison.
    """

    name: str
    type: str
    words: str
    stages: Mapping[str, str] = field(default_factory=dict)
    significand: int | None = None
    is_measured: bool = False
    is_quantised: bool = False
    way_out: str = "export with --fp32 to see whether the precision is the cause"

    @property
    def of_transforms(self) -> str:
        """The precision that transforms are in."""
        return FLOAT32 if self.is_quantised else self.name

    def apply(self, model: ir.Model, ranges: Callable[[], Ranges]) -> Mapping[str, str]:
        """Make a float32 graph one of this precision, in place; of one that is quantised, calibration does this.

        Args:
            model: with a dtype and a shape on every value.
            ranges: measures the model's values, if it `is_measured`.

        Returns:
            Nodes that stay in float32, each with its reason.
        """
        return {}

    def islands_of(
        self,
        program: ExportedProgram,
        manifest: Manifest,
        feeds: Iterable[Arrays],
        states: Sequence[tuple[State, np.ndarray]],
    ) -> Mapping[str, str]:
        """For an engine that computes a program in this precision, as it is told: the nodes that have to stay in
        float32, each with its reason.

        Args:
            program: in float32.
            manifest: what it takes and gives.
            feeds: inputs by name, one dict for each call, in order; read if it `is_measured`.
            states: what it keeps between calls, each with its first value.
        """
        return {}
