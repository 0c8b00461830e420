"""`--tune`: of each transform length the few plans, and of scans and complex layers of each size the few forms, with
the smallest estimates, measured where the model will run.

What is measured (trials.py) is exported and run as the model itself will be: by the target's engine, in the precision
asked for. The cost model's choice stays unless another plan is clearly faster, and is so again when the two are
measured once more: noise shall not decide. What disturbs a measurement only ever makes it longer, so a low percentile
of several counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from torch import Tensor, nn

from hamsa_deploy.measure.interleaved import Run, time_in_turn
from hamsa_deploy.pipeline.trials import Signals, Task, trial_of
from hamsa_deploy.scan import forms
from hamsa_deploy.scan.forms import Form, Key, Loop, Plans, Size, Way, form_of, kind_of, size_of
from hamsa_deploy.spectral.complex_linear import FORMS, LinearForm, layer_of
from hamsa_deploy.spectral.framed import FRAMES
from hamsa_runtime import Engine
from hamsa_runtime.batches import Arrays
from hamsa_runtime.dft.costs import Rates, nanoseconds
from hamsa_runtime.dft.factorisations import Plan, candidates
from hamsa_runtime.manifest import ComplexLinear, LinearMeasurement, Measurement, Scan, ScanMeasurement, Transform
from hamsa_runtime.whole_files import scratch_folder

# A plan is preferred to the model's choice if it takes at most this share of its time: medians of repeated
# measurements differ by 1 to 3 % on a machine that does nothing else.
CLEARLY_FASTER = 0.95
MOST_CANDIDATES = 4
# What is estimated to take longer than this many times the smallest estimate is not measured.
HOPELESS = 2.0
# Estimates of scans are coarser, and loops of nearly as many steps take the same time.
MOST_FORMS, HOPELESS_FORM, NEARLY = 6, 4.0, 1.5

ROUNDS = 15
PERCENTILE = 25
TURN_SECONDS = 0.002

Transforms = Sequence[Transform]
Row = TypeVar("Row", Transform, Scan, ComplexLinear)
# From a task and ways to do it to the milliseconds of each.
Timer = Callable[[Task, Sequence[Way]], Sequence[float]]
# Exports a module with example inputs and plans to a bundle in an empty folder.
Build = Callable[[nn.Module, tuple[Tensor, ...], Plans, Path], None]


@dataclass(frozen=True)
class Choice:
    """What was measured for one length, one size of scans, or complex linear layers of one size.

    Args:
        measured: (plan or form, milliseconds for all columns that the model has), the cost model's choice first.
    """

    measured: tuple[tuple[Way, float], ...]

    @property
    def default(self) -> Way:
        """The cost model's choice."""
        return self.measured[0][0]

    @property
    def plan(self) -> Way:
        """The fastest, if it is clearly faster than the default."""
        fastest, milliseconds = min(self.measured, key=lambda pair: pair[1])
        return fastest if milliseconds <= CLEARLY_FASTER * self.measured[0][1] else self.default

    def recorded(self, row: Row) -> Row:
        """With what was measured, as the manifest has it."""
        measured: Any = tuple(_measurement(way, milliseconds) for way, milliseconds in self.measured)
        return replace(row, measured=measured)


def _measurement(way: Way, milliseconds: float) -> Measurement | LinearMeasurement | ScanMeasurement:
    if isinstance(way, Plan):
        return Measurement(way.factors, _rounded(milliseconds))
    if isinstance(way, LinearForm):
        return LinearMeasurement(way.name, _rounded(milliseconds))
    return ScanMeasurement(kind_of(way), way.factors, _rounded(milliseconds))


def _rounded(milliseconds: float) -> float:
    return float(f"{milliseconds:.4g}")


Chosen: TypeAlias = dict[Key, Choice]


def choose_plans(
    transforms: Transforms, scans: Iterable[Scan], linears: Iterable[ComplexLinear], rates: Rates, timer: Timer
) -> Chosen:
    """Measure the plans of every length, and the forms of scans and complex linear layers of every size, that leave a
    choice.

    Args:
        transforms, scans, linears: as a first compilation lists them.
        rates: of the engine, for the estimates.
        timer: measures.

    Returns:
        By length and by size; those of which only one plan is worth trying are not in it.
    """
    found: Chosen = {}
    for default, tasks in _defaults(transforms).items():
        plans = _worth_measuring(default, rates, tasks)
        if len(plans) > 1:
            found[default.n] = _confirmed(plans, tasks, timer)
    for size, form in {size_of(scan): form_of(scan.form, scan.factors) for scan in scans if scan.length}.items():
        ways = _forms_worth_measuring(form, size, rates)
        if len(ways) > 1:
            found[size] = _confirmed(ways, [size], timer)
    for layer, name in {layer_of(each): each.form for each in linears}.items():
        found[layer] = _confirmed(
            [FORMS[name], *(each for each in FORMS.values() if each.name != name)], [layer], timer
        )
    return found


