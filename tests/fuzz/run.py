"""Coverage-guided fuzzing of one target, by atheris: python tests/fuzz/run.py manifest --seconds 60.

Python code of hamsa_deploy and hamsa_runtime, of tomllib and of Pillow is instrumented. Native code (onnx, Pillow's
decoders, safetensors) and torch are run, but not followed. What breaks the property is written to
tests/fuzz/corpus/<target>/crash-*, where `test_replay.py` finds it.
"""

from __future__ import annotations

import argparse
import functools
import logging
import random
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
SECONDS_PER_INPUT, MEGABYTES = 20, 4096
LONGEST = {"manifest": 8192, "image": 8192}

sys.path[:0] = [str(ROOT), str(ROOT / "runtimes" / "python")]

# In this order: what torch brings along is too much to be instrumented, and Pillow would be among it.
with atheris.instrument_imports(include=["tomllib", "PIL"]):
    import PIL.Image
    import PIL.ImageOps
    import tomllib  # noqa: F401

    PIL.Image.preinit()
    PIL.Image.init()
import onnx_ir  # noqa: E402, F401
import torch  # noqa: E402, F401

with atheris.instrument_imports(include=["hamsa_deploy", "hamsa_runtime", "tests"]):
    from tests.fuzz import targets
from tests.fuzz.mutations import mutated  # noqa: E402


def _mutated(target: str, data: bytes, longest: int, seed: int) -> bytes:
    """Half of the time libFuzzer's own mutation, which knows what the code compares with."""
    rng = random.Random(seed)
    changed = mutated(target, data, rng) if rng.random() < 0.5 else atheris.Mutate(data, longest)
    return changed[:longest]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(targets.TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that reached new code")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    corpus = CORPUS / options.target
    with tempfile.TemporaryDirectory() as folder:
        grown = options.keep or Path(folder, "grown")
        grown.mkdir(exist_ok=True)

        def one_input(data: bytes) -> None:
            targets.is_taken(options.target, data, Path(folder))

        arguments = [
            sys.argv[0],
            str(grown),  # the first folder is where new inputs go
            str(corpus),
            f"-max_total_time={options.seconds}",
            f"-seed={options.seed}",
            f"-max_len={LONGEST.get(options.target, 4096)}",
            f"-timeout={SECONDS_PER_INPUT}",
            f"-rss_limit_mb={MEGABYTES}",
            f"-artifact_prefix={corpus}/",
            "-print_final_stats=1",
        ]
        mutator = functools.partial(_mutated, options.target)
        atheris.Setup(arguments, one_input, custom_mutator=mutator)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
