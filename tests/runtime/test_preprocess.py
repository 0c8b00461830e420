"""What goes into the graph, and what is rejected before native code sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest, manifest_from_json
from hamsa_runtime.preprocess import inputs_from_images

from .tiny_bundles import CHANNELS, MEAN, SIZE, STD, manifest_for


def manifest(**changes: Any) -> Manifest:
    return manifest_from_json(json.dumps(manifest_for(**changes)).encode())


GRAPH = manifest()
RUNTIME = manifest(
    preprocessing={**manifest_for()["preprocessing"], "normalise": "runtime"},
    inputs=[{"name": "x", "dtype": "float32", "shape": [1, CHANNELS, *SIZE], "layout": "NCHW"}],
)
PLAIN = manifest(
    preprocessing=None,
    inputs=[
        {"name": "tokens", "dtype": "float32", "shape": ["batch", 3], "layout": None},
        {"name": "scale", "dtype": "float32", "shape": [], "layout": None},
    ],
)


def normalised(pixels: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
    return ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(dtype)


def test_every_way_to_give_the_same_pixels_gives_the_same_input(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels[0]).save(tmp_path / "0.png")
    floats = normalised(pixels)
    mixed = [
        tmp_path / "0.png",
        Image.fromarray(pixels[1]),
        pixels[2],
        floats[3],
        floats[4].astype(np.float64),
    ]
    for images in (pixels, list(pixels), floats, floats.astype(np.float64), mixed, tuple(mixed)):
        found = inputs_from_images(images, GRAPH)["image"]
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, pixels)
    for one in (
        str(tmp_path / "0.png"),
        tmp_path / "0.png",
        Image.fromarray(pixels[0]),
        pixels[0],
        floats[0],
    ):
        np.testing.assert_array_equal(inputs_from_images(one, GRAPH)["image"], pixels[:1])


def test_every_pixel_value_comes_back_exactly() -> None:
    ramp = np.arange(8 * 12 * 3, dtype=np.int64).reshape(1, 8, 12, 3).astype(np.uint8)
    ramp = np.concatenate([ramp, 255 - ramp])
    np.testing.assert_array_equal(inputs_from_images(normalised(ramp), GRAPH)["image"], ramp)


def test_normalisation_in_the_runtime_is_float32(pixels: np.ndarray) -> None:
    found = inputs_from_images(pixels, RUNTIME)["x"]
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    # three float32 roundings (divide, subtract, divide) of values up to 5
    np.testing.assert_allclose(found, normalised(pixels, np.float64), atol=5 * 3 * 2**-24, rtol=0)
    floats = normalised(pixels)[:, :, ::1]
    np.testing.assert_array_equal(inputs_from_images(floats, RUNTIME)["x"], floats)


def test_arrays_that_are_not_contiguous_are_the_same_images(pixels: np.ndarray) -> None:
    turned = np.asfortranarray(pixels)
    np.testing.assert_array_equal(inputs_from_images(turned, GRAPH)["image"], pixels)
    np.testing.assert_array_equal(inputs_from_images(pixels[::-2], GRAPH)["image"], pixels[::-2])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x + 0.03 / 255 / 0.2,  # 0.03 of a pixel off
        lambda x: np.full_like(x, 3.0),  # brighter than white
        lambda x: np.full_like(x, -3.0),
        lambda x: x * np.nan,
    ],
)
def test_floats_that_are_no_pixels_are_rejected_by_a_graph_that_normalises(pixels: np.ndarray, spoil: Any) -> None:
    with pytest.raises(InputError) as caught:
        inputs_from_images(spoil(normalised(pixels)), GRAPH)
    assert "NaN" in caught.value.found or "--image-dtype float32" in caught.value.fix


def test_floats_within_the_tolerance_are_pixels(pixels: np.ndarray) -> None:
    near = normalised(pixels) + np.float32(0.01 / 255 / 0.3)
    np.testing.assert_array_equal(inputs_from_images(near, GRAPH)["image"], pixels)


@pytest.mark.parametrize("made_for", [GRAPH, RUNTIME])
@pytest.mark.parametrize(
    "images",
    [
        [],
        np.zeros((0, 8, 12, 3), np.uint8),
        np.zeros((8, 12, 3), np.int64),
        np.zeros((3, 8, 12), np.float16),
        np.zeros((3, 8, 12), ">f4"),
        np.zeros((8, 12, 3), np.float32),  # floats are channels first
        np.zeros((3, 9, 12), np.float32),
        np.zeros((1, 1, 3, 8, 12), np.float32),
        np.full((3, 8, 12), np.inf, np.float32),
        np.zeros((3, 8, 12), np.uint8),
        np.zeros((2, 8, 12, 4), np.uint8),
        {"image": np.zeros((1, 8, 12, 3), np.uint8)},
        [np.zeros((1, 8, 12, 3), np.uint8)],
        7,
        [None],
        "no such file.png",
    ],
    ids=repr,
)
def test_anything_else_is_rejected(images: Any, made_for: Manifest) -> None:
    with pytest.raises(InputError) as caught:
        inputs_from_images(images, made_for)
    assert caught.value.expected


def test_plain_inputs_are_checked_and_made_contiguous() -> None:
    tokens = np.arange(12, dtype=np.float32).reshape(3, 4).T
    found = inputs_from_images({"tokens": tokens, "scale": np.array(2, np.float32)}, PLAIN)
    assert list(found) == ["tokens", "scale"]
    assert found["tokens"].flags.c_contiguous
    assert found["scale"].shape == ()
    np.testing.assert_array_equal(found["tokens"], tokens)


GOOD = {"tokens": np.zeros((1, 3), np.float32), "scale": np.array(1, np.float32)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({**GOOD, "tokens": np.zeros((1, 3))}, "float64"),
        ({**GOOD, "tokens": np.zeros((1, 4), np.float32)}, r"\(1, 4\)"),
        ({**GOOD, "tokens": np.zeros((0, 3), np.float32)}, r"\(0, 3\)"),
        ({**GOOD, "tokens": np.zeros(3, np.float32)}, r"\(3,\)"),
        ({**GOOD, "tokens": [[1.0, 2.0, 3.0]]}, "is a list"),
        ({"tokens": GOOD["tokens"]}, "missing inputs: scale"),
        ({**GOOD, "token": GOOD["tokens"]}, "unknown input 'token'"),
        (GOOD["tokens"], r"given as float32 array \(1, 3\)"),
    ],
)
def test_plain_inputs_that_do_not_fit_are_rejected(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        inputs_from_images(given, PLAIN)
