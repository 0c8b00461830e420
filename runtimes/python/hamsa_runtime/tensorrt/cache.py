"""Plans on the device that built them, each under the hash of everything that it depends on.

    $XDG_CACHE_HOME/hamsa-runtime/plans/<key>/model.plan    as TensorRT wrote it: other tools can load it
                                              entry.json    what it was built from and for, its hash, its layers
    $XDG_CACHE_HOME/hamsa-runtime/plans/timing-<machine>    what TensorRT measured, for the next build

by default under ~/.cache. The key is the hash of ONNX file, options, module and version, GPU, compute capability and
this machine's kind; an entry from another TensorRT or GPU is never found, so it is never loaded. What is found is
checked against its hash, and built again if it is damaged. Two that want the same plan at once: one builds it, the
other waits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hamsa_runtime.cache_files import cache_folder
from hamsa_runtime.locks import kept_lock
from hamsa_runtime.tensorrt.building import Built, plan_from_onnx
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.tensorrt.progress import TICK_SECONDS, Report, silent
from hamsa_runtime.vocabulary import PLAN_FILE
from hamsa_runtime.whole_files import remove_leftovers, replace_file, temporary_folder, write_through

FORMAT = 1  # to be raised with the meaning of an entry
PLAN, ENTRY = PLAN_FILE, "entry.json"

logger = logging.getLogger("hamsa_runtime")


@dataclass(frozen=True)
class Source:
    """What a plan is built from.

    Attributes:
        onnx_file: the file; external data lie beside it.
        hashes: sha256 of the file and its external data, by name.
        options: for the builder.
    """

    onnx_file: Path
    hashes: Mapping[str, str]
    options: BuildOptions


@dataclass(frozen=True)
class Cached:
    """A plan that is ready to be loaded.

    Attributes:
        plan: serialised.
        path: where it is kept; None if it could not be.
        entry: what it was built from and for, and its layers by type.
        built: whether it was built just now.
    """

    plan: bytes
    path: Path | None
    entry: Mapping[str, Any]
    built: bool


def cached_plan(
    trt: Any,
    source: Source,
    gpu: Gpu | None,
    *,
    workspace_mib: int | None = None,
    rebuild: bool = False,
    report: Report = silent,
) -> Cached:
    """The plan from the cache; built, and kept there, if it is not in it.

    Args:
        trt: the module.
        source: what to build from.
        gpu: what to build for; None for TensorRT-RTX without a GPU.
        workspace_mib: scratch memory that this device can spare, instead of what the options say. The plan's place is
            the same, so that it is found without saying it again.
        rebuild: build it even if it is there.
        report: see `plan_from_onnx`.

    Raises:
        InputError, MissingError, BuildError, KeyboardInterrupt: see `plan_from_onnx`; the cache is then as it was.
    """
    identity = identity_of(trt, source, gpu)
    if workspace_mib is not None:
        source = replace(source, options=replace(source.options, workspace_mib=workspace_mib))
    with contextlib.ExitStack() as stack:
        try:
            place = plans_folder() / key_of(identity)
            place.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_lock(place.with_name(f".{place.name}.lock"), report))
        except OSError as error:
            logger.warning("plans cannot be kept (%s): building one for this process only", error)
            return _built(trt, source, gpu, identity, None, report)
        found = None if rebuild else plan_kept_in(place, identity)
        return found or _built(trt, source, gpu, identity, place, report)


def identity_of(trt: Any, source: Source, gpu: Gpu | None) -> dict[str, Any]:
    """Everything that a plan depends on."""
    return {
        "format": FORMAT,
        "onnx": dict(source.hashes),
        "options": source.options.as_options(),
        "module": trt.__name__,
        "version": str(trt.__version__),
        "gpu": None if gpu is None else gpu.name,
        "compute_capability": None if gpu is None else gpu.compute_capability,
        "system": f"{platform.system()} {platform.machine()}",
    }


def key_of(identity: Mapping[str, Any]) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _built(
    trt: Any, source: Source, gpu: Gpu | None, identity: dict[str, Any], place: Path | None, report: Report
) -> Cached:
    """Build it, and keep it with what was measured on the way, where there is a place for it."""
    machine = key_of({name: identity[name] for name in ("module", "version", "gpu", "system")})
    timing = None if place is None else place.with_name(f"timing-{machine}")
    stored = None if timing is None else _bytes_or_none(timing)
    built = plan_from_onnx(trt, source.onnx_file, source.options, gpu, timing_cache=stored, report=report)
    entry = _entry(identity, built)
    if place is None or timing is None:
        return Cached(built.plan, None, entry, built=True)
    try:
        remove_leftovers(place.parent)
        _write(place, built.plan, entry)
        if built.timing_cache is not None:
            replace_file(timing, built.timing_cache)
    except OSError as error:
        logger.warning("the plan cannot be kept in %s (%s): the next start will build it again", place, error)
        return Cached(built.plan, None, entry, built=True)
    return Cached(built.plan, place / PLAN, entry, built=True)


def _bytes_or_none(path: Path) -> bytes | None:
    """What cannot be read is measured again."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _entry(identity: Mapping[str, Any], built: Built) -> dict[str, Any]:
    return {
        "identity": dict(identity),
        "sha256": hashlib.sha256(built.plan).hexdigest(),
        "bytes": len(built.plan),
        "seconds": round(built.seconds, 1),
        "asked": dict(built.asked),
        "achieved": None if built.achieved is None else dataclasses.asdict(built.achieved),
    }


def _is_entry(entry: Any) -> bool:
    """Whether it has what `_entry` writes."""
    return (
        isinstance(entry["seconds"], int | float)
        and isinstance(entry["asked"], dict)
        and isinstance(entry["achieved"], dict | None)
    )


def plan_kept_in(place: Path, identity: Mapping[str, Any]) -> Cached | None:
    """The plan of an entry's folder, or None; a damaged one, or one of another identity, is reported and removed."""
    if not place.exists():
        return None
    try:
        entry = json.loads((place / ENTRY).read_bytes())
        plan = (place / PLAN).read_bytes()
        if not _is_entry(entry):
            problem = "its entry is not whole"
        elif entry["identity"] == identity and entry["sha256"] == hashlib.sha256(plan).hexdigest():
            return Cached(plan, place / PLAN, entry, built=False)
        else:
            problem = "its hash is wrong"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = str(error)
    logger.warning("the plan in %s is damaged (%s): discarded, and built again", place, problem)
    shutil.rmtree(place, ignore_errors=True)
    return None


def _write(place: Path, plan: bytes, entry: Mapping[str, Any]) -> None:
    """Both files in a folder beside, then one rename. The lock is held, so nobody else writes this entry."""
    with temporary_folder(place) as temporary:
        write_through(temporary / PLAN, plan)
        write_through(temporary / ENTRY, json.dumps(entry, indent=2).encode())
        shutil.rmtree(place, ignore_errors=True)
        temporary.rename(place)


def plans_folder() -> Path:
    """Where plans are kept.

    Raises:
        OSError: there is no home folder.
    """
    return cache_folder("hamsa-runtime", "plans")


@contextlib.contextmanager
def _lock(path: Path, report: Report) -> Iterator[None]:
    """An exclusive lock; whoever waits for it says so."""
    start = time.monotonic()

    def wait() -> None:
        report("waiting for another build of this plan", None, time.monotonic() - start)
        time.sleep(TICK_SECONDS)

    with kept_lock(path, wait):
        yield
