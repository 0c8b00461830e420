"""A model that moves as far by itself as its bundle is away: the cause is named, and the verdict stays."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.parity import check_parity
from hamsa_deploy.parity.conditioning import moved, own_errors, unit_of
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import ParityError


class Magnitudes(nn.Module):
    """sin(a |rfft(x)|): with a large a float32's last bits decide."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.a * torch.fft.rfft(x).abs())


SIGNAL = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))


def exported(a: float, output: Path) -> Bundle:
    return hamsa_deploy.export(Magnitudes(a).eval(), (SIGNAL,), to="onnx", output=output, data=SIGNAL.numpy())


def test_a_model_that_one_rounding_moves_as_far_is_said_to_be_ill_conditioned(tmp_path: Path) -> None:
    with pytest.raises(ParityError) as caught:
        hamsa_deploy.export(
            Magnitudes(3e5).eval(), (SIGNAL,), to="onnx", output=tmp_path / "bundle", data=SIGNAL.numpy()
        )
    assert "ill-conditioned: output moves by 0." in caught.value.cause
    assert "one unit in the last place of float32, and the bundle is 0." in caught.value.cause
    assert "does not compute" not in caught.value.cause
    assert not (tmp_path / "bundle").exists()


class Harmonics(nn.Module):
    """Phases of what is made of weights: rounding decides where the input does not come in."""

    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Parameter(torch.randn(64, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3e5 * torch.fft.rfft(self.source.tanh()).abs()) + 0 * x


def test_weights_move_as_inputs_do(tmp_path: Path) -> None:
    with pytest.raises(ParityError) as caught:
        hamsa_deploy.export(Harmonics().eval(), (torch.ones(2, 33),), to="onnx", output=tmp_path / "bundle")
    assert "ill-conditioned: output moves by " in caught.value.cause


def test_a_wrong_bundle_of_a_well_conditioned_model_is_not_excused(tmp_path: Path) -> None:
    bundle = hamsa_deploy.export(
        Magnitudes(1.0).eval(), (SIGNAL,), to="onnx", output=tmp_path / "bundle", data=SIGNAL.numpy()
    )
    report = check_parity(bundle, Magnitudes(1.1).eval(), SIGNAL.numpy())
    assert not report.passed
    assert report.ill_conditioned == ""


@pytest.mark.parametrize(("precision", "unit"), [("fp32", 2.0**-23), ("fp16", 2.0**-10), ("bf16", 2.0**-7)])
def test_inputs_move_by_one_unit_in_the_last_place(precision: str, unit: float) -> None:
    assert unit_of(precision) == unit
    x = np.array([1.0, -1.0, 0.0], np.float32)
    away = np.abs(moved(x, unit, torch.Generator().manual_seed(0)) - x)
    assert away[:2] == pytest.approx(unit)
    assert away[2] == 0


def test_int8_has_no_last_place_and_whole_numbers_stay() -> None:
    assert unit_of("int8") is None
    x = np.arange(5)
    assert moved(x, 0.5, torch.Generator()) is x


def test_the_largest_draw_counts_relative_to_each_inputs_own_output() -> None:
    expected = {"y": np.outer([1.0, 100.0], np.linspace(-1, 1, 21))}
    draws = itertools.chain([0.0, 0.5], itertools.repeat(0.25))
    found = own_errors(lambda move: {"y": expected["y"] + next(draws)}, expected, 1.0, settled=lambda own: False)["y"]
    assert found == pytest.approx([0.5, 0.005], rel=1e-3)


def test_draws_go_on_until_one_settles_it() -> None:
    """A phase crosses its cut in some of them."""
    expected, draws = {"y": np.ones((1, 4))}, iter([0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 9.0])
    found = own_errors(lambda move: {"y": expected["y"] + next(draws)}, expected, 1.0, lambda own: own["y"].max() > 0.1)
    assert found["y"] == pytest.approx([0.5], rel=1e-3)
    assert next(draws) == 9.0
