"""How long a bundle takes to load, and how much memory it adds, each time in a process of its own.

The process imports Python, numpy and the engine's package first, and makes the inputs: an application has those anyway.
Then it notes its resident size, opens `Engine(folder)` (which checks the hashes of all files, and compiles the model),
and runs it. Loading is timed to the engine being ready, and to its first result. What the bundle adds to memory is the
peak of the resident size from then on (VmHWM of /proc/self/status) minus what was noted (VmRSS). Memory of a GPU is not
in it; files that were read a moment ago come from the system's cache, as in a service that restarts.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hamsa_runtime.errors import BuildError

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): resets the peak of the resident size
RUNS = 3  # inferences before the peak is read
KIB = 1024


@dataclass(frozen=True)
class Load:
    """Seconds from opening to the engine being ready and to its first result; bytes of memory that it adds."""

    ready: float
    first_result: float
    memory: int


def load_in_own_process(folder: Path, batch: int, threads: int | None, device: str | None = None) -> Load:
    """Load a bundle once.

    Raises:
        BuildError: the process failed, with the last line that it said.
    """
    command = [sys.executable, "-m", __name__, str(folder), str(batch), str(threads or 0), device or ""]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  # our own module
    if done.returncode != 0:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise BuildError(
            f"{folder}: loading it in a process of its own failed: {last}",
            cause="too little memory" if done.returncode < 0 else "",
        )
    return Load(**json.loads(done.stdout))


def typical(loads: Sequence[Load]) -> Load:
    """The median of each figure."""
    return Load(
        statistics.median(each.ready for each in loads),
        statistics.median(each.first_result for each in loads),
        int(statistics.median(each.memory for each in loads)),
    )


def load_here(folder: Path, batch: int, threads: int | None, device: str | None = None) -> Load:
    """Load a bundle in this process."""
    from hamsa_deploy.bench.inputs import graph_inputs
    from hamsa_deploy.targets import target_of
    from hamsa_runtime import Engine, open_bundle
    from hamsa_runtime.backends import backend_for

    manifest = open_bundle(folder).manifest
    inputs = graph_inputs(manifest, batch)
    images = inputs if manifest.preprocessing is None else inputs[manifest.inputs[0].name]
    backend_for(manifest.target, None)  # imports the engine
    with suppress(OSError):  # without it, the peak may be that of the imports: still no less than what is added
        CLEAR.write_text(RESET_PEAK)
    before = kibibytes("VmRSS", STATUS.read_text())
    start = time.perf_counter()
    with Engine(folder, device=device, threads=None if target_of(manifest.target).needs_gpu else threads) as engine:
        ready = time.perf_counter() - start
        engine(images)
        first = time.perf_counter() - start
        for _ in range(RUNS - 1):
            engine(images)
        peak = kibibytes("VmHWM", STATUS.read_text())
    return Load(ready, first, KIB * max(peak - before, 0))


def kibibytes(key: str, status: str) -> int:
    """A value of /proc/PID/status, which counts in KiB and writes kB.

    Raises:
        KeyError: there is no such line.
    """
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise KeyError(key)


def main() -> None:
    """The process of its own: prints a `Load` as JSON."""
    folder, batch, threads, device = sys.argv[1:]
    sys.stdout.write(json.dumps(asdict(load_here(Path(folder), int(batch), int(threads) or None, device or None))))


if __name__ == "__main__":
    main()
