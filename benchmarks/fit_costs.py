"""Fits the rates of hamsa_runtime.dft.costs to measurements, and says how good the choices are that follow from them.

    python benchmarks/fit_costs.py [--threads 2] [--rounds 15] [--keep out/costs]

What costs.py estimates is measured: transforms by every kind of plan, depthwise convolutions, single matrices, on each
engine, in float32 (see cost_samples.py). The rates minimise the sum of squared relative errors and are not negative.

regret: by how much the plan that is chosen by its estimate is slower than the fastest one measured; of the fitted
rates, and of those that the target's record has today: whether a processor needs rates of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from cost_samples import Sample, samples
from measure import FLOAT32_RUNS, Run, say

from hamsa_deploy.measure.interleaved import time_in_turn
from hamsa_deploy.targets import target_of
from hamsa_runtime.dft.costs import FIELDS, Rates, Work, for_columns, nanoseconds
from hamsa_runtime.dft.factorisations import best

# Of the times of one sample: low, because what disturbs a measurement only ever makes it longer.
PERCENTILE = 25
TURN_SECONDS = 0.002
# Samples of one group are not measured for longer than this, though three rounds at least.
GROUP_SECONDS = 3.0
FEWEST_ROUNDS = 3

Milliseconds = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of the engines")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each sample")
    parser.add_argument("--keep", type=Path, default=Path("out/costs"), metavar="DIR",
                        help="where programs and measurements stay: what is there is not made again")  # fmt: skip
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    every = list(samples())
    for sample in every:
        sample.file(options.keep)
    for target in FLOAT32_RUNS:
        measured = _measured(every, target, options.threads, options.rounds, options.keep)
        _report(target, every, measured)


def _measured(every: Sequence[Sample], target: str, threads: int, rounds: int, folder: Path) -> Milliseconds:
    """Milliseconds of each sample, by its name. Kept after every group, so that an interruption costs little."""
    kept = folder / f"{target}-{threads}.json"
    found: Milliseconds = json.loads(kept.read_text()) if kept.exists() else {}
    for group, members in _groups(every).items():
        if all(member.name in found for member in members):
            continue
        say(f"measuring {group} on {target}")
        runs = {member.name: _run(member, target, threads, folder) for member in members}
        found |= _milliseconds(runs, rounds)
        kept.write_text(json.dumps(found, indent=1))
    return found


def _groups(every: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in every:
        groups.setdefault(sample.group, []).append(sample)
    return groups


def _run(sample: Sample, target: str, threads: int, folder: Path) -> Run:
    x = np.random.default_rng(0).standard_normal(sample.shape, dtype=np.float32)
    path = sample.file(folder)
    return FLOAT32_RUNS[target](path, x, threads)


def _milliseconds(runs: Mapping[str, Run], rounds: int) -> Milliseconds:
    turns = time_in_turn(runs, GROUP_SECONDS, turn_seconds=TURN_SECONDS, fewest=min(FEWEST_ROUNDS, rounds), most=rounds)
    return {
        name: 1e3 * float(np.percentile([turn.median for turn in each], PERCENTILE)) for name, each in turns.items()
    }


def fitted(works: Sequence[Work], times: Sequence[float]) -> tuple[Rates, float]:
    """The rates, and what calling the engine costs; none negative, with the smallest sum of squared relative errors.

    With so few rates all their subsets can be tried: the best one without a negative rate is the solution.
    """
    features = np.array([[*vars(work).values(), 1.0] for work in works]) / np.array(times)[:, None]
    count = features.shape[1]
    smallest, rates = np.inf, np.zeros(count)
    for size in range(1, count + 1):
        for kept in map(list, itertools.combinations(range(count), size)):
            found = np.linalg.lstsq(features[:, kept], np.ones(len(works)), rcond=None)[0]
            error = float(np.square(features[:, kept] @ found - 1).sum())
            if error < smallest and (found >= 0).all():
                smallest, rates = error, np.zeros(count)
                rates[kept] = found
    return Rates(*rates[:-1].tolist()), float(rates[-1])


def _report(target: str, every: Sequence[Sample], measured: Milliseconds) -> None:
    works = [for_columns(sample.work, sample.columns) for sample in every]
    rates, call = fitted(works, [1e6 * measured[sample.name] for sample in every])
    print(f"{target}: rates for costs.py, ns")
    print("    " + ", ".join(f"{name}={getattr(rates, name):.3g}" for name in FIELDS))
    print(f"    and {call:.3g} for each call of the engine")
    _print_choices(every, measured, _estimates(every, rates, call, measured))
    print(f"{target}: the rates that it has today")
    _print_choices(every, measured, _estimates(every, target_of(target).rates, call, measured))


def _estimates(every: Sequence[Sample], rates: Rates, call: float, measured: Milliseconds) -> Milliseconds:
    estimated = {s.name: (call + nanoseconds(s.work, rates, s.columns)) / 1e6 for s in every}
    errors = [abs(estimated[name] / measured[name] - 1) for name in estimated]
    print(f"    relative error: median {np.median(errors):.0%}, 90 % below {np.percentile(errors, 90):.0%}")
    return estimated


def _print_choices(every: Sequence[Sample], measured: Milliseconds, estimated: Milliseconds) -> None:
    """Of each length the best plan of each kind, in ms, and the model's choice among those that were measured."""
    kinds = ("dense", "2 factors", "3 factors", "4 factors", "Rader")
    print(f"    {'length-columns':16}" + "".join(f"{kind:>11}" for kind in kinds) + "  chosen               regret")
    regrets = []
    for group, members in _groups([sample for sample in every if sample.plan is not None]).items():
        fastest = {
            kind: min((measured[m.name] for m in members if m.plan and m.plan.kind == kind), default=np.nan)
            for kind in kinds
        }
        by_plan = {member.plan: member for member in members if member.plan is not None}
        chosen = by_plan[best({plan: estimated[member.name] for plan, member in by_plan.items()})]
        regrets.append(measured[chosen.name] / min(measured[m.name] for m in members) - 1)
        cells = "".join(f"{ms:11.3f}" for ms in fastest.values()).replace("nan", "  -")
        print(f"    {group:16}{cells}  {chosen.name.rpartition('-')[2]:20}{regrets[-1]:7.0%}")
    print(f"    regret: median {np.median(regrets):.1%}, mean {np.mean(regrets):.1%}, worst {max(regrets):.0%}\n")


if __name__ == "__main__":
    main()
