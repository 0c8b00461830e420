"""How a plan is to be built: what a bundle's manifest has in `options`, and hamsa-export as options."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hamsa_runtime.errors import InputError, unknown_name

HARDWARE_COMPATIBILITY = ("none", "same-compute-capability", "ampere+")
LEVELS = range(6)

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class BuildOptions:
    """Options of TensorRT's builder.

    Attributes:
        min_batch, opt_batch, max_batch: the optimisation profile, for a model with a dynamic batch: smallest, the one
            to be fastest for, largest. Memory is taken for the largest.
        workspace_mib: the largest scratch memory, in MiB; None for half of what is free on the device.
        optimization_level: 0 builds fastest, 5 searches longest.
        version_compatible: the plan also runs in later versions of TensorRT, with its lean runtime, and slower.
        hardware_compatibility: "none", "same-compute-capability" or "ampere+": which other GPUs also run it, slower.
        refit: its weights can be replaced later.
        strip_weights: the plan holds no weights; they come from the ONNX file when it is loaded.
        compute_capabilities: for TensorRT-RTX, the GPUs to build for, such as "8.9"; none means Ampere and later.
    """

    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 8
    workspace_mib: int | None = None
    optimization_level: int = 3
    version_compatible: bool = False
    hardware_compatibility: str = "none"
    refit: bool = False
    strip_weights: bool = False
    compute_capabilities: tuple[str, ...] = ()

    @property
    def profile(self) -> tuple[int, int, int]:
        """Smallest, best and largest batch."""
        return self.min_batch, self.opt_batch, self.max_batch

    def check(self) -> None:
        """Raise InputError for values that no version of TensorRT takes."""
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise InputError(
                f"batch profile {self.min_batch}, {self.opt_batch}, {self.max_batch}",
                expected="smallest, best and largest batch, each at least 1 and as large as the one before",
            )
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InputError(f"a workspace of {self.workspace_mib} MiB", expected="at least 1 MiB")
        if self.optimization_level not in LEVELS:
            raise InputError(f"optimisation level {self.optimization_level}", expected="0 to 5")
        if self.hardware_compatibility not in HARDWARE_COMPATIBILITY:
            raise unknown_name("hardware compatibility", self.hardware_compatibility, HARDWARE_COMPATIBILITY)
        for each in self.compute_capabilities:
            if not re.fullmatch(r"\d{1,2}\.\d", each):
                raise InputError(f"compute capability {each!r}", expected="major.minor, such as 8.9")

    def as_options(self) -> dict[str, Scalar]:
        """Flat, as a manifest stores options."""
        return {**dataclasses.asdict(self), "compute_capabilities": " ".join(self.compute_capabilities)}


def options_from_manifest(options: Mapping[str, Any]) -> BuildOptions:
    """The options of a bundle; keys of other stages are left alone.

    Raises:
        InputError: a value that is not valid.
    """
    known = {field.name: options[field.name] for field in dataclasses.fields(BuildOptions) if field.name in options}
    for name, value in known.items():
        default = getattr(BuildOptions, name)
        wanted = (int, type(None)) if default is None else (str,) if isinstance(default, tuple) else (type(default),)
        if type(value) not in wanted:
            raise InputError(f"manifest.json: options.{name} is {value!r}", expected=f"a value like {default!r}")
    if "compute_capabilities" in known:
        known["compute_capabilities"] = tuple(known["compute_capabilities"].split())
    found = BuildOptions(**known)
    found.check()
    return found
