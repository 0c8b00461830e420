"""SIGKILLs at random moments of a job on a Ray cluster, of actors and of hamsa-embed itself; then every id is counted.

    $ python kills.py BUNDLE FOLDER --seconds 240

FOLDER gets images as cluster.py makes them, and their vectors in small parts. A job that is over loses some of its
parts, and is begun again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from cluster import ADDRESS, check, cluster, descendants, make_images

IMAGES, ROWS, TAKEN = 3000, 50, 40
# Of the kills, those of an actor; the others are of hamsa-embed, once it has had time to begin.
ACTORS, BEGIN_SECONDS = 0.85, 15


def main() -> int:
    options = parser().parse_args()
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")
    images, output = options.folder / "images", options.folder / "killed"
    make_images(images, IMAGES)
    words = [options.bundle, images, "-o", output, "--rows", ROWS, "--quiet", f"--ray={ADDRESS}"]
    command = [sys.executable, "-m", "hamsa_runtime.cli.embed", *map(str, words)]
    with cluster():
        kills = killed(command, output, options.seconds)
        subprocess.run(command, check=True)  # noqa: S603
    print(f"{kills['actor']} actors killed, and hamsa-embed {kills['hamsa-embed']} times")
    left = [path.name for path in output.iterdir() if path.name.startswith(".")]
    return 0 if check(pq.read_table(output), images) and not left else 1


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Kills what embeds, at random moments.")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=240)
    return parser


def killed(command: list[str], output: Path, seconds: float) -> Counter[str]:
    """Runs the job, and kills; returns how often which."""
    rng = random.Random(21)  # noqa: S311  # the same moments each time, as far as that goes
    kills, end = Counter[str](), time.monotonic() + seconds
    while time.monotonic() < end:
        job, began = subprocess.Popen(command), time.monotonic()  # noqa: S603
        while job.poll() is None and time.monotonic() < end:
            time.sleep(rng.uniform(0.2, 3))
            found = actors()
            if found and rng.random() < ACTORS:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(found), signal.SIGKILL)
                    kills["actor"] += 1
            elif found and time.monotonic() > began + BEGIN_SECONDS:
                job.kill()
                kills["hamsa-embed"] += 1
                break
        else:
            job.wait()
            parts = sorted(output.glob("part-*.parquet"))
            for part in rng.sample(parts, min(TAKEN, len(parts))):
                part.unlink()
        job.wait()
    return kills


def actors() -> list[int]:
    """By the titles that Ray gives to its processes."""
    found = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::MapWorker"):
                found.append(pid)
    return found


if __name__ == "__main__":
    sys.exit(main())
