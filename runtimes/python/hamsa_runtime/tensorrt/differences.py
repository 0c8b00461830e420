"""What one of the modules can do and the other cannot, and since which version.

Everything else that this package uses is the same in TensorRT 10.3, 11.x and TensorRT-RTX 1.x: networks are strongly
typed (the flag is deprecated, but known, in 11), types come from the ONNX file, and no precision flag is set.
"""

from __future__ import annotations

from typing import Any

from hamsa_runtime.errors import InputError
from hamsa_runtime.tensorrt.modules import version_of

Version = tuple[int, ...]

# ability -> module -> the first version that has it; a module that is not listed has it in no version so far.
SINCE: dict[str, dict[str, Version]] = {
    "building without a GPU": {"tensorrt_rtx": (1, 0)},
    "a choice of compute capabilities": {"tensorrt_rtx": (1, 0)},
    "hardware compatibility": {"tensorrt": (8, 6)},
    "hardware compatibility for one compute capability": {"tensorrt": (10, 9)},
    "version compatibility": {"tensorrt": (8, 6)},  # RTX 1.7 has the flag, but not the library that it needs
    "timing cache": {"tensorrt": (8, 0)},  # a no-op in RTX, deprecated there since 1.2
    "int8 convolutions": {"tensorrt": (8, 0), "tensorrt_rtx": (1, 7)},
    "the operator DFT": {"tensorrt": (11, 2)},
    "plans that are compiled on the device": {"tensorrt_rtx": (1, 0)},
}


def can(trt: Any, ability: str) -> bool:
    """Whether a module has an ability of the table in its version."""
    first = SINCE[ability].get(trt.__name__)
    return first is not None and version_of(trt) >= first


def require(trt: Any, ability: str, fix: str) -> None:
    """Raise InputError, with the versions that have it, if a module lacks an ability."""
    if not can(trt, ability):
        versions = [f"{name} {'.'.join(map(str, first))}" for name, first in SINCE[ability].items()]
        raise InputError(
            f"{trt.__name__} {trt.__version__} does not have {ability}",
            expected=f"{' or '.join(versions)}, or newer",
            fix=fix,
        )
