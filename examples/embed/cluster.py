"""20,000 images on a Ray cluster of two workers, one of which is killed in the middle; then every id is counted.

    $ pip install 'hamsa-runtime[embed,ray,openvino]'
    $ python cluster.py BUNDLE FOLDER

FOLDER gets the images, made up here and the same each time, and what was embedded, by one process and on the cluster.
That is a head without processors and two workers with one each, as processes of this machine. At a third of the images
one worker is killed, with all that runs in it, and another one takes its place.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

IMAGES, DAMAGED, ROWS = 20_000, 5, 500
ADDRESS = "127.0.0.1:6399"
# Shared memory of a worker, for objects: the least that Ray takes. Shards are numbers, and need none.
OBJECTS = 80 << 20
SAMPLE_SECONDS = 1.0
NUMBERS = itertools.count(2)


def main() -> int:
    options = parser().parse_args()
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")
    images, here, there = (options.folder / name for name in ("images", "local", "ray"))
    make_images(images, options.images)
    print(f"{'':12} images/s  seconds  of which start  MB at most")
    one = run("one process", options.bundle, images, here, [])
    with cluster() as workers, killing(there, options.images // ROWS, workers):
        two = run("two workers", options.bundle, images, there, [f"--ray={ADDRESS}"])
    tables = [pq.read_table(path).sort_by("id") for path in (here, there)]
    is_right = all([check(table, images) for table in tables])
    vectors = [table["embedding"].combine_chunks().flatten().to_numpy() for table in tables]
    print(f"largest difference of their vectors: {np.abs(vectors[0] - vectors[1]).max():.1e}")
    return 0 if is_right and one["fingerprint"] == two["fingerprint"] else 1


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Embeds generated images on a Ray cluster of this machine.")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"how many (default: {IMAGES})")
    return parser


def make_images(folder: Path, count: int) -> None:
    """Ellipses on gradients, as JPEG files of 96 x 96; DAMAGED of them are cut off."""
    ramp = np.add.outer(np.arange(96), np.arange(96))[..., None]
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        image = Image.fromarray((ramp * rng.uniform(0, 1.3, 3)).astype(np.uint8))
        corner, size = rng.integers(0, 48, 2), rng.integers(16, 48, 2)
        ImageDraw.Draw(image).ellipse([*corner, *(corner + size)], fill=tuple(map(int, rng.integers(0, 256, 3))))
        image.save(path, quality=85)
        if number % (count // DAMAGED) == 1:
            path.write_bytes(path.read_bytes()[:300])


def run(name: str, bundle: Path, images: Path, output: Path, options: list[str]) -> dict[str, Any]:
    """hamsa-embed, in a process of its own; prints what it took, with all processes that this one has started."""
    command = [sys.executable, "-m", "hamsa_runtime.cli.embed", bundle, images, "-o", output, "--rows", ROWS, *options]
    memory, started = Memory(), time.perf_counter()
    with memory:
        done = subprocess.run([*map(str, command), "--json"], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"hamsa-embed: exit code {done.returncode}\n{done.stdout}")
    found: dict[str, Any] = json.loads(done.stdout)
    rate, start = found["rows_per_second"], seconds - found["seconds"]
    print(f"{name:12} {rate:8.0f} {seconds:8.1f} {start:15.1f} {memory.most / 1e6:11.0f}", flush=True)
    return found


def check(table: pa.Table, images: Path) -> bool:
    """Whether each image is there once, and those that are damaged say so."""
    count = Counter(table["id"].to_pylist())
    files = {str(path.relative_to(images)) for path in images.rglob("*.jpg")}
    failed = Counter(table["status"].to_pylist())["failed"]
    lost, twice, others = files - count.keys(), [id for id in count if count[id] > 1], count.keys() - files
    print(f"{len(table)} rows, {len(lost)} lost, {len(twice)} twice, {len(others)} of nobody, {failed} failed")
    return not (lost or twice or others) and failed == DAMAGED


@contextlib.contextmanager
def cluster() -> Iterator[list[subprocess.Popen[bytes]]]:
    """A head without processors, and two workers: their processes, and room for more."""
    workers: list[subprocess.Popen[bytes]] = []
    head = node("--head", f"--port={ADDRESS.split(':')[1]}", "--num-cpus=0", "--include-dashboard=false")
    try:
        time.sleep(10)
        workers += [worker(), worker()]
        yield workers
    finally:
        for process in [*workers, head]:
            kill(process)


def worker() -> subprocess.Popen[bytes]:
    """Of an address of its own: to that of the machine, hamsa-embed itself connects, which is not to be killed here."""
    return node(f"--address={ADDRESS}", f"--node-ip-address=127.0.0.{next(NUMBERS)}", "--num-cpus=1")


def node(*options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--object-store-memory={OBJECTS}"]
    nothing = subprocess.DEVNULL
    return subprocess.Popen([*command, *options], stdout=nothing, stderr=nothing)  # noqa: S603


def kill(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started, and at once, as a machine that loses its power."""
    for pid in [process.pid, *descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def killing(output: Path, parts: int, workers: list[subprocess.Popen[str]]) -> Iterator[None]:
    """Kills the first worker when a third of the parts is there. Whichever has ended is replaced, as clusters do."""
    over = threading.Event()

    def watch() -> None:
        is_killed = False
        while not over.wait(0.1):
            if not is_killed and len(list(output.glob("part-*.parquet"))) >= parts / 3:
                is_killed = True
                kill(workers[0])
            for place, process in enumerate(workers):
                if process.poll() is not None:
                    workers[place] = worker()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Memory:
    """The most memory of all processes that this one has started, sampled; what they share counts once (PSS)."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.most = max(self.most, sum(map(pss, descendants(os.getpid()))))


def pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, new = [], [pid]
    while new := [child for child, parent in parents.items() if parent in new]:
        found += new
    return found


if __name__ == "__main__":
    sys.exit(main())
