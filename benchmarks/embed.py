"""hamsa-embed: images a second, memory as the input grows, and jobs that are killed.

    python benchmarks/embed.py BUNDLE [--rows 1000 20000 200000] [--kills 50]

The input is a folder of small PNG files, names of 1,000 different ones (hard links). Each job is a process of its own:
its rate leaves out the start of the engine, its memory and the processor's time are those of the whole process. A
stream of the engine, which infers each image by itself, and pyarrow write the same vectors for comparison.

Kills are SIGKILLs at random moments, from the start to while parts are written; parts are taken away now and then, so
that the job is never over. At the end its ids are counted, and what `hamsa-embed --verify` says.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import tables
from PIL import Image

DIFFERENT, SIZE, IN_A_FOLDER = 1000, 48, 1000
LARGEST_GROWTH = 0.15
KILLED_ROWS, ROWS_OF_A_PART = 5000, 50
SEED = 21


class Ended(NamedTuple):
    """A process: what it printed as JSON, megabytes at most, seconds of the processor."""

    document: dict[str, Any]
    megabytes: float
    cpu_seconds: float


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 20_000, 200_000])
    parser.add_argument("--kills", type=int, default=50)
    options, report = tables.begin(parser)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        images(place / "different", DIFFERENT)
        columns = {"": "", "rows": "d", "images/s": ".0f", "images/cpu s": ".0f", "MB": ".0f", "verdict": ""}
        report.show(f"{options.bundle.name}, small PNG files", columns, _growth(options.bundle, options.rows, place))
        columns = {"kills": "d", "rows": "d", "lost": "d", "twice": "d", "verify": ""}
        if options.kills:
            report.show("SIGKILL at random moments", columns, [_killed(options.bundle, options.kills, place)])


def images(folder: Path, count: int) -> None:
    """Random pixels, which PNG cannot pack: 7 kB each."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    for i in range(count):
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:06}.png")


def many(different: Path, folder: Path, count: int) -> Path:
    """A folder of folders of so many names for them."""
    files = sorted(different.iterdir())
    for i in range(count):
        inside = folder / f"{i // IN_A_FOLDER:06}"
        if i % IN_A_FOLDER == 0:
            inside.mkdir(parents=True)
        os.link(files[i % len(files)], inside / f"{i:09}.png")
    return folder


def _growth(bundle: Path, sizes: Sequence[int], place: Path) -> Iterator[tables.Row]:
    least = 0.0
    for rows in sizes:
        given = many(place / "different", place / f"{rows}", rows)
        ended = run([*COMMAND, str(bundle), str(given), "-o", str(place / f"out-{rows}"), "--json", "--quiet"])
        least = least or ended.megabytes
        grown = ended.megabytes > (1 + LARGEST_GROWTH) * least
        verdict = f"MISSED: {LARGEST_GROWTH:.0%} more memory at most" if grown else ""
        rate = ended.document["rows_per_second"]
        yield ["hamsa-embed", rows, rate, rows / ended.cpu_seconds, ended.megabytes, verdict]
    rows = min(sizes, key=lambda size: abs(size - 4000))
    ended = run([sys.executable, "-c", STREAM, str(bundle), str(place / f"{rows}"), str(place / "stream.parquet")])
    rate = ended.document["rows_per_second"]
    yield ["a stream of the engine", rows, rate, rows / ended.cpu_seconds, ended.megabytes, ""]


COMMAND = [sys.executable, "-m", "hamsa_runtime.cli.embed"]
STREAM = """
import json, sys, time
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from hamsa_runtime import Engine
paths = sorted(Path(sys.argv[2]).rglob("*.png"))
with Engine(sys.argv[1]) as engine:
    start = time.perf_counter()
    vectors = [outputs["embedding"][0] for outputs in engine.stream(paths)]
    table = pa.table({"id": [path.name for path in paths], "embedding": [list(vector) for vector in vectors]})
    pq.write_table(table, sys.argv[3])
    print(json.dumps({"rows_per_second": len(paths) / (time.perf_counter() - start)}))
"""


def run(command: Sequence[str]) -> Ended:
    """A process to its end, and what the system says of it."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)  # noqa: S603  # ours
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        out.seek(0)
        document = json.load(out)
    return Ended(document, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)


def _killed(bundle: Path, kills: int, place: Path) -> tables.Row:
    rng, output = random.Random(SEED), place / "killed"  # noqa: S311  # moments, no secrets
    given = many(place / "different", place / "to be killed", KILLED_ROWS)
    command = [*COMMAND, str(bundle), str(given), "-o", str(output), "--rows", str(ROWS_OF_A_PART)]
    for _ in range(kills):
        parts = sorted(output.glob("*.parquet"))
        for part in rng.sample(parts, len(parts) // 2):
            part.unlink()
        process = subprocess.Popen([*command, "--quiet"])  # noqa: S603  # ours
        _wait(process, output, rng)
        process.kill()
        process.wait()
    run([*command, "--quiet", "--json"])
    ids = pq.read_table(output, columns=["id"])["id"]
    lost, twice = KILLED_ROWS - len(ids.unique()), len(ids) - len(ids.unique())
    verdict = run([*command, "--verify", "--json"]).document["verdict"]
    return [kills, KILLED_ROWS, lost, twice, verdict]


def _wait(process: subprocess.Popen[bytes], output: Path, rng: random.Random) -> None:
    """Any time at the start, or from the first new part on."""
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 2))
        return
    before = len(list(output.glob("*.parquet")))
    while len(list(output.glob("*.parquet"))) <= before and process.poll() is None:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.5))


if __name__ == "__main__":
    main()
