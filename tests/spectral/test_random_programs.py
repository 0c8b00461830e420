"""Random programs over everything that has a rule, in float64 and float32, against eager PyTorch in complex128."""

from __future__ import annotations

from hypothesis import given

from .programs import check_both_precisions
from .random_programs import RandomProgram, programs


@given(programs())
def test_a_random_program_equals_eager_pytorch(program: RandomProgram):
    check_both_precisions(program.model, program.inputs)
