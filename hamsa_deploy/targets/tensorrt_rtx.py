"""The target tensorrt-rtx: as tensorrt, for the GPUs of PCs; its plans are built without a GPU, too."""

from __future__ import annotations

from dataclasses import dataclass

from hamsa_deploy.targets.here import HERE, ON_THE_DEVICE, Answer, Machine, Package
from hamsa_deploy.targets.tensorrt import TensorRt

# Of TensorRT-RTX 1.x, by its support matrix and what 1.7 has run on; Hopper (9.0) is not among them.
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


@dataclass(frozen=True)
class TensorRtRtx(TensorRt):
    """See `Target`."""

    def answer(self, precision: str, machine: Machine) -> Answer:
        """A plan is built wherever the package is."""
        if machine.version("tensorrt_rtx") is None:
            return Answer(True, engine=ON_THE_DEVICE)
        is_run = any(each in CAPABILITIES for each in machine.gpus())
        return Answer(True, engine=HERE if is_run else f"{HERE}; on an RTX card")


TARGET = TensorRtRtx(
    "tensorrt-rtx",
    no_native_fft="TensorRT-RTX 1.7 has no plugin for the operator DFT",
    packages=(
        Package(
            "tensorrt_rtx",
            "builds the target tensorrt-rtx, also without a GPU",
            "pip install tensorrt-rtx",
            distribution="tensorrt-rtx",
        ),
    ),
)
