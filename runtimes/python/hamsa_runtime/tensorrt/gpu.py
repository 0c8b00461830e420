"""The GPU that a plan is built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hamsa_runtime.errors import MissingError
from hamsa_runtime.tensorrt.differences import can


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        index: as CUDA counts them.
        name: such as "Orin" or "NVIDIA GeForce RTX 4090".
        compute_capability: such as "8.7".
        free_bytes, total_bytes: of its memory; on a Jetson the memory is the CPU's as well.
    """

    index: int
    name: str
    compute_capability: str
    free_bytes: int
    total_bytes: int


def first_gpu(index: int = 0) -> Gpu:
    """A GPU of this machine.

    Raises:
        MissingError: there is none, or its driver or the package cuda-python is missing.
    """
    from hamsa_runtime.tensorrt.cuda import gpu_at  # needs cuda-python

    return gpu_at(index)


def gpu_to_build_for(trt: Any, index: int = 0) -> Gpu | None:
    """The GPU that a module's plan is built for; None for a module whose plans are compiled on the device.

    Raises:
        MissingError: see `first_gpu`.
    """
    return None if can(trt, "plans that are compiled on the device") else first_gpu(index)


def has_gpu() -> bool:
    """Whether `first_gpu` finds one."""
    try:
        first_gpu()
    except MissingError:
        return False
    return True
