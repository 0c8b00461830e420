"""One file per engine that a bundle can be made for, found by its name, with all that there is to know of it."""

from __future__ import annotations

from importlib import import_module

from hamsa_deploy.targets.record import Target
from hamsa_runtime.errors import unknown_name
from hamsa_runtime.vocabulary import TARGETS


def target_of(name: str) -> Target:
    """The record of a target, from the file of its name: a list of imports would be a second list of names.

    Raises:
        InputError: there is no such target; names the nearest, and all that there are.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    record: Target = import_module(f"{__name__}.{name.replace('-', '_')}").TARGET
    return record


def all_targets() -> tuple[Target, ...]:
    """Every record, in the order in which people name them."""
    return tuple(map(target_of, TARGETS))
