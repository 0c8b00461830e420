"""Plans that the cost model would not choose: every length has several, and all of them must be exact."""

from __future__ import annotations

from functools import cache

from hamsa_runtime.dft.factorisations import Plan, candidates

LONGEST = 1100  # no transform of a random program is longer
MOST_CHOICES = 12


@cache
def plans_numbered(choice: int) -> dict[int, Plan]:
    """For each length its plan with that number, counted round; for 0 the cost model's choice of each."""
    if choice == 0:
        return {}
    return {n: plans[choice % len(plans)] for n, plans in _all_plans().items()}


@cache
def _all_plans() -> dict[int, list[Plan]]:
    return {n: list(candidates(n)) for n in range(1, LONGEST + 1)}
