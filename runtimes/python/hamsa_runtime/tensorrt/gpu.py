"""The GPU that a plan is built for."""

from __future__ import annotations

from typing import Any

from hamsa_runtime.errors import MissingError
from hamsa_runtime.tensorrt.cuda import Gpu, gpu_at
from hamsa_runtime.tensorrt.differences import can


def first_gpu(index: int = 0) -> Gpu:
    """A GPU of this machine.

    Raises:
        MissingError: there is none, or its driver or the package cuda-python is missing.
    """
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
