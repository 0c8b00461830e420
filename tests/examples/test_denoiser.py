"""The denoiser: its bundle in Python and in C++, over a whole clip, against the model in eager PyTorch."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import hamsa_deploy
from hamsa_runtime import Engine
from hamsa_runtime.clips import load_clip

from ..cpp.building import built, run
from .conftest import EXAMPLES

SOURCE = EXAMPLES / "denoiser"
HALF_A_STEP = 2.0**-16  # of the 16 bits that are written
LEAST_GAIN = 6  # decibels: 14.5 and 22 when this was written


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    return runpy.run_path(str(SOURCE / "denoiser.py"))


@pytest.fixture(scope="module")
def folder(model: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the bundle and the two clips."""
    path = tmp_path_factory.mktemp("denoiser")
    inputs = model["example_inputs"]()
    hamsa_deploy.export(model["make"](), inputs, to="openvino", sample_rate=model["RATE"], output=path / "bundle")
    subprocess.run([sys.executable, SOURCE / "make_noisy.py"], cwd=path, check=True)
    return path


@pytest.fixture(scope="module")
def expected(model: dict[str, Any], folder: Path) -> np.ndarray:
    """What eager PyTorch makes of the noisy clip."""
    hop, delay, module = model["HOP"], model["DELAY"], model["make"]()
    clip = load_clip(folder / "noisy.wav")
    size = clip.shape[1]
    filled = np.pad(clip, ((0, 0), (0, -size % hop + delay)))
    with torch.inference_mode():
        blocks = [module(torch.from_numpy(block)) for block in np.split(filled, filled.shape[1] // hop, axis=1)]
    return torch.cat(blocks, -1).numpy()[0, delay : delay + size]


def test_in_python_over_a_clip(folder: Path, expected: np.ndarray) -> None:
    command = [SOURCE / "denoise.py", "bundle", "noisy.wav", "out.wav", "clean.wav"]
    printed = run([sys.executable, *command], folder).split()
    before, after = float(printed[1]), float(printed[4])
    assert after > before + LEAST_GAIN
    assert np.abs(load_clip(folder / "out.wav")[0] - expected).max() < HALF_A_STEP + 2e-6


def test_in_cpp_over_the_same_clip(folder: Path, expected: np.ndarray, tmp_path: Path) -> None:
    run(["cmake", "--install", built(), "--prefix", tmp_path / "prefix"], tmp_path)
    run(["cmake", "-G", "Ninja", "-S", SOURCE, "-B", ".", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"], tmp_path)
    run(["cmake", "--build", "."], tmp_path)
    run([tmp_path / "denoise", "bundle", "noisy.wav", tmp_path / "out.wav"], folder)
    assert np.abs(load_clip(tmp_path / "out.wav")[0] - expected).max() < HALF_A_STEP + 2e-6
    done = subprocess.run([tmp_path / "denoise", "bundle", "none.wav", "out"], cwd=folder, capture_output=True)
    assert (done.returncode, done.stderr[:32]) == (2, b"denoise: none.wav: no such audio")


def test_a_block_is_a_file_for_hamsa_run(folder: Path, tmp_path: Path) -> None:
    block = load_clip(folder / "noisy.wav")[:, :128]
    soundfile.write(tmp_path / "block.wav", block.T, 16000, "FLOAT")
    run([built() / "hamsa-run", "--device", "auto", "--save", tmp_path, "bundle", tmp_path / "block.wav"], folder)
    with Engine(folder / "bundle") as engine:
        expected = engine(tmp_path / "block.wav")["output"]
        np.testing.assert_allclose(np.load(tmp_path / "0-output.npy"), expected, atol=1e-6)


def test_bad_usage(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    main = runpy.run_path(str(SOURCE / "denoise.py"))["main"]
    monkeypatch.chdir(folder)
    assert main([]) == 2
    assert main(["bundle", "bundle/manifest.json", "out.wav"]) == 2
    assert "not an audio file" in capsys.readouterr().err
