"""`--tune`: of each transform length the few plans with the smallest estimates, measured where the model will run.

What is measured is a forward transform, a gate and an inverse transform, exported and run as the model itself will be:
by the target's engine, in the precision asked for. The cost model's choice stays unless another plan is clearly faster,
and is so again when the two are measured once more: noise shall not decide. What disturbs a measurement only ever makes
it longer, so a low percentile of several counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hamsa_deploy.measure.interleaved import Run, time_in_turn
from hamsa_deploy.spectral.costs import Rates, nanoseconds
from hamsa_deploy.spectral.factorisations import Plan, candidates
from hamsa_runtime import Engine
from hamsa_runtime.manifest import Measurement, Transform
from hamsa_runtime.whole_files import scratch_folder

# A plan is preferred to the model's choice if it takes at most this share of its time: medians of repeated
# measurements differ by 1 to 3 % on a machine that does nothing else.
CLEARLY_FASTER = 0.95
MOST_CANDIDATES = 4
# What is estimated to take longer than this many times the smallest estimate is not measured.
HOPELESS = 2.0

ROUNDS = 15
PERCENTILE = 25
TURN_SECONDS = 0.002

Transforms = Sequence[Transform]
# From a length, a number of columns and plans to the milliseconds of each.
Timer = Callable[[int, int, Sequence[Plan]], Sequence[float]]
# Exports a module with an example input and the plans of some lengths to a bundle in an empty folder.
Build = Callable[[nn.Module, Tensor, Mapping[int, Plan], Path], None]


@dataclass(frozen=True)
class Choice:
    """What was measured for one length.

    Args:
        measured: (plan, milliseconds for all columns that the model has), the cost model's choice first.
    """

    measured: tuple[tuple[Plan, float], ...]

    @property
    def default(self) -> Plan:
        """The cost model's choice."""
        return self.measured[0][0]

    @property
    def plan(self) -> Plan:
        """The fastest plan, if it is clearly faster than the default."""
        fastest, milliseconds = min(self.measured, key=lambda pair: pair[1])
        return fastest if milliseconds <= CLEARLY_FASTER * self.measured[0][1] else self.default

    @property
    def recorded(self) -> tuple[Measurement, ...]:
        """For the manifest's `measured`."""
        return tuple(Measurement(plan.factors, float(f"{time:.4g}")) for plan, time in self.measured)


def choose_plans(transforms: Transforms, rates: Rates, timer: Timer) -> dict[int, Choice]:
    """Measure the plans of every length that leaves a choice.

    Args:
        transforms: as a first compilation lists them, with their columns.
        rates: of the engine, for the estimates.
        timer: measures.

    Returns:
        By length; lengths of which only one plan is worth trying are not in it.
    """
    found = {}
    for default, columns in _defaults(transforms).items():
        plans = _worth_measuring(default, rates, columns)
        if len(plans) > 1:
            found[default.n] = _confirmed(plans, columns, timer)
    return found


def _confirmed(plans: Sequence[Plan], columns: Iterable[int], timer: Timer) -> Choice:
    """Measure all, and once more the first together with whatever seems to be clearly faster."""

    def measured(some: Sequence[Plan]) -> dict[Plan, float]:
        times = np.sum([timer(some[0].n, each, some) for each in columns], axis=0)
        return dict(zip(some, times.tolist(), strict=True))

    times, compared = measured(plans), {plans[0]}
    while (choice := Choice(tuple(times.items()))).plan not in compared:
        again = measured([choice.default, choice.plan])
        times |= {plan: min(milliseconds, times[plan]) for plan, milliseconds in again.items()}
        compared.add(choice.plan)
    return choice


def with_measurements(transforms: Transforms, chosen: Mapping[int, Choice]) -> tuple[Transform, ...]:
    """The transforms, with what was measured for their lengths."""
    return tuple(
        replace(each, measured=chosen[each.length].recorded) if _has_plan(each) and each.length in chosen else each
        for each in transforms
    )


def _plan_of(transform: Transform) -> Plan:
    return Plan(transform.length, transform.factors)


def _has_plan(transform: Transform) -> bool:
    """Whether it is a whole transform; parts of one are products with one matrix."""
    return transform.columns is not None and transform.kind == _plan_of(transform).kind


def _defaults(transforms: Transforms) -> dict[Plan, list[int]]:
    """The plan of each length, and the numbers of columns that it is used for, each once."""
    found: dict[Plan, dict[int, None]] = {}
    for each in transforms:
        if each.columns is not None and _has_plan(each):
            found.setdefault(_plan_of(each), {})[each.columns] = None
    return {plan: list(columns) for plan, columns in found.items()}


def _worth_measuring(default: Plan, rates: Rates, columns: Iterable[int]) -> list[Plan]:
    """The default, and the others from the smallest estimate on."""
    estimates = {plan: sum(nanoseconds(plan.work, rates, each) for each in columns) for plan in candidates(default.n)}
    limit = HOPELESS * min(estimates.values())
    others = [plan for plan in sorted(estimates, key=estimates.__getitem__) if plan != default]
    return [default, *(plan for plan in others[: MOST_CANDIDATES - 1] if estimates[plan] <= limit)]


class RoundTrip(nn.Module):
    """Forward transform, gate by the power, inverse transform, along the second dimension."""

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.fft(x, dim=1, norm="ortho")
        return torch.fft.ifft(z * (z.real * z.real + z.imag * z.imag), dim=1, norm="ortho").real


def engine_timer(build: Build, batch: int) -> Timer:
    """A timer that exports and runs.

    Args:
        build: makes bundles for the target and the precision wanted.
        batch: of every run.
    """

    def milliseconds(n: int, columns: int, plans: Sequence[Plan]) -> list[float]:
        x = np.random.default_rng(0).standard_normal((batch, n, columns), dtype=np.float32)
        with scratch_folder() as folder, ExitStack() as stack:
            runs = []
            for number, plan in enumerate(plans):
                bundle = folder / str(number)
                bundle.mkdir()
                build(RoundTrip().eval(), torch.from_numpy(x), {n: plan}, bundle)
                runs.append(_run(stack.enter_context(Engine(bundle)), x))
            return _milliseconds(runs)

    return milliseconds


def _run(engine: Engine, x: np.ndarray) -> Run:
    return lambda: engine(x)


def _milliseconds(runs: Sequence[Run]) -> list[float]:
    """Of each, at a low percentile of its turns: a slow moment of the machine only ever makes them longer."""
    turns = time_in_turn(dict(enumerate(runs)), 0.0, turn_seconds=TURN_SECONDS, fewest=ROUNDS)
    return [1e3 * float(np.percentile([turn.median for turn in each], PERCENTILE)) for each in turns.values()]
