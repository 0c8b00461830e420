"""What the examples run on: a bundle of the bundled model, and its held-out digits as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hamsa_deploy.samples import digits
from tests.shared import Nano

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def bundle(nano: Nano) -> Path:
    """hamsa_nano for OpenVINO, with labels."""
    return nano("openvino").folder


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
