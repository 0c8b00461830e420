"""float16, but for what would leave its range: the islands of precision/float16."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hamsa_deploy.precision.records.record import Precision

if TYPE_CHECKING:
    import onnx_ir as ir

    from hamsa_deploy.precision.observers import Ranges


@dataclass(frozen=True)
class Float16(Precision):
    """See `Precision`."""

    def apply(self, model: ir.Model, ranges: Callable[[], Ranges]) -> Mapping[str, str]:
        """Typed, with conversions around the islands."""
        from hamsa_deploy.precision.float16.from_float32 import float16_from_float32

        return float16_from_float32(model, ranges())


PRECISION = Float16(
    "fp16",
    "f16",
    "float16",
    stages={"float16": "choose types for float16"},
    significand=11,
    is_measured=True,
)
