"""Every input of the corpus, and every crasher that was found; then some hundred new ones, the same in every run.

`make fuzz` looks for more with coverage to guide it, and writes what it finds beside these.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from pathlib import Path

import pytest

from .mutations import mutated
from .targets import TARGETS, is_taken

CORPUS = Path(__file__).parent / "corpus"
NEW_INPUTS = 150
SECONDS_PER_INPUT = 5.0  # an image of the largest size that is decoded takes 2 s on one slow core
# Inputs are below 10 kB. What a target may take for one of them: the largest image, decoded, converted and turned.
LARGEST_GROWTH_MB = 1024
SEEDS = sorted(path for path in CORPUS.glob("*/*") if path.is_file() and path.parent.name in TARGETS)

ALL_TARGETS = pytest.mark.parametrize("target", sorted(TARGETS))


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("path", SEEDS, ids=[f"{path.parent.name}-{path.name}" for path in SEEDS])
def test_an_input_of_the_corpus_is_taken_or_refused(path: Path, tmp_path: Path) -> None:
    """The good ones are taken: a fuzzer that starts from refused inputs tries nothing behind the first check."""
    taken = is_taken(path.parent.name, path.read_bytes(), tmp_path)
    assert taken or path.name.startswith("crash-")


@ALL_TARGETS
def test_every_target_has_a_good_input(target: str) -> None:
    assert [path for path in SEEDS if path.parent.name == target and not path.name.startswith("crash-")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in kB")
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch and Pillow, about what they are given
@ALL_TARGETS
def test_new_inputs_are_taken_or_refused_in_bounded_time_and_memory(target: str, tmp_path: Path) -> None:
    rng = random.Random(f"{target} 1")
    seeds = [path.read_bytes() for path in SEEDS if path.parent.name == target]
    before = peak_mb()
    outcomes = set()
    for _ in range(NEW_INPUTS):
        data = mutated(target, rng.choice(seeds), rng)
        start = time.monotonic()
        outcomes.add(is_taken(target, data, tmp_path))
        assert time.monotonic() - start < SECONDS_PER_INPUT, data[:200]
    assert peak_mb() - before < LARGEST_GROWTH_MB
    assert True in outcomes
    assert False in outcomes or target == "cache"  # whose damaged entries are discarded, not refused
