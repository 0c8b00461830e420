"""Item 3: the same JPEG, and the same decoded pixels, give the same outputs in Python and in C++."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.export import Dim

import hamsa_deploy
from hamsa_runtime import Engine
from hamsa_runtime.cli.run import main as run_in_python
from tests.shared import Nano

from .building import ROOT, run

PHOTO = ROOT / "hamsa_deploy/samples/photos/china_00.jpg"
PRECISIONS = ("fp32", pytest.param("fp16", marks=pytest.mark.slow), "int8")

# Both call the same library with the same bytes, so that they differ by nothing; the issue allows this much.
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=PRECISIONS)
def bundle(request: pytest.FixtureRequest, nano: Nano) -> Path:
    """The bundled model for OpenVINO."""
    return nano("openvino", request.param).folder


def in_cpp(build: Path, bundle: Path, image: Path, folder: Path) -> dict[str, np.ndarray]:
    run([build / "hamsa-run", "--threads", 1, "--save", folder, bundle, image], folder)
    return {path.stem[2:]: np.load(path) for path in folder.glob("0-*.npy")}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert sorted(found) == sorted(expected) == ["embedding", "logits"]
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert np.abs(found[name] - array).max() <= TOLERANCE * np.abs(array).max()


def test_outputs_agree(build: Path, bundle: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(PHOTO).convert("RGB"))  # resized by each runtime
    exact = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)  # of the model's size
    with Engine(bundle, threads=1) as engine:
        assert_same(in_cpp(build, bundle, PHOTO, tmp_path), engine(PHOTO))
        for array in (pixels, exact):
            np.save(tmp_path / "pixels.npy", array)
            assert_same(in_cpp(build, bundle, tmp_path / "pixels.npy", tmp_path), engine(array))


def test_the_command_prints_what_classify_gives(build: Path, bundle: Path, tmp_path: Path) -> None:
    with Engine(bundle, threads=1) as engine:
        [expected] = engine.classify(PHOTO, top=2)
    printed = run([build / "hamsa-run", "--threads", 1, "--top", 2, bundle, PHOTO], tmp_path).splitlines()
    assert printed == [str(PHOTO), *(f"  {100 * p:6.2f} %  {label}" for label, p in expected)]


class Frames(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True).abs()
        return {"turned": y.movedim(0, 1), "rows": y.transpose(1, 2).flatten(0, 1)}


def test_any_length_and_number_of_signals_agree(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = ({0: Dim("batch"), 1: Dim("samples", min=24, max=400)},)
    bundle = hamsa_deploy.export(
        Frames().eval(), (torch.ones(2, 48),), to="openvino", output=tmp_path / "b", dynamic_shapes=axes
    )
    assert [spec.batch_axis for spec in bundle.manifest.outputs] == [1, 0]
    with Engine(bundle.folder, threads=1) as engine:
        for shape in ((1, 24), (3, 333)):
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            np.save(tmp_path / "x.npy", x)
            found, expected = in_cpp(build, bundle.folder, tmp_path / "x.npy", tmp_path), engine(x)
            for name, array in expected.items():
                np.testing.assert_allclose(found[name], array, rtol=TOLERANCE, atol=TOLERANCE)
    printed = run([build / "hamsa-run", bundle.folder, tmp_path / "x.npy"], tmp_path)  # no classes: what there is
    assert run_in_python([str(bundle.folder), str(tmp_path / "x.npy")]) == 0
    assert printed == capsys.readouterr().out
    np.save(tmp_path / "x.npy", np.zeros((1, 401), np.float32))
    said = subprocess.run(
        [build / "hamsa-run", "--save", tmp_path, bundle.folder, tmp_path / "x.npy"], capture_output=True, text=True
    )
    assert (said.returncode, "the axis 'samples' is 401 in 'x'" in said.stderr) == (2, True)


class Overlaps(nn.Module):
    """Ten blocks of a signal, in frames of twice the length."""

    tail: torch.Tensor
    sums: torch.Tensor
    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tail", torch.linspace(-1, 1, 16).reshape(1, 16))
        self.register_buffer("sums", torch.zeros(1, 16))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frame = torch.cat([self.tail, x], -1) * torch.hann_window(32)
        self.tail.copy_(x)
        y = torch.fft.irfft(torch.fft.rfft(frame) * 0.5) + nn.functional.pad(self.sums, (0, 16))
        self.sums = y[:, 16:]
        self.calls += 1
        return y[:, :16] + self.calls


def test_what_a_model_keeps_is_carried_over_ten_calls(build: Path, tmp_path: Path) -> None:
    model = Overlaps().eval()
    bundle = hamsa_deploy.export(model, (torch.ones(1, 16),), to="openvino", output=tmp_path / "b")
    assert [state.stored for state in bundle.manifest.states] == [False, False, True]
    blocks = np.random.default_rng(0).standard_normal((10, 1, 16)).astype(np.float32)
    files = [tmp_path / f"{i}.npy" for i in range(10)]
    for file, block in zip(files, blocks, strict=True):
        np.save(file, block)
    run([build / "hamsa-run", "--threads", 1, "--save", tmp_path, bundle.folder, *files], tmp_path)
    with Engine(bundle.folder, threads=1) as engine, torch.inference_mode():
        for i, block in enumerate(blocks):
            found, expected = np.load(tmp_path / f"{i}-output.npy"), model(torch.from_numpy(block)).numpy()
            np.testing.assert_allclose(engine(block)["output"], expected, rtol=TOLERANCE, atol=TOLERANCE)
            np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
