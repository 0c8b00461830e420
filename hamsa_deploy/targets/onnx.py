"""The target onnx: ONNX Runtime, on CPUs, loads the typed ONNX file as it is."""

from __future__ import annotations

from dataclasses import dataclass

from hamsa_deploy.targets.record import Int8, Target
from hamsa_runtime.dft.costs import CPU

NO_BFLOAT16 = "ONNX Runtime's CPU has no products in bfloat16"


@dataclass(frozen=True)
class Onnx(Target):
    """See `Target`."""

    def kernels_here(self) -> tuple[str, ...]:
        """On every CPU."""
        return ("int8",)


TARGET = Onnx(
    "onnx",
    precisions=("fp32", "fp16", "int8"),
    rates=CPU,
    lacks={"bf16": NO_BFLOAT16},
    # It has int8 kernels for Gemm and Conv only where outputs are int8, too; with float outputs it would widen the
    # weights in every run.
    int8=Int8(("MatMul",)),
)
