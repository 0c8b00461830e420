"""One file per engine that a bundle can be made for, found by its name, with all that there is to know of it."""

from __future__ import annotations

from importlib import import_module

from hamsa_deploy.targets.record import Target
from hamsa_runtime.cli.habits import FORMATS, PRECISIONS_ELSEWHERE
from hamsa_runtime.errors import InputError, unknown_name
from hamsa_runtime.vocabulary import TARGETS


def target_of(name: str) -> Target:
    """The record of a target, from the file of its name: a list of imports would be a second list of names.

    Raises:
        InputError: there is no such target; names the nearest, and all that there are.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS, FORMATS)
    record: Target = import_module(f"{__name__}.{name.replace('-', '_')}").TARGET
    return record


def all_targets() -> tuple[Target, ...]:
    """Every record, in the order in which people name them."""
    return tuple(map(target_of, TARGETS))


def check_precision(target: Target, precision: str) -> None:
    """Raise InputError unless bundles of this precision can be made for the target; says for which they can."""
    if precision in target.precisions:
        return
    able = [each.name for each in all_targets() if precision in each.precisions]
    ours = PRECISIONS_ELSEWHERE.get(precision, "")
    raise InputError(
        f"precision {precision} for {target.name}",
        expected=f"one of {', '.join(target.precisions)}",
        cause=target.lacks.get(precision, ""),
        fix=f"--to {able[0]} --{precision}" if able else ours,
    )
