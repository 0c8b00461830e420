"""What takes part in a benchmark: bundles on their own engines, and peers, which see the same inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hamsa_deploy.bench.inputs import graph_inputs
from hamsa_deploy.measure.interleaved import Run
from hamsa_runtime.backends import Settings, backend_for
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.tensorrt.gpu import has_gpu
from hamsa_runtime.vocabulary import ENGINES

ON_GPU = ("tensorrt", "tensorrt-rtx")


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
    """

    name: str
    engine: str
    precision: str
    opened: Callable[[int, int | None], AbstractContextManager[Run]]
    bundle: Callable[[int], Path] | None = None

    @property
    def processor(self) -> str:
        """Whose energy counts: "CPU" or "GPU"."""
        return "GPU" if self.engine in {engine_title(target) for target in ON_GPU} else "CPU"


def engine_title(target: str) -> str:
    """What people call the engine that runs a target's bundles by default."""
    return next(engine.title for engine in ENGINES.values() if target in engine.runs)


def candidates_of(folders: Sequence[Path]) -> list[Candidate]:
    """One for each bundle, checked against its hashes; named after its folder, as far as that tells them apart.

    Raises:
        InputError: a folder is no bundle, or damaged.
        MissingError: a bundle's own engine cannot run here.
    """
    bundles = [open_bundle(folder) for folder in folders]
    for bundle in bundles:
        bundle.verify()
        check_engine(bundle)
    return [_candidate(bundle, name) for bundle, name in zip(bundles, _names(folders), strict=True)]


def check_engine(bundle: Bundle) -> None:
    """Fail early where a bundle's engine is not here. No other engine takes its place: its times would mislead."""
    target = bundle.manifest.target
    if target in ON_GPU and not has_gpu():
        raise MissingError(
            f"{bundle.folder}: made for {engine_title(target)}, and there is no NVIDIA GPU here",
            expected="the engine that the bundle was made for; how fast another one runs its file says nothing",
            fix="measure it on the device, or a bundle for openvino or onnx here",
        )
    backend_for(target, None)


@contextlib.contextmanager
def opened_bundle(folder: Path, batch: int, threads: int | None) -> Iterator[Run]:
    """One inference of a bundle by its engine, without preprocessing and without the checks of `Engine`."""
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    inputs = graph_inputs(manifest, batch)
    settings = Settings(threads=None if manifest.target in ON_GPU else threads)
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
            expected=f"{limits[0]} to {limits[1]}, the batch profile of the plan",
            fix="another --batch, or export with --batch-profile",
        )


def _candidate(bundle: Bundle, name: str) -> Candidate:
    manifest = bundle.manifest
    return Candidate(
        name,
        engine_title(manifest.target),
        manifest.precision,
        lambda batch, threads: opened_bundle(bundle.folder, batch, threads),
        lambda batch: bundle.folder,
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where two share it, with a number where two are the same."""
    short = [folder.resolve().name for folder in folders]
    names = [str(folder) if short.count(last) > 1 else last for folder, last in zip(folders, short, strict=True)]
    return [f"{name} ({names[: k + 1].count(name)})" if names.count(name) > 1 else name for k, name in enumerate(names)]
