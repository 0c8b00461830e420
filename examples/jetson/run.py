"""Prints the class of each image, and how long the engine takes: the first thing to run on a device.

$ python3 run.py BUNDLE IMAGE... --runs 100
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from hamsa_runtime import Engine, HamsaError


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Classify images, and measure the latency.")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="of each image, to time (default: 100)")
    options = parser.parse_args(argv)
    if options.runs < 1:
        parser.error("--runs is at least 1")
    try:
        with Engine(options.bundle) as engine:
            print(", ".join(f"{key} {value}" for key, value in engine.describe().items()))
            engine.warm_up()
            for image in options.images:
                print(line(engine, image, options.runs))
    except HamsaError as error:
        print(f"error  {error}", file=sys.stderr)
        return error.exit_code
    return 0


def line(engine: Engine, image: Path, runs: int) -> str:
    """The best three classes, and median and 99th percentile of decoding, preparing and inference."""
    [best] = engine.classify(image, top=3)
    p50, p99 = np.percentile([milliseconds(engine, image) for _ in range(runs)], [50, 99])
    classes = ", ".join(f"{label} {probability:.1%}" for label, probability in best)
    return f"{image}: {classes}; p50 {p50:.2f} ms, p99 {p99:.2f} ms"


def milliseconds(engine: Engine, image: Path) -> float:
    start = time.perf_counter()
    engine(image)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
