"""float16, but for what would leave its range: the islands of precision/float16."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hamsa_deploy.precision.records.record import Precision

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    from torch.export import ExportedProgram

    from hamsa_deploy.precision.observers import Ranges
    from hamsa_runtime.batches import Arrays
    from hamsa_runtime.manifest import Manifest, State


@dataclass(frozen=True)
class Float16(Precision):
    """See `Precision`."""

    def apply(self, model: ir.Model, ranges: Callable[[], Ranges]) -> Mapping[str, str]:
        """Typed, with conversions around the islands."""
        from hamsa_deploy.precision.float16.from_float32 import float16_from_float32

        return float16_from_float32(model, ranges())

    def islands_of(
        self,
        program: ExportedProgram,
        manifest: Manifest,
        feeds: Iterable[Arrays],
        states: Sequence[tuple[State, np.ndarray]],
    ) -> Mapping[str, str]:
        """What leaves its range while it runs, and what leads to roots and divisors."""
        from hamsa_deploy.precision.float16.of_program import islands_of_program

        return islands_of_program(program, manifest, feeds, states)


PRECISION = Float16(
    "fp16",
    "f16",
    "float16",
    stages={"float16": "choose types for float16"},
    significand=11,
    is_measured=True,
)
