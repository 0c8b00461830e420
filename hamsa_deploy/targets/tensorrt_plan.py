"""Typed ONNX file -> TensorRT plan, where one can be built here.

A plan of TensorRT runs on the GPU that it was built on only, so a bundle is whole without one: `hamsa-build` builds it
on the device, or the runtime when it is first loaded. TensorRT-RTX builds ahead of time without a GPU.
"""

from __future__ import annotations

from pathlib import Path

from hamsa_runtime.bundle import sha256_of
from hamsa_runtime.errors import MissingError
from hamsa_runtime.manifest import AchievedTypes, EngineBuild
from hamsa_runtime.records import record_from
from hamsa_runtime.tensorrt.cache import PLAN, Source, cached_plan
from hamsa_runtime.tensorrt.engine_files import ONNX
from hamsa_runtime.tensorrt.gpu import gpu_to_build_for
from hamsa_runtime.tensorrt.modules import load
from hamsa_runtime.tensorrt.options import BuildOptions


def write_plan(target: str, folder: Path, options: BuildOptions) -> EngineBuild:
    """Build the plan of a bundle into its folder, if this machine can.

    Args:
        target: "tensorrt" or "tensorrt-rtx".
        folder: holds the typed ONNX file.
        options: for the builder.

    Returns:
        What the manifest says of it.

    Raises:
        MissingError: nothing can be built here.
        InputError, BuildError: see `plan_from_onnx`.
    """
    source = Source(folder / ONNX, {path.name: sha256_of(path)[0] for path in folder.glob(f"{ONNX}*")}, options)
    trt = load(target)
    found = cached_plan(trt, source, gpu_to_build_for(trt))
    (folder / PLAN).write_bytes(found.plan)
    identity = found.entry["identity"]
    achieved = found.entry["achieved"]
    return EngineBuild(
        missing="",
        **{name: identity[name] for name in ("module", "version", "system", "gpu", "compute_capability")},
        **{name: found.entry[name] for name in ("seconds", "asked")},
        achieved=None if achieved is None else record_from(AchievedTypes, achieved),
    )


def plan_or_reason(target: str, folder: Path, options: BuildOptions, *, required: bool) -> EngineBuild:
    """`write_plan`, or, where nothing can be built here, the reason.

    Raises:
        MissingError: nothing can be built here, and `required`.
    """
    try:
        return write_plan(target, folder, options)
    except MissingError as error:
        if required:
            instead = "leave --require-plan away: the plan is then built on the device"
            raise MissingError(
                f"no plan can be built here: {error.found}",
                expected="TensorRT and a GPU, because of --require-plan",
                cause=error.cause,
                fix=f"{error.fix}; or {instead}" if error.fix else instead,
            ) from error
        return without_plan(error)


def without_plan(error: MissingError) -> EngineBuild:
    """What `write_plan` returns, for a bundle without a plan: with the reason."""
    return EngineBuild(error.found, "", "", "", None, None, 0.0, {}, None)
