"""The matrix of a sweep: one cell, and one export, for each target and precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from hamsa_deploy.form.request import Request
from hamsa_deploy.precision.records import all_precisions, precision_of
from hamsa_deploy.targets import all_targets, target_of
from hamsa_runtime.errors import InputError
from hamsa_runtime.vocabulary import AUTO

MEASURED = f"a precision of {' and '.join(each.name for each in all_precisions() if each.is_measured)}"
QUANTISED = f"the precision {' or '.join(each.name for each in all_precisions() if each.is_quantised)}"
WITH_BUILDER = f"a target of {' and '.join(each.name for each in all_targets() if each.has_builder)}"
# Fields of a Request that only some cells take, with their options and the cells that do.
SELECTIVE = {
    "calibration": ("--calibration", MEASURED),
    "calibration_method": ("--calibration-method", QUANTISED),
    "max_drop": ("--max-drop", QUANTISED),
    "builder": ("options of TensorRT's builder", WITH_BUILDER),
    "require_plan": ("--require-plan", WITH_BUILDER),
}


@dataclass(frozen=True)
class Cell:
    """One target and precision."""

    target: str
    precision: str

    def __str__(self) -> str:
        return f"{self.target} {self.precision}"

    def folder(self, name: str) -> str:
        """What the bundle's folder is called, as by a single export of the model of that name."""
        return f"{name}-{self.target}-{self.precision}"


def matrix(targets: Sequence[str], precisions: Sequence[str]) -> list[Cell]:
    """All cells, target by target; ratios of times are to the first that can be timed."""
    return [Cell(target, precision) for target in dict.fromkeys(targets) for precision in dict.fromkeys(precisions)]


def requests_for(base: Request, cells: Sequence[Cell]) -> dict[Cell, Request]:
    """What to export for each cell.

    Options that not every precision or target takes, such as a calibration, go to the cells that do.

    Raises:
        InputError: there is no such cell for one of them; or an option that chooses a precision by itself.
    """
    if base.only_where_it_pays:
        raise InputError(
            "--only-where-it-pays in a sweep",
            expected="the precisions of the sweep, each as it is: a sweep times them beside each other anyway",
            fix="leave it away; then --int8 --only-where-it-pays for the target that is the best",
        )
    requests = {cell: _request_for(base, cell) for cell in cells}
    for field, (option, expected) in SELECTIVE.items():
        given = getattr(base, field)
        is_given = given is not None and given is not False and given != AUTO  # a largest loss of 0 is one
        if is_given and not any(getattr(each, field) == given for each in requests.values()):
            raise InputError(
                f"{option} in a sweep over {', '.join(map(str, cells))}",
                expected=f"at least one cell that takes it: {expected}",
                fix="leave it away, or add such a cell",
            )
    return requests


def _request_for(base: Request, cell: Cell) -> Request:
    precision, has_builder = precision_of(cell.precision), target_of(cell.target).has_builder
    return dataclasses.replace(
        base,
        to=cell.target,
        precision=cell.precision,
        calibration=base.calibration if precision.is_measured else None,
        calibration_method=base.calibration_method if precision.is_quantised else AUTO,
        max_drop=base.max_drop if precision.is_quantised else None,
        builder=base.builder if has_builder else None,
        require_plan=base.require_plan and has_builder,
    )
