"""Red and blue in the wrong order: said where the true classes show it, and only there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.models import Preprocessing
from hamsa_deploy.parity.colours import colour_doubt

SIZE = 8
HOW = Preprocessing((SIZE, SIZE), 3, "bicubic", 1.0, (0.5,) * 3, (0.5,) * 3)


def images(count: int = 40) -> tuple[list[np.ndarray], list[int]]:
    """Noise, of class 0 with more red and of class 1 with more blue."""
    generator, found = np.random.default_rng(0), []
    classes = [i % 2 for i in range(count)]
    for each in classes:
        pixels = generator.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
        pixels[..., 2 * each] += 150
        found.append(pixels)
    return found, classes


class RedOrBlue(nn.Module):
    """Right on images in RGB order."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        means = torch.fft.rfft2(x)[..., 0, 0].real  # (B, 3)
        return {"logits": torch.stack([means[:, 0], means[:, 2]], dim=1)}


def doubt(data: Any, classes: Any, **changes: Any) -> str:
    def logits(found: Any) -> np.ndarray:
        arrays = [np.asarray(Image.open(each)) if isinstance(each, Path) else each for each in found]
        return np.array([[array[..., 0].mean(), array[..., -1].mean()] for array in arrays])

    class Described:
        preprocessing = changes.get("preprocessing", HOW)
        states = ()

    return colour_doubt(data, classes, Described(), logits)  # type: ignore[arg-type]


def test_bgr_arrays_are_named_and_rgb_arrays_are_not() -> None:
    rgb, classes = images()
    bgr = [image[..., ::-1] for image in rgb]
    assert doubt(rgb, classes) == ""
    assert "recognises 0 of 40 images as they are, and 40 with red and blue swapped" in doubt(bgr, classes)
    assert "array[..., ::-1]" in doubt(bgr, classes)


def test_of_files_it_is_the_model_that_was_trained_otherwise(tmp_path: Path) -> None:
    rgb, classes = images(24)
    paths = [tmp_path / f"{i}.png" for i in range(len(rgb))]
    for path, image in zip(paths, rgb, strict=True):
        Image.fromarray(image[..., ::-1].copy()).save(path)
    assert "x.flip(1)" in doubt(paths, classes)


def test_nothing_is_said_where_nobody_can_know() -> None:
    rgb, classes = images()
    bgr = [image[..., ::-1] for image in rgb]
    grey = [np.repeat(image[..., :1], 3, axis=2) for image in rgb]
    assert doubt(bgr, None) == ""
    assert doubt(bgr[:6], classes[:6]) == ""  # six of six can be chance
    assert doubt(grey, classes) == ""
    assert doubt([image.astype(np.float32) for image in bgr], classes) == ""
    assert doubt(rgb, list(np.random.default_rng(1).permutation(classes))) == ""  # wrong for another reason


def test_an_export_with_true_classes_says_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rgb, classes = images()
    for name, data in (("rgb", rgb), ("bgr", [image[..., ::-1].copy() for image in rgb])):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="hamsa_deploy"):
            hamsa_deploy.export(
                RedOrBlue().eval(), to="onnx", preprocessing=HOW, data=data, classes=classes, output=tmp_path / name
            )
        assert ("with red and blue swapped" in caplog.text) == (name == "bgr")
