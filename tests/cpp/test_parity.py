"""Item 3: the same JPEG, and the same decoded pixels, give the same outputs in Python and in C++."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hamsa_deploy
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.samples import sample_images
from hamsa_runtime import Engine
from hamsa_runtime.errors import MissingError

from .building import ROOT, run

PHOTO = ROOT / "hamsa_deploy/samples/photos/china_00.jpg"
PRECISIONS = ("fp32", pytest.param("fp16", marks=pytest.mark.slow), "int8")

# Both call the same library with the same bytes, so that they differ by nothing; the issue allows this much.
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=PRECISIONS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model for OpenVINO."""
    folder = tmp_path_factory.mktemp("bundles") / request.param
    images = sample_images("hamsa_nano")
    options: dict[str, Any] = (
        {"calibration": list(images[40:140]), "calibration_method": "percentile"} if request.param == "int8" else {}
    )
    try:
        hamsa_deploy.export(
            load_model("hamsa_nano"),
            to="openvino",
            precision=request.param,
            output=folder,
            preprocessing=model_entry("hamsa_nano").preprocessing,
            labels=[str(n) for n in range(10)],
            data=images[:40],
            **options,
        )
    except MissingError as error:
        pytest.skip(error.found)
    return folder


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
