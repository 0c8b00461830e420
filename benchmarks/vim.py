"""Vim-S against DeiT-S, as large, by image size: time and memory on both engines, and where scans become cheaper.

    python benchmarks/vim.py [--sizes 224 448 896 1248] [--rounds 9] [--threads 1]

Batch 1, random weights; each size in a process of its own, where all candidates are checked against PyTorch and timed
in turn (see measure.py). Memory is the peak of a process that does nothing but run the file once, less what it had
before.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tables
import torch
from measure import (
    F32,
    FLOAT32_RUNS,
    LARGEST_ERROR,
    Run,
    Times,
    eager_run,
    images,
    in_own_process,
    interleaved,
    quietly,
    ratio,
    relative_error,
    say,
)
from peers import for_onnxruntime, for_openvino

from hamsa_deploy import to_real
from hamsa_deploy.bench.peers.deit import deit_s
from hamsa_deploy.models.vim import Vim
from hamsa_deploy.targets.onnx_file import onnx_from_program

VIM, DEIT = "Vim-S", "DeiT-S"
WIDTH = 384
ENGINES = {"onnx": "ONNX Runtime", "openvino": f"OpenVINO {F32}"}
DEIT_FILES = {"onnx": for_onnxruntime, "openvino": for_openvino}
LARGEST_EAGER = 448  # above, the eager loop over thousands of steps would take most of the time

Name = tuple[str, str]
"""Model and engine."""


@dataclass(frozen=True)
class Measured:
    """Of one image size: milliseconds by round, MiB, and the error of each candidate."""

    times: Times[Name]
    memory: dict[Name, float]
    errors: dict[Name, float]


def vim_s(size: int) -> Vim:
    torch.manual_seed(0)
    return Vim(WIDTH, image_size=size).eval()


def vim_file(size: int, target: str, folder: Path) -> Path:
    path = folder / f"vim-{target}.onnx"
    with quietly():
        program = to_real(vim_s(size), (torch.from_numpy(images(size, 1)),), dynamic_shapes={}, target=target)
        onnx_from_program(program, path, inputs=["images"], outputs=["logits", "embedding"])
    return path


def write_files(size: int, folder: Path) -> dict[Name, Path]:
    """By model and target."""
    files: dict[Name, Path] = {}
    for target in ENGINES:
        say(f"{size} pixels: writing both models for {target}")
        files[VIM, target] = vim_file(size, target, folder)
        files[DEIT, target] = DEIT_FILES[target](size, 1, folder)
    return files


def peak(path: Path, target: str, size: int, threads: int) -> float:
    """MiB beyond what a process has that only imported the engines."""
    x = images(size, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    FLOAT32_RUNS[target](path, x, threads)()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def measure(files: dict[Name, Path], size: int, rounds: int, threads: int) -> tuple[Times[Name], dict[Name, float]]:
    torch.set_num_threads(threads)
    x = images(size, 1)
    eager = {VIM: eager_run(vim_s(size), x), DEIT: eager_run(deit_s(size), x)}
    expected = {model: run() for model, run in eager.items()}
    runs: dict[Name, Run] = {(model, "PyTorch"): run for model, run in eager.items() if size <= LARGEST_EAGER}
    errors: dict[Name, float] = {}
    for (model, target), path in files.items():
        name = model, ENGINES[target]
        runs[name] = FLOAT32_RUNS[target](path, x, threads)
        errors[name] = relative_error(runs[name](), expected[model])
        if errors[name] > LARGEST_ERROR[F32]:
            raise SystemExit(f"{', '.join(name)}: error {errors[name]:.1e}, of no use")
    say(f"{size} pixels: timing")
    return interleaved(runs, rounds), errors


def measured(size: int, rounds: int, threads: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        files = in_own_process(write_files, size, Path(folder)).result()
        memory = {
            (model, ENGINES[target]): in_own_process(peak, path, target, size, threads).result()
            for (model, target), path in files.items()
        }
        times, errors = in_own_process(measure, files, size, rounds, threads).result()
    return Measured(times, memory, errors)


def main() -> None:
    parser = tables.parser(__doc__, threads=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448, 896, 1248])
    parser.add_argument("--rounds", type=int, default=9, help="fewer where they would take minutes")
    options, report = tables.begin(parser)
    columns = {"": "", "ms": ".1f", "of DeiT-S": ".2f", "peak MiB": ".0f", "error": ".1e"}
    for size in options.sizes:
        found = measured(size, options.rounds, options.threads)
        report.show(f"{size} pixels, batch 1", columns, rows(found))


def rows(found: Measured) -> Iterator[tables.Row]:
    for name, values in found.times.items():
        of_deit = ratio(found.times, name, (DEIT, name[1]))
        yield [", ".join(name), tables.spread(values), of_deit, found.memory.get(name), found.errors.get(name)]


if __name__ == "__main__":
    main()
