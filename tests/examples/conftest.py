"""What the examples run on: a bundle of the bundled model, and its held-out digits as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import hamsa_deploy
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.samples import digits, sample_images

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hamsa_nano for OpenVINO, with labels."""
    folder = tmp_path_factory.mktemp("bundles") / "nano"
    hamsa_deploy.export(
        load_model("hamsa_nano"),
        to="openvino",
        name="hamsa_nano",
        output=folder,
        preprocessing=model_entry("hamsa_nano").preprocessing,
        labels=[str(n) for n in range(10)],
        data=sample_images("hamsa_nano")[:40],
    )
    return folder


@pytest.fixture(scope="session")
def digit_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The 360 held-out digits, as CLASS/NUMBER.png."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = digits()
    paths = [folder / str(label) / f"{number:03}.png" for number, label in enumerate(labels)]
    for path, image in zip(paths, images, strict=True):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return paths
