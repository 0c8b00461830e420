"""A stranger's model is tried first in a process of its own, of limited time and memory.

What a model takes can seldom be read from its file: a few nodes double a value forty times, a product of two small
tensors is a large one, and engines compute what is constant while they load. So it is loaded and run once where nothing
is lost with it: the child takes at most BEYOND and COPIES times the files beyond what its libraries take before they
see the model, and is killed at the deadline.

The child has the packages of this process, and says how it ended in its last line. Where the system has no such limit
of memory (RLIMIT_DATA), only the time is limited.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.engine import Engine
from hamsa_runtime.errors import HamsaError, InputError, unknown_name
from hamsa_runtime.signature import Key
from hamsa_runtime.vocabulary import ENGINES, MOST_SECONDS, TRIAL_SECONDS

PLANS = "tensorrt"  # whose engine runs on a GPU
BEYOND = 2 * 2**30
# Of a file: its bytes, the graph read from them and a copy, the engine's own and what it packs for its products, and
# all of it in float64.
COPIES = 16
BYTES_A_SECOND = 2 * 2**20
STACK = 16 * 2**20  # of each thread that an engine starts, and what its allocator keeps
OUT_OF_MEMORY, ENDED = "out of memory", "ended"
# How NumPy, ONNX Runtime and OpenVINO say that an allocation failed, in errors that are of no class of their own.
NO_MEMORY = ("bad_alloc", "allocate", "bytes of memory", "source memory", "supported maximum", "bad allocation")
START = "import sys; sys.path[:] = {path}; from {module} import {function} as tried; tried(sys.argv[1:])"


def try_bundle(
    folder: str | Path, *, backend: str | None = None, seconds: float = TRIAL_SECONDS, public_key: Key | None = None
) -> None:
    """Load a bundle and run it once on zeros, a batch of one, in a process of its own; `Engine` itself has no limits.

    Args:
        folder: the bundle. One that carries a plan of TensorRT, or is built into one, is left: it runs on a GPU, whose
            memory this process does not limit.
        backend: as for `Engine`.
        seconds: until it has to be done, and one more for each 2 MiB of its files; 0 tries nothing.
        public_key: a bundle that is signed with it is trusted, and not tried.

    Raises:
        InputError: it takes longer, or more than 2 GiB beyond sixteen times its files; or it ends the process that runs
            it. What else is wrong with it, `Engine` says.
    """
    if type(seconds) not in (int, float) or not 0 <= seconds <= MOST_SECONDS:
        raise InputError(f"seconds is {seconds!r}", expected=f"a number from 0 to {MOST_SECONDS}")
    bundle = open_bundle(folder, public_key=public_key)
    names = [name for name, engine in ENGINES.items() if bundle.manifest.target in engine.runs]
    if backend is not None and backend not in names:
        raise unknown_name("backend", str(backend), names)
    if public_key is not None or not seconds or ENGINES[backend or names[0]].module == ENGINES[PLANS].module:
        return
    size = sum(entry.bytes for entry in bundle.manifest.files.values())
    words = json.dumps([os.fspath(bundle.folder), backend, size])
    try_in_a_process(f"{bundle.folder}: the model", __name__, _run_bundle.__name__, [words], seconds_for(seconds, size))


def seconds_for(seconds: float, size: int) -> float:
    """Until a model has to be done whose files have so many bytes: to read, check and convert many takes its time."""
    return seconds + size / BYTES_A_SECOND


def _run_bundle(words: Sequence[str]) -> None:
    folder, backend, size = json.loads(words[0])

    def run() -> None:
        with Engine(folder, backend=backend) as engine:
            engine.warm_up(batch=1, runs=1)

    limited([run], size)


def try_in_a_process(what: str, module: str, function: str, words: Sequence[str], seconds: float) -> None:
    """Call ``module.function(words)`` in a process of its own, which calls `limited`.

    Raises:
        InputError: it was not done in time, had not enough memory, or was ended by what it did; says `what` it was.
    """
    code = START.format(path=sys.path, module=module, function=function)
    try:
        done = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(what, f"was not loaded and run once within {seconds:.4g} s") from error
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if last == OUT_OF_MEMORY:
        raise _refused(what, f"needs more than {BEYOND >> 30} GiB beyond {COPIES} times its size")
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise _refused(what, f"ended the process that ran it ({name})")
    if last != ENDED:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise _refused(what, f"could not be tried ({why[:200]})")


def limited(steps: Sequence[Callable[[], object]], size: int) -> None:
    """In the child: limit this process, take the steps, and say how it ended.

    Args:
        steps: all are taken, also where one fails for a reason other than memory: that is for the parent to find.
        size: bytes of the model's files.
    """
    _limit_memory(BEYOND + COPIES * size + STACK * (os.cpu_count() or 1))
    for step in steps:
        try:
            step()
        except MemoryError:
            _end(OUT_OF_MEMORY)
        except Exception as error:  # noqa: BLE001  # engines raise from many layers
            if any(words in str(error) for words in NO_MEMORY):
                _end(OUT_OF_MEMORY)
    _end(ENDED)


def _limit_memory(more: int) -> None:
    """Beyond what it has: of memory that it writes to, not of addresses, of which libraries reserve many."""
    try:
        found = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    if found is None or resource is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = int(found[1]) * 1024 + more
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _end(how: str) -> None:
    """At once: an engine that is short of memory may not end."""
    sys.stdout.write(f"\n{how}\n")
    sys.stdout.flush()
    os._exit(0)


def _refused(what: str, found: str) -> HamsaError:
    return InputError(
        f"{what} {found}",
        expected="a model that a process of limited time and memory loads and runs once",
        cause="a file that was made to run without end or to fill the memory; or a model too large for this machine",
        fix="--timeout SECONDS for a slow machine; --timeout 0, which tries nothing, for a model that you trust",
    )
