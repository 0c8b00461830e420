"""A model that keeps something between calls is compared over several of them, in order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.bench.candidates import opened_bundle
from hamsa_deploy.form.from_request import example_data
from hamsa_deploy.parity.layers import layer_report
from hamsa_deploy.pipeline.staging import Stage
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle


class Averages(nn.Module):
    """Slowly: one call alone hardly shows it."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 16)
        self.register_buffer("mean", torch.full((1, 9), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft(x)
        self.mean = 0.8 * self.mean + 0.2 * z.abs()
        return self.mix(torch.fft.irfft(z / (1 + self.mean)))


@pytest.fixture(scope="module")
def model() -> Averages:
    torch.manual_seed(0)
    return Averages().eval()


@pytest.fixture
def bundle(model: Averages, tmp_path: Path) -> Bundle:
    return hamsa_deploy.export(model, (torch.ones(1, 16),), to="onnx", output=tmp_path / "bundle")


def test_ten_calls_are_compared_and_the_model_is_left_as_it_was(model: Averages, bundle: Bundle) -> None:
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.images == 10
    assert torch.equal(model.mean, torch.full((1, 9), 3.0))
    assert hamsa_deploy.check_parity(bundle, model, {"x": np.ones((1, 16), np.float32)}).images == 1


@pytest.mark.parametrize("wrong", ["zeros at first", "not carried"])
def test_a_bundle_that_starts_or_goes_on_otherwise_fails(wrong: str, model: Averages, bundle: Bundle) -> None:
    [state] = bundle.manifest.states
    if wrong == "zeros at first":
        states = (dataclasses.replace(state, stored=False),)
        Stage(bundle.folder, bundle.folder).write_manifest(dataclasses.replace(bundle.manifest, states=states))
        report = hamsa_deploy.check_parity(bundle.folder, model, _calls())
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hamsa_runtime.states.CarriedStates.take", lambda self, outputs: None)
            report = hamsa_deploy.check_parity(bundle, model, _calls())
    assert not report.passed


def _calls() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((1, 16)).astype(np.float32)} for _ in range(4)]


def test_int8_is_calibrated_on_what_the_calls_leave(model: Averages, tmp_path: Path) -> None:
    """With the first value of the state alone, ranges would be those of a first call."""
    rng = np.random.default_rng(1)
    calls = [{"x": rng.standard_normal((1, 16)).astype(np.float32)} for _ in range(16)]
    bundle = hamsa_deploy.export(
        model, (torch.ones(1, 16),), to="onnx", precision="int8", calibration=calls, calibration_method="min-max",
        output=tmp_path / "bundle",
    )  # fmt: skip
    with Engine(bundle.folder) as engine, torch.inference_mode():
        errors = [np.abs(engine(call)["output"] - model(torch.from_numpy(call["x"])).numpy()).max() for call in calls]
    assert max(errors) < 0.05


def test_layers_are_compared_in_a_call_that_goes_on_from_others(model: Averages, bundle: Bundle) -> None:
    report = layer_report(bundle.folder, model, _calls())
    assert report.divergence is None
    assert report.images == 1
    assert {row.module for row in report.rows} >= {"mix"}


def test_an_engine_is_timed_with_what_the_bundle_starts_with(bundle: Bundle) -> None:
    with opened_bundle(bundle.folder, 1, None) as run:
        found: Any = run()
    assert found["next.mean"].shape == (1, 9)


class Lagging(nn.Module):
    """What it gives first is what came before the first block: rounding."""

    heard: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Identity()
        self.register_buffer("heard", torch.zeros(1, 32))

    def forward(self, x: Tensor) -> Tensor:
        frame = torch.cat([self.heard, x], -1)
        self.heard = frame[:, 16:]
        return self.inner(torch.fft.irfft(torch.fft.rfft(frame) * 0.5))[:, :16]


def test_layers_are_not_judged_by_a_block_of_rounding(tmp_path: Path) -> None:
    model = Lagging().eval()
    bundle = hamsa_deploy.export(model, (torch.zeros(1, 16),), to="onnx", sample_rate=8000, output=tmp_path / "bundle")
    with Engine(bundle.folder) as engine:
        assert np.abs(engine(np.ones((1, 16), np.float32))["output"]).max() < 1e-6
    assert layer_report(bundle.folder, model, example_data(bundle.manifest)).divergence is None