def _confirmed(ways: Sequence[Way], tasks: Iterable[Task], timer: Timer) -> Choice:
    """Measure all, and once more the first together with whatever seems to be clearly faster."""

    def measured(some: Sequence[Way]) -> dict[Way, float]:
        times = np.sum([timer(task, some) for task in tasks], axis=0)
        return dict(zip(some, times.tolist(), strict=True))

    times, compared = measured(ways), {ways[0]}
    while (choice := Choice(tuple(times.items()))).plan not in compared:
        again = measured([choice.default, choice.plan])
        times |= {way: min(milliseconds, times[way]) for way, milliseconds in again.items()}
        compared.add(choice.plan)
    return choice


def with_measurements(rows: Iterable[Row], chosen: Chosen) -> tuple[Row, ...]:
    """Transforms, scans or complex linear layers, with what was measured for their lengths or sizes."""
    return tuple(chosen[key].recorded(row) if (key := _key_of(row)) in chosen else row for row in rows)


def _key_of(row: Transform | Scan | ComplexLinear) -> Key | None:
    """What it is measured as; None where it leaves no choice."""
    if isinstance(row, Transform):
        return row.length if _has_plan(row) else None
    if isinstance(row, Scan):
        return size_of(row) if row.length else None
    return layer_of(row)


def _plan_of(transform: Transform) -> Plan:
    return Plan(transform.length, transform.factors)


def _has_plan(transform: Transform) -> bool:
    """Whether it is a whole transform; parts of one are products with one matrix."""
    plan = _plan_of(transform)
    whole = FRAMES if transform.hop is not None and plan.is_dense else plan.kind
    return transform.columns is not None and transform.kind == whole


def _defaults(transforms: Transforms) -> dict[Plan, list[Signals]]:
    """For each length the plan that comes first, and what plans for it are used for, each once."""
    plans: dict[int, Plan] = {}
    found: dict[int, dict[Signals, None]] = {}
    for each in transforms:
        if each.columns is not None and _has_plan(each):
            plans.setdefault(each.length, _plan_of(each))
            found.setdefault(each.length, {})[Signals(each.length, each.columns, each.hop)] = None
    return {plan: list(found[n]) for n, plan in plans.items()}


def _worth_measuring(default: Plan, rates: Rates, tasks: Iterable[Signals]) -> list[Plan]:
    """The default, and the others from the smallest estimate on."""
    estimates = {
        plan: sum(nanoseconds(task.work(plan), rates, task.columns) for task in tasks) for plan in candidates(default.n)
    }
    limit = HOPELESS * min(estimates.values())
    others = [plan for plan in sorted(estimates, key=estimates.__getitem__) if plan != default]
    return [default, *(plan for plan in others[: MOST_CANDIDATES - 1] if estimates[plan] <= limit)]


def _forms_worth_measuring(default: Form, size: Size, rates: Rates) -> list[Form]:
    """The default, and the best of each other kind and number of steps, from the smallest estimate on."""
    estimates = {form: forms.estimate(form, size, rates) for form in forms.candidates(size)}
    limit = HOPELESS_FORM * min(estimates.values())
    found = [default]
    for form in sorted(estimates, key=estimates.__getitem__):
        if estimates[form] <= limit and not any(_is_nearly(form, other) for other in found):
            found.append(form)
    first = {kind_of(form): form for form in reversed(found[1:])}.values()  # of each kind
    return list(dict.fromkeys([default, *first, *found[1:]]))[:MOST_FORMS]


def _is_nearly(form: Form, other: Form) -> bool:
    """Whether two are one, or of one kind and nearly as many steps."""
    if isinstance(form, Loop) and isinstance(other, Loop):
        low, high = sorted((form.steps, other.steps))
        return high < NEARLY * low
    return form == other or (kind_of(form) == kind_of(other) == "tree")


def engine_timer(build: Build, batch: int, device: str | None = None) -> Timer:
    """A timer that exports and runs.

    Args:
        build: makes bundles for the target and the precision wanted.
        batch: of every run.
        device: of the engine; None for its default.
    """

    def milliseconds(task: Task, ways: Sequence[Way]) -> list[float]:
        module, inputs = trial_of(task, batch)
        with scratch_folder() as folder, ExitStack() as stack:
            runs = []
            for number, way in enumerate(ways):
                bundle = folder / str(number)
                bundle.mkdir()
                build(module, inputs, {task.length if isinstance(task, Signals) else task: way}, bundle)
                runs.append(_run(stack.enter_context(Engine(bundle, device=device)), [each.numpy() for each in inputs]))
            return _milliseconds(runs)

    return milliseconds


def _run(engine: Engine, inputs: Sequence[np.ndarray]) -> Run:
    feed: Arrays = {spec.name: array for spec, array in zip(engine.manifest.inputs, inputs, strict=True)}
    return lambda: engine(feed)


def _milliseconds(runs: Sequence[Run]) -> list[float]:
    """Of each, at a low percentile of its turns: a slow moment of the machine only ever makes them longer."""
    turns = time_in_turn(dict(enumerate(runs)), 0.0, turn_seconds=TURN_SECONDS, fewest=ROUNDS)
    return [1e3 * float(np.percentile([turn.median for turn in each], PERCENTILE)) for each in turns.values()]
