"""Memory stays where it is over many inferences and loads; benchmarks/soak.py is long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .test_engine import TARGETS
from .tiny_bundles import MakeBundle

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
INFERENCES, LOADS = 300, 15
# Measured: 0.1 MB by themselves; 2.4 MB with the smallest leak of an engine (ONNX Runtime's, 15 loads), 9 MB with 30 kB
# left behind by each inference.
LARGEST_GROWTH_MB = 1.0

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from soak import memory_growth
from hamsa_runtime import Engine

folder, kept = sys.argv[2], []
pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 12, 3), dtype=np.uint8)


def infer():
    result = engine(pixels)
    if sys.argv[3] == "leak a result":
        kept.append((result, np.ones(30_000, np.uint8)))


def load():
    again = Engine(folder, threads=1)
    again(pixels[:1])
    if sys.argv[3] == "leak an engine":
        kept.append(again)
    else:
        again.close()


with Engine(folder, threads=1) as engine:
    growth = {"infer": (lambda before, after: after - before)(*memory_growth(infer, int(sys.argv[4])))}
growth["load"] = (lambda before, after: after - before)(*memory_growth(load, int(sys.argv[5]), warm_ups=5))
print(json.dumps(growth))
"""


def growth_in_a_process(folder: Path, leak: str = "") -> dict[str, float]:
    counts = map(str, (INFERENCES, LOADS))
    command: list[str | Path] = [sys.executable, "-c", SCRIPT, BENCHMARKS, folder, leak, *counts]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found: dict[str, float] = json.loads(result.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@TARGETS
def test_memory_does_not_grow(make_bundle: MakeBundle, target: str) -> None:
    growth = growth_in_a_process(make_bundle(target))
    assert sorted(growth) == ["infer", "load"]
    assert max(growth.values()) < LARGEST_GROWTH_MB, growth


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("leak", "where"), [("leak a result", "infer"), ("leak an engine", "load")])
def test_the_bound_finds_a_leak(make_bundle: MakeBundle, leak: str, where: str) -> None:
    assert growth_in_a_process(make_bundle(), leak)[where] > LARGEST_GROWTH_MB
