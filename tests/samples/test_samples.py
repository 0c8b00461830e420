"""The built-in images, and the accuracy that the shipped weights have on them."""

from __future__ import annotations

import re

import numpy as np
import torch
from PIL import Image

from hamsa_deploy.models import MODELS, load_model
from hamsa_deploy.samples import FOLDER, digits, photos, sample_images

REQUIRED_TOP1 = 0.97


def test_digits_are_held_out_bytes_in_three_equal_channels() -> None:
    images, labels = digits()
    assert images.shape == (360, 8, 8, 3)
    assert images.dtype == np.uint8
    assert images.max() == 255
    assert (images == images[..., :1]).all()
    assert set(labels) == set(range(10))
    assert np.bincount(labels).min() >= 34  # stratified: 360 images of ten nearly equal classes


def test_shipped_weights_classify_the_held_out_digits() -> None:
    images, labels = digits()
    preprocessing = MODELS["hamsa_nano"].preprocessing
    assert preprocessing is not None
    height, width = preprocessing.size
    resized = [Image.fromarray(i).resize((width, height), Image.Resampling.BILINEAR) for i in images]
    pixels = np.stack([np.asarray(image) for image in resized]).astype(np.float32) / 255
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    inputs = (pixels - mean) / std
    with torch.no_grad():
        logits = load_model("hamsa_nano")(torch.from_numpy(inputs).permute(0, 3, 1, 2))["logits"]
    correct = int((logits.argmax(dim=1).numpy() == labels).sum())
    assert correct / len(labels) >= REQUIRED_TOP1
    weights = MODELS["hamsa_nano"].weights
    assert weights is not None
    card = weights.with_suffix(".md").read_text(encoding="utf-8")
    assert {*preprocessing.mean} == {*preprocessing.std} == {0.5}
    assert "mean 0.5, std 0.5 per channel" in card
    stated = re.search(r"\((\d+) of 360\)", card)
    assert stated is not None
    # other CPUs round differently, which may tip an image that lies between two classes
    assert abs(correct - int(stated[1])) <= 1


def test_photos_are_colour_and_small_in_all() -> None:
    images = photos()
    assert len(images) == 12
    for image in images:
        assert image.shape == (256, 256, 3)
        assert image.dtype == np.uint8
        assert image.std() > 10, "a crop without content"
    assert len({image.tobytes() for image in images}) == 12
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.suffix == ".jpg") < 600_000


def test_photos_carry_their_licence() -> None:
    licence = (FOLDER / "photos" / "LICENSE").read_text(encoding="utf-8")
    for said in ("CC BY 2.0", "danielbuechele", "vultilion"):
        assert said in licence


def test_images_fit_their_model() -> None:
    assert len(sample_images("hamsa_nano")) == 360
    assert sample_images("hamsa_nano")[0].shape == (8, 8, 3)
    for name in ("hamsa_s", "vminet_b", "package.module:factory"):
        assert len(sample_images(name)) == 12
