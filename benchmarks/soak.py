"""Memory of a process that runs for long: inferences on one engine, then loads and unloads.

    python benchmarks/soak.py BUNDLE [BUNDLE ...] [--inferences 10000] [--loads 200]

The growth is of the resident set (VmRSS, Linux), after 30 of each that are not counted: engines fill their caches and
allocators first. It is the median of the last tenth of the samples over the median of the first tenth.
"""

from __future__ import annotations

import functools
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import tables

from hamsa_runtime import Engine
from hamsa_runtime.batches import zeros

WARM_UPS = 30
LARGEST_GROWTH = 0.10
SAMPLES = 200


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--inferences", type=int, default=10_000)
    parser.add_argument("--loads", type=int, default=200)
    options, report = tables.begin(parser)
    columns = {"": "", "times": "d", "seconds": ".0f", "MB before": ".1f", "MB after": ".1f", "growth": ".1%", " ": ""}
    for folder in options.bundles:
        report.show(folder.name, columns, _rows(folder, options.inferences, options.loads))


def _rows(folder: Path, inferences: int, loads: int) -> Iterator[tables.Row]:
    with Engine(folder) as engine:
        images = zeros(engine.manifest, 1)[engine.manifest.inputs[0].name]
        yield _row("inferences", inferences, functools.partial(engine, images))
    yield _row("loads and unloads", loads, functools.partial(_load_and_run, folder))


def _load_and_run(folder: Path) -> None:
    with Engine(folder) as engine:
        engine.warm_up(runs=1)


def _row(name: str, times: int, work: Callable[[], object]) -> tables.Row:
    start = time.perf_counter()
    before, after = memory_growth(work, times)
    seconds, growth = time.perf_counter() - start, after / before - 1
    verdict = "" if growth < LARGEST_GROWTH else f"MISSED: {LARGEST_GROWTH:.0%} at most"
    return [name, times, seconds, before, after, growth, verdict]


def memory_growth(work: Callable[[], object], times: int, warm_ups: int = WARM_UPS) -> tuple[float, float]:
    """Resident megabytes at the beginning and at the end of so many repetitions, after the warm-ups."""
    for _ in range(warm_ups):
        work()
    gc.collect()
    every = max(times // SAMPLES, 1)
    samples = []
    for done in range(times):
        work()
        if done % every == 0:
            samples.append(resident_megabytes())
    tenth = max(len(samples) // 10, 1)
    return statistics.median(samples[:tenth]), statistics.median(samples[-tenth:])


def resident_megabytes() -> float:
    """VmRSS of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


if __name__ == "__main__":
    main()
