"""The target openvino: OpenVINO's IR, model.xml and model.bin, in place of the ONNX file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hamsa_deploy.targets.here import HERE, Answer, Machine, Package
from hamsa_deploy.targets.record import Feeds, Int8, Order, Target
from hamsa_runtime.dft.costs import Rates
from hamsa_runtime.vocabulary import ONNX_FILE


@dataclass(frozen=True)
class OpenVino(Target):
    """See `Target`."""

    def write(self, folder: Path, order: Order) -> None:
        """Convert the file; of the precisions, only bfloat16 is not yet in its types."""
        from hamsa_deploy.targets.openvino_ir import ir_from_onnx

        ir_from_onnx(folder / ONNX_FILE, folder, order.precision)
        _drop_onnx(folder)

    def check_here(self, precision: str, device: str | None) -> None:
        """NNCF, for int8; and the CPU, where nothing else is to run it, has to compute in the precision."""
        if precision == "int8" and find_spec("nncf") is None:
            from hamsa_deploy.targets.openvino_int8 import no_nncf

            raise no_nncf()
        if device is None and find_spec("openvino") is not None:
            from hamsa_runtime.backends.openvino import check_cpu

            check_cpu(precision)

    def answer(self, precision: str, machine: Machine) -> Answer:
        """The CPU has to compute in the precision: nothing else is ever put in its place."""
        from hamsa_runtime.backends.openvino import PRECISIONS

        if precision == "int8" and machine.version("nncf") is None:
            return Answer(False, "nncf missing")
        types, needed = machine.cpu_types(self.name), PRECISIONS[precision][2]
        if types is not None and needed in types:
            return Answer(True, engine=HERE)
        return Answer(False, "OpenVINO finds no CPU" if types is None else f"this CPU has no {needed}")

    def kernels_here(self) -> tuple[str, ...]:
        """As the engine says of the CPU; float16 it converts from on nearly all of them."""
        from hamsa_runtime.backends.openvino import PRECISIONS, shared_core

        capabilities = shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return tuple(name for name in ("bf16", "int8") if PRECISIONS[name][2] in capabilities)


def quantise(folder: Path, nodes: Collection[str], thresholds: Mapping[str, float], feeds: Feeds, around: str) -> None:
    """See `Quantiser`."""
    from hamsa_deploy.targets.openvino_int8 import int8_ir_from_onnx

    int8_ir_from_onnx(folder / ONNX_FILE, folder, nodes, thresholds, feeds, around)
    _drop_onnx(folder)


def partly_float(source: Path, folder: Path, nodes: Collection[str], float32: Collection[str], around: str) -> None:
    """See `Int8`."""
    from hamsa_deploy.targets.openvino_int8 import partly_float_ir

    partly_float_ir(source, folder, nodes, float32, around)


def _drop_onnx(folder: Path) -> None:
    """With its external data."""
    for path in folder.glob(f"{ONNX_FILE}*"):
        path.unlink()


RATES = Rates(  # pointwise operators show no cost of their own: it fuses them
    plain=0.00735, batched=0.00941, depthwise=0.0204, convolved=0.027, transposed=0.065, moved=0.35, pointwise=0.0,
    stored=0.0, operators=494, matrices=10.8, trips=16000, thin=900,
)  # fmt: skip
TARGET = OpenVino(
    "openvino",
    precisions=("fp32", "fp16", "bf16", "int8"),
    rates=RATES,
    int8=Int8(("MatMul", "Gemm", "Conv"), quantiser=quantise, also_around=("bf16",), partly_float=partly_float),
    no_native_fft="OpenVINO 2026.4 reads the operator DFT wrongly",
    stage="openvino",
    stage_words="convert to OpenVINO",
    packages=(
        Package("openvino", "the target openvino", "pip install openvino"),
        Package("nncf", "int8 for the target openvino", "pip install 'hamsa-deploy[int8]'"),
    ),
    needs=("openvino",),
)
