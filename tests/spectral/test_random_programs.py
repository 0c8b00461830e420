"""Random programs over everything that has a rule, in float64 and float32, against eager PyTorch in complex128."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, Phase, find, given, note, settings

from hamsa_deploy import to_real
from hamsa_deploy.spectral.errors import UnsupportedOperatorError

from .programs import check_both_precisions
from .random_operations import BESIDE, GENERAL, MIXING, WITHOUT_A_RULE, lines
from .random_plans import plans_numbered
from .random_programs import RandomProgram, programs, single

FIRST_FOUND = settings(phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@given(programs())
def test_a_random_program_equals_eager_pytorch(program: RandomProgram) -> None:
    note(program.script)
    check_both_precisions(program.model, program.inputs, plans=plans_numbered(program.plans))


@pytest.mark.parametrize("table", [*GENERAL, lines(MIXING), lines(BESIDE)], ids=lambda table: table[0])
def test_every_operation_can_be_drawn(table: list[str]) -> None:
    """No line of a table is dead: it fits some variables, runs, and is well conditioned."""
    for template in table:
        program = find(single(template), lambda program: True, settings=FIRST_FOUND)
        assert program.templates == [template]


@pytest.mark.parametrize("template", lines(WITHOUT_A_RULE))
def test_an_operation_without_a_rule_is_refused(template: str) -> None:
    """One that is not refused any more belongs in a table of those that are drawn."""
    program = find(single(template), lambda program: True, settings=FIRST_FOUND)
    dtypes = (torch.float64, torch.complex128)
    with pytest.raises(UnsupportedOperatorError):
        to_real(program.model(*dtypes), program.inputs(*dtypes), dynamic_shapes={})
