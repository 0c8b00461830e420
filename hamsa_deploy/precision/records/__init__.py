"""One file per precision that a bundle can be in, found by its name, with all that there is to know of it."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from hamsa_deploy.precision.records.record import Precision
from hamsa_runtime.errors import unknown_name
from hamsa_runtime.vocabulary import PRECISIONS


@cache
def precision_of(name: str) -> Precision:
    """The record of a precision, from the file of its name: a list of imports would be a second list of names.

    Raises:
        InputError: there is no such precision; names the nearest, and all that there are.
    """
    if name not in PRECISIONS:
        raise unknown_name("precision", name, PRECISIONS)
    record: Precision = import_module(f"{__name__}.{name}").PRECISION
    return record


def all_precisions() -> tuple[Precision, ...]:
    """Every record, from float32 downwards."""
    return tuple(map(precision_of, PRECISIONS))
