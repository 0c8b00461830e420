"""The plan of a bundle: the one that lies in it, if this TensorRT on this GPU has built it; or else the cache's."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import EngineBuild
from hamsa_runtime.tensorrt.cache import PLAN, Cached, Source, cached_plan, identity_of
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.differences import require
from hamsa_runtime.tensorrt.modules import MODULES
from hamsa_runtime.tensorrt.options import options_from_manifest
from hamsa_runtime.tensorrt.progress import Report, silent
from hamsa_runtime.vocabulary import ONNX_FILE

ONNX = ONNX_FILE
# What has to be the same for a plan to be loaded: module, version, GPU, its compute capability, and the system.
MACHINE = ("module", "version", "gpu", "compute_capability", "system")

logger = logging.getLogger("hamsa_runtime")


def plan_of_bundle(
    trt: Any,
    bundle: Bundle,
    gpu: Gpu | None,
    *,
    workspace_mib: int | None = None,
    rebuild: bool = False,
    report: Report = silent,
) -> Cached:
    """A plan that may be loaded here.

    Args:
        trt: the module of the bundle's target.
        bundle: verified.
        gpu: to run on; None to build for TensorRT-RTX where there is none.
        workspace_mib: for building, instead of the bundle's own.
        rebuild: build it even if there is one.
        report: see `plan_from_onnx`.

    Raises:
        InputError: the bundle is for another engine, or its options are not valid.
        MissingError, BuildError, KeyboardInterrupt: see `plan_from_onnx`.
    """
    source = source_of(bundle)
    if bundle.manifest.has_native_transforms:
        require(trt, "the operator DFT", "a bundle exported without --fft native")
    stored = bundle.manifest.engine
    if stored is not None and not stored.missing and not rebuild:
        if PLAN not in bundle.manifest.files:
            raise InputError(
                f"{bundle.folder}: the manifest tells of a plan, and lists no {PLAN}",
                expected="every file of the bundle with its hash",
                fix="export the model again, or build the plan from the bundle's ONNX: hamsa-build --rebuild",
            )
        here = identity_of(trt, source, gpu)
        if fits(stored, here):
            entry = {
                "identity": here,
                "seconds": stored.seconds,
                "asked": dict(stored.asked),
                "achieved": None if stored.achieved is None else dataclasses.asdict(stored.achieved),
            }
            return Cached((bundle.folder / PLAN).read_bytes(), bundle.folder / PLAN, entry, built=False)
        logger.warning(
            "the bundle's plan is of %s, this is %s: built again from its ONNX file",
            machine_text(vars(stored)),
            machine_text(here),
        )
    return cached_plan(trt, source, gpu, workspace_mib=workspace_mib, rebuild=rebuild, report=report)


def source_of(bundle: Bundle) -> Source:
    """What the plan of a bundle is built from."""
    manifest = bundle.manifest
    if manifest.target not in MODULES:
        raise InputError(
            f"{bundle.folder}: a bundle for {manifest.target}, which needs no plan",
            expected=f"a bundle for {' or '.join(MODULES)}",
            fix="hamsa_runtime.Engine runs it as it is",
        )
    hashes = {name: entry.sha256 for name, entry in manifest.files.items() if name.startswith(ONNX)}
    return Source(bundle.folder / ONNX, hashes, options_from_manifest(manifest.options))


def fits(stored: EngineBuild, here: dict[str, Any]) -> bool:
    """Whether a plan may be loaded here. One that is compiled on the device was built for no GPU in particular."""
    names = [name for name in MACHINE if getattr(stored, name) is not None]
    return all(getattr(stored, name) == here[name] for name in names)


def machine_text(identity: dict[str, Any]) -> str:
    """'tensorrt 10.3.0 on Orin (8.7), Linux aarch64'."""
    gpu = f" on {identity['gpu']} ({identity['compute_capability']})" if identity["gpu"] else ""
    return f"{identity['module']} {identity['version']}{gpu}, {identity['system']}"
