"""What takes part in a benchmark: bundles on their own engines, and peers, which see the same inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hamsa_deploy.bench.inputs import graph_inputs
from hamsa_deploy.measure.interleaved import Run
from hamsa_deploy.targets import all_targets, target_of
from hamsa_runtime.backends import Settings, backend_for, check_device
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.devices import device_from
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.states import CarriedStates
from hamsa_runtime.tensorrt.gpu import has_gpu

# ONNX Runtime's names of NVIDIA's GPUs.
NVIDIA = frozenset({"CUDA", "TENSORRT", "NVTENSORRTRTX"})


@dataclass(frozen=True)
class Candidate:
    """Something to time.

    Attributes:
        name: unique in one benchmark.
        engine: what runs it, for people.
        precision: as in a manifest.
        opened: batch and threads (None: the engine's choice) -> a context with one inference of that batch.
        bundle: the bundle's folder for a batch; None for what is no bundle: then nothing is known of its loading,
            memory and size.
        device: of its engine; None for the engine's default.
        processor: whose energy counts: "CPU", "GPU" for NVIDIA's, or a device that nothing meters.
    """

    name: str
    engine: str
    precision: str
    opened: Callable[[int, int | None], AbstractContextManager[Run]]
    bundle: Callable[[int], Path] | None = None
    device: str | None = None
    processor: str = "CPU"


def candidates_of(folders: Sequence[Path], devices: Sequence[str] = ()) -> list[Candidate]:
    """One for each bundle, checked against its hashes; named after its folder, as far as that tells them apart.

    Args:
        folders: of the bundles.
        devices: that each of them runs on, see `Engine`; with several, one candidate for each. None: the default.

    Raises:
        InputError: a folder is no bundle, or damaged.
        MissingError: a bundle's own engine, or a device, is not here.
    """
    bundles = [open_bundle(folder) for folder in folders]
    asked: list[str | None] = [*devices] or [None]
    for bundle in bundles:
        bundle.verify()
        for device in asked:
            check_engine(bundle, device)
    return [
        _candidate(bundle, f"{name} on {device}" if len(asked) > 1 else name, device)
        for bundle, name in zip(bundles, _names(folders), strict=True)
        for device in asked
    ]


def check_engine(bundle: Bundle, device: str | None = None) -> None:
    """Fail early where a bundle's engine is not here, or not its device. No other takes its place: its times would
    mislead."""
    target = target_of(bundle.manifest.target)
    if target.needs_gpu and not has_gpu():
        here = [each.name for each in all_targets() if not each.needs_gpu]
        raise MissingError(
            f"{bundle.folder}: made for {target.title}, and there is no NVIDIA GPU here",
            expected="the engine that the bundle was made for; how fast another one runs its file says nothing",
            fix=f"measure it on the device, or a bundle for {' or '.join(here)} here",
        )
    backend_for(target.name, None)
    check_device(target.name, device)


def processor_of(target: str, device: str | None) -> str:
    """Whose energy counts where a bundle for a target runs on a device; see `Candidate`."""
    if target_of(target).needs_gpu:
        return "GPU"
    kinds = {name.kind for name in device_from(device or "CPU").names}
    if kinds == {"CPU"}:
        return "CPU"
    return "GPU" if kinds and kinds <= NVIDIA else engine_on(target_of(target).title, device)


@contextlib.contextmanager
def opened_bundle(folder: Path, batch: int, threads: int | None, device: str | None = None) -> Iterator[Run]:
    """One inference of a bundle by its engine, without preprocessing and without the checks of `Engine`."""
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    inputs = {**graph_inputs(manifest, batch), **CarriedStates(folder, manifest.states).values}
    settings = Settings(device, threads=None if target_of(manifest.target).needs_gpu else threads)
    runner = backend_for(manifest.target, None)(folder, manifest, settings)
    try:
        _check_limits(folder, runner.batch_limits, batch)
        yield lambda: runner.infer(inputs)
    finally:
        runner.close()


def _check_limits(folder: Path, limits: tuple[int, int] | None, batch: int) -> None:
    if limits is not None and not limits[0] <= batch <= limits[1]:
        raise InputError(
            f"{folder}: a batch of {batch}",
            expected=f"{limits[0]} to {limits[1]}, which its engine takes at once here: the batch profile of a plan",
            fix="another --batch, or for TensorRT an export with --batch-profile",
        )


def _candidate(bundle: Bundle, name: str, device: str | None) -> Candidate:
    manifest = bundle.manifest
    return Candidate(
        name,
        engine_on(target_of(manifest.target).title, device),
        manifest.precision,
        lambda batch, threads: opened_bundle(bundle.folder, batch, threads, device),
        lambda batch: bundle.folder,
        device,
        processor_of(manifest.target, device),
    )


def engine_on(title: str, device: str | None) -> str:
    """What runs it, for people: "OpenVINO on GPU.1"."""
    return title if device is None else f"{title} on {device}"


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where two share it, with a number where two are the same."""
    short = [folder.resolve().name for folder in folders]
    names = [str(folder) if short.count(last) > 1 else last for folder, last in zip(folders, short, strict=True)]
    return [f"{name} ({names[: k + 1].count(name)})" if names.count(name) > 1 else name for k, name in enumerate(names)]
