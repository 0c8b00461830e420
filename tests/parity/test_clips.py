"""A model of clips: each is a call of its own, whatever its length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn
from torch.export import Dim

import hamsa_deploy
from hamsa_deploy.parity import check_against
from hamsa_deploy.parity.comparison import run_bundle, run_model
from hamsa_deploy.parity.variations import other_sizes
from hamsa_deploy.samples.synthesis import LOUDNESS
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError, ParityError

RATE = 8000


class Smoothing(nn.Module):
    """With an answer that depends on the whole of a clip."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(1, 1, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x[:, None])[:, 0] / (0.1 + x.abs().mean(-1, keepdim=True))


@pytest.fixture(scope="module")
def model() -> Smoothing:
    torch.manual_seed(0)
    return Smoothing().eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of clips of three lengths, one of them silent but for a click, and something else."""
    path = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for number, (samples, loudness) in enumerate([(300, 0.5), (417, 1e-4), (64, 0.9)]):
        clip = rng.uniform(-loudness, loudness, samples)
        soundfile.write(path / f"{number}.{'flac' if number else 'wav'}", clip, RATE, "PCM_24")
    (path / "notes.txt").write_text("no clip")
    return path


def clips_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*"))


@pytest.fixture(scope="module")
def bundle(model: Smoothing, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    shapes = ({0: Dim("batch"), 1: Dim("samples", min=16, max=500)},)
    return hamsa_deploy.export(
        model, (torch.zeros(1, 200),), to="onnx", dynamic_shapes=shapes, sample_rate=RATE, data=folder,
        output=tmp_path_factory.mktemp("b") / "bundle",
    )  # fmt: skip


def test_clips_of_several_lengths_are_compared_one_by_one(bundle: Bundle, model: Smoothing, folder: Path) -> None:
    audio, parity = bundle.manifest.audio, bundle.manifest.parity
    assert audio is not None
    assert (audio.input, audio.sample_rate, audio.channels) == ("x", RATE, 1)
    assert parity is not None
    assert parity.images == 3
    report = hamsa_deploy.check_parity(bundle, model, clips_in(folder))
    assert [Path(name).name for name in report.image_names] == ["0.wav", "1.flac", "2.flac"]
    assert report.passed


def test_the_samples_are_there_namednothing_is_named(bundle: Bundle, model: Smoothing, tmp_path: Path) -> None:
    other = hamsa_deploy.export(model, (torch.ones(1, 200),), to="onnx", sample_rate=RATE, output=tmp_path / "b")
    assert other.manifest.parity is not None
    assert other.manifest.parity.images == 8
    with Engine(other.folder) as engine, torch.inference_mode():
        for batch in (1, 3):
            x = np.random.default_rng(0).uniform(-1, 1, (batch, 200)).astype(np.float32)
            np.testing.assert_allclose(engine(x)["output"], model(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_one_clip_that_differs_fails(bundle: Bundle, model: Smoothing, folder: Path) -> None:
    """The quiet one alone: it is judged by itself."""

    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = model(x)
            return y * torch.where(x.abs().max() < 1e-3, 1.01, 1.0)

    report = hamsa_deploy.check_parity(bundle, Other().eval(), clips_in(folder))
    assert not report.passed
    [agreement] = report.agreements.values()
    assert [bool(error > 1e-3) for error in agreement.relative_error] == [False, True, False]


def test_an_output_of_another_length_fails_even_namedjoining_would_fill_it_up(
    bundle: Bundle, model: Smoothing, folder: Path
) -> None:
    class Longer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = model(x)
            return nn.functional.pad(y, (0, 1)) if x.shape[-1] == 64 else y

    with pytest.raises(ParityError, match=r"\(1, 64\)"):
        hamsa_deploy.check_parity(bundle, Longer().eval(), clips_in(folder))


def test_two_bundles_are_compared_on_clips(bundle: Bundle, folder: Path) -> None:
    report = check_against(bundle, bundle, clips_in(folder))
    assert (report.passed, report.images) == (True, 3)


def test_a_sample_rate_is_for_clips(model: Smoothing, tmp_path: Path) -> None:
    for example, found in ((torch.zeros(1, 2, 3, 4), "x: float32"), (torch.zeros(1, 4, dtype=torch.int64), "x: int64")):
        with pytest.raises(InputError, match=f"a sample rate for a model with {found}"):
            hamsa_deploy.export(Double().eval(), (example,), to="onnx", sample_rate=RATE, output=tmp_path / "b")


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Running(nn.Module):
    """A loudness that is kept."""

    level: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("level", torch.zeros(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.level = 0.9 * self.level + x.abs().mean(-1, keepdim=True)
        return x / (0.01 + self.level)


def test_of_a_model_with_state_whole_clips_are_compared(folder: Path, tmp_path: Path) -> None:
    """A block of rounding, such as silence, tells nothing by itself."""
    model = Running().eval()
    bundle = hamsa_deploy.export(
        model, (torch.zeros(1, 50),), to="onnx", sample_rate=RATE, data=folder, output=tmp_path / "b"
    )
    assert [state.name for state in bundle.manifest.states] == ["level"]
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.images == 3
    with Engine(bundle.folder) as engine:
        blocks = [each["output"] for each in engine.stream(clips_in(folder))]
    assert [block.shape for block in blocks] == [(1, 50)] * (6 + 9 + 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hamsa_runtime.states.CarriedStates.take", lambda self, outputs: None)
        assert not hamsa_deploy.check_parity(bundle, model, clips_in(folder)).passed
    # Each clip by itself: model and bundle start anew with it.
    together = run_model(model, clips_in(folder), bundle.manifest)[1]["output"]
    for row, clip in zip(together, clips_in(folder), strict=True):
        [alone] = run_model(model, [clip], bundle.manifest)[1]["output"]
        assert np.array_equal(row[: len(alone)], alone)
    rows = run_bundle(bundle, clips_in(folder))["output"]
    of_bundle = [row[:number, 0] for row, number in zip(rows, (6, 9, 2), strict=True)]
    assert np.array_equal(np.concatenate(blocks), np.concatenate(of_bundle))


@pytest.mark.parametrize("where", ["data", "calibration"])
def test_clips_of_another_length_than_the_model_takes_are_refused_before_it_is_written(
    where: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamsa_deploy.pipeline.run.write_files", None)
    named: Any = {"data": folder} if where == "data" else {"calibration": folder, "precision": "int8"}
    with pytest.raises(InputError, match=r"1\.flac: 417 samples") as caught:
        hamsa_deploy.export(
            Double().eval(), (torch.zeros(1, 300),), to="onnx", sample_rate=RATE, output=tmp_path / "b", **named
        )
    assert "--dynamic x:1=samples" in caught.value.fix


def test_other_lengths_are_tried_on_clips_too(bundle: Bundle) -> None:
    """Noise is louder than they are, and beyond int8's ranges."""
    sizes = [arrays["x"].shape for _, arrays in other_sizes(bundle.manifest)]
    assert sizes == [(2, 201), (2, 199), (2, 101), (2, 400)]
    assert all(np.abs(arrays["x"]).max() <= LOUDNESS for _, arrays in other_sizes(bundle.manifest))
