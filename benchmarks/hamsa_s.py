"""HAMSA-S against eager PyTorch, against the ONNX DFT operator and against DeiT-S, on every engine.

    python benchmarks/hamsa_s.py [--sizes 224 448 896 1248] [--batch 1 8] [--runs 15] [--threads 2]

Each image size and batch is a process of its own, in which all candidates are prepared, checked against eager PyTorch,
and timed in turn (see measure.py). Batches beyond 1 are measured at 224 pixels only, and so are the files with DFT
operators: above, one run of theirs takes up to minutes. A ratio with a goal has the goal beside it.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import tables
import torch
from exports import bfloat16_form, dft_form, hamsa_s, real_form
from measure import (
    BF16,
    F32,
    LARGEST_ERROR,
    Run,
    Times,
    eager_run,
    images,
    in_own_process,
    interleaved,
    onnxruntime_run,
    openvino_run,
    ratio,
    relative_error,
    say,
)
from peers import for_onnxruntime, for_openvino

from hamsa_deploy.bench.peers.deit import deit_s

HAMSA, DEIT, DFT = "HAMSA-S", "DeiT-S", "HAMSA-S, DFT operator"
EAGER, ORT, OV_F32, OV_BF16 = "PyTorch eager", "ONNX Runtime", f"OpenVINO {F32}", f"OpenVINO {BF16}"
SMALLEST = 224

Name = tuple[str, str]
"""Model and engine."""


@dataclass(frozen=True)
class Goal:
    """A ratio of two candidates' times, and the bound that it should keep at one image size."""

    size: int
    numerator: Name
    denominator: Name
    bound: float
    at_least: bool

    def is_reached_by(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound


def _of_eager(engine: str, bound: float) -> Goal:
    return Goal(SMALLEST, (HAMSA, engine), (HAMSA, EAGER), bound, at_least=False)


def _over_dft(engine: str, bound: float) -> Goal:
    return Goal(SMALLEST, (DFT, engine), (HAMSA, engine), bound, at_least=True)


def _over_deit(size: int, engine: str, bound: float) -> Goal:
    return Goal(size, (DEIT, engine), (HAMSA, engine), bound, at_least=True)


GOALS = (
    _of_eager(ORT, 0.75),
    _of_eager(OV_F32, 0.75),
    _of_eager(OV_BF16, 0.22),
    _over_dft(ORT, 7),
    _over_dft(OV_F32, 28),
    *(_over_deit(SMALLEST, engine, bound) for engine, bound in ((ORT, 0.85), (OV_F32, 1), (OV_BF16, 1.1))),
    *(_over_deit(448, engine, bound) for engine, bound in ((ORT, 0.95), (OV_F32, 0.95), (OV_BF16, 0.90))),
    *(_over_deit(896, engine, bound) for engine, bound in ((ORT, 1.5), (OV_F32, 1.5), (OV_BF16, 1.3))),
    *(_over_deit(1248, engine, 2.2) for engine in (ORT, OV_F32)),
)


@dataclass(frozen=True)
class Measured:
    """One image size and batch: milliseconds by round, and the error of each candidate that computes something else."""

    times: Times[Name]
    errors: dict[Name, float]
    wrong: dict[Name, float]


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448, 896, 1248])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--runs", type=int, default=15, help="rounds; fewer where they would take minutes")
    options, report = tables.begin(parser)
    for size in options.sizes:
        for batch in options.batch:
            if batch > 1 and size > SMALLEST:
                continue
            title = f"{size} pixels, batch {batch}"
            future = in_own_process(measure_one, size, batch, options.runs, options.threads)
            if error := future.exception():
                report.show(title, {}, [], f"not measured, {type(error).__name__}: {error}")
            else:
                _show_times(report, future.result(), title)
                _show_goals(report, future.result().times, size)


def measure_one(size: int, batch: int, rounds: int, threads: int) -> Measured:
    """Prepare, check and time all candidates for one image size and batch."""
    torch.set_num_threads(threads)
    x = images(size, batch)
    expected: dict[str, np.ndarray] = {}
    runs: dict[Name, Run] = {}
    errors: dict[Name, float] = {}
    wrong: dict[Name, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for (model, engine), build in _candidates(size, batch, x, threads, Path(folder)):
            say(f"{size} pixels, batch {batch}: preparing {model} on {engine}")
            run = build()
            found = run()
            reference = expected.setdefault(_reference(model), found)  # eager PyTorch comes first
            error = relative_error(found, reference)
            if error <= LARGEST_ERROR[BF16 if engine == OV_BF16 else F32]:
                runs[model, engine], errors[model, engine] = run, error
            else:
                wrong[model, engine] = error
            gc.collect()
        say(f"{size} pixels, batch {batch}: timing")
        return Measured(interleaved(runs, rounds), errors, wrong)


def _reference(model: str) -> str:
    return DEIT if model == DEIT else HAMSA


def _candidates(
    size: int, batch: int, x: np.ndarray, threads: int, folder: Path
) -> Iterator[tuple[Name, Callable[[], Run]]]:
    """Names, and what builds each; a file is written when the first candidate needs it."""
    yield (HAMSA, EAGER), lambda: eager_run(hamsa_s(size), x)
    yield (DEIT, EAGER), lambda: eager_run(deit_s(size), x)
    yield (HAMSA, ORT), lambda: onnxruntime_run(real_form(size, batch, "onnx", folder), x, threads)
    yield (DEIT, ORT), lambda: onnxruntime_run(for_onnxruntime(size, batch, folder), x, threads)
    hamsa = cache(lambda: real_form(size, batch, "openvino", folder))
    deit = cache(lambda: for_openvino(size, batch, folder))
    yield (HAMSA, OV_F32), lambda: openvino_run(hamsa(), x, F32, threads)
    yield (DEIT, OV_F32), lambda: openvino_run(deit(), x, F32, threads)
    yield (HAMSA, OV_BF16), lambda: openvino_run(bfloat16_form(hamsa()), x, BF16, threads)
    yield (DEIT, OV_BF16), lambda: openvino_run(deit(), x, BF16, threads)
    if size == SMALLEST:
        dft = cache(lambda: dft_form(size, batch, folder))
        yield (DFT, ORT), lambda: onnxruntime_run(dft(), x, threads)
        yield (DFT, OV_F32), lambda: openvino_run(dft(), x, F32, threads)


def _show_times(report: tables.Report, measured: Measured, title: str) -> None:
    times = measured.times
    rows: list[tables.Row] = [
        [", ".join(name), tables.spread(times[name]), ratio(times, name, (_reference(name[0]), EAGER)), error]
        for name, error in measured.errors.items()
    ]
    rows += [[", ".join(name), "something else", None, error] for name, error in measured.wrong.items()]
    report.show(title, {"": "", "ms": ".1f", "of eager": ".2f", "error": ".1e"}, rows)


def _show_goals(report: tables.Report, times: Times[Name], size: int) -> None:
    if goals := [goal for goal in GOALS if goal.size == size]:
        columns = {"ratio": "", "found": ".2f", "goal": "", "": ""}
        report.show(f"{size} pixels: goals", columns, [_goal_row(goal, times) for goal in goals])


def _goal_row(goal: Goal, times: Times[Name]) -> tables.Row:
    label = f"{', '.join(goal.numerator)} / {', '.join(goal.denominator)}"
    bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:g}"
    if not {goal.numerator, goal.denominator} <= times.keys():
        return [label, None, bound, "not measured"]
    found = ratio(times, goal.numerator, goal.denominator)
    return [label, found, bound, "reached" if goal.is_reached_by(found["median"]) else "MISSED"]


if __name__ == "__main__":
    main()
