"""Which operators PyTorch takes apart, and when. What comes of it is checked program by program in test_rules.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hamsa_deploy.spectral.compiler import supported_operators
from hamsa_deploy.spectral.compiler.composites import decompositions, has_any, taken_apart_if_complex
from hamsa_deploy.spectral.dispatch import operator_name

from ..programs import Program

Z = torch.ones(2, dtype=torch.complex64)


def test_operators_with_a_rule_are_never_taken_apart() -> None:
    taken_apart = {operator_name(op) for op in decompositions() if op != torch.ops.aten.stft.center}
    assert taken_apart
    assert not taken_apart & set(supported_operators())


def test_only_with_a_complex_value_is_an_operator_taken_apart() -> None:
    decompose = taken_apart_if_complex(lambda *args, **kwargs: "pieces")
    assert decompose(Z.real) is NotImplemented
    assert decompose([Z.real, 2.0], dim=0) is NotImplemented
    assert decompose([Z.real, Z]) == "pieces"
    assert decompose(Z.real, 1j) == "pieces"
    assert decompose((2,), dtype=torch.complex64) == "pieces"


def test_a_decomposition_that_refuses_complex_values_leaves_its_operator_to_be_named() -> None:
    def refuse(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("complex values are not supported")

    assert taken_apart_if_complex(refuse)(Z) is NotImplemented


PROGRAMS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "operators with rules": (lambda x: torch.fft.ifft(torch.fft.fft(x) * 2).abs(), False),
    "a real operator that PyTorch does not compose": (lambda x: torch.fft.rfft(x).abs().sigmoid(), False),
    "a real part": (lambda x: torch.fft.fft(x).real, False),
    "a composed real operator that needs all of a spectrum": (lambda x: torch.fft.fft(x).abs().flatten(), False),
    "a composed real operator that does with half a spectrum": (lambda x: torch.fft.fft(x).abs().multiply(2), True),
    "a composed real operator before the first transform": (lambda x: torch.fft.fft(x.double()).abs(), False),
    "a composed real operator of another value than the transform": (
        lambda x: torch.fft.fft(x).abs() + x.multiply(2),
        False,
    ),
    "sizes that are computed": (lambda x: torch.fft.fft(x).abs().reshape(x.shape[0] * 3, -1), False),
    "a write": (lambda x: torch.fft.fft(x).abs().add_(1), True),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_only_programs_with_something_to_take_apart_are_traced_for_it(name: str) -> None:
    call, expected = PROGRAMS[name]
    assert has_any(torch.export.export(Program(call), (torch.ones(2, 3),))) is expected
