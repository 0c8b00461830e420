"""Images and arrays -> inputs of the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_runtime.clips import load_clip
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest, manifest_from_json
from hamsa_runtime.preprocess import inputs_from_images
from tests.runtime.test_clips import noise, of_clips, read, streaming, written
from tests.runtime.tiny_bundles import CHANNELS, SIZE, manifest_for

PIXELS = np.random.default_rng(0).integers(0, 256, (5, *SIZE, CHANNELS), dtype=np.uint8)


def manifest(**changes: Any) -> Manifest:
    return manifest_from_json(json.dumps(manifest_for(**changes)).encode())


def of_arrays(*shapes: list[int | str]) -> Manifest:
    inputs = [{"name": f"x{i}", "dtype": "float32", "shape": shape, "layout": None} for i, shape in enumerate(shapes)]
    return manifest(inputs=inputs, preprocessing=None)


@pytest.mark.parametrize(("batch", "limit", "sizes"), [(1, None, [1] * 5), (2, None, [2, 2, 1]), (2, 3, [2, 1])])
def test_images_come_in_batches_and_each_once(batch: int, limit: int | None, sizes: list[int]) -> None:
    feeds = [feed["image"] for feed in feeds_of(list(PIXELS), manifest(), batch, limit)]
    assert [len(feed) for feed in feeds] == sizes
    np.testing.assert_array_equal(np.concatenate(feeds), PIXELS[:limit])


def test_images_are_preprocessed_as_on_the_device() -> None:
    larger = np.repeat(PIXELS[:1], 3, axis=2)
    (feed,) = feeds_of(larger, manifest())
    np.testing.assert_array_equal(feed["image"], inputs_from_images(larger, manifest())["image"])


def test_a_fixed_batch_is_filled_up_with_the_last_image() -> None:
    image = {"name": "image", "dtype": "uint8", "shape": [4, *SIZE, CHANNELS], "layout": "NHWC"}
    first, last = feeds_of(PIXELS, manifest(inputs=[image]))
    np.testing.assert_array_equal(first["image"], PIXELS[:4])
    np.testing.assert_array_equal(last["image"], PIXELS[[4, 4, 4, 4]])


def test_arrays_are_cut_along_their_batch() -> None:
    x0, x1 = np.ones((5, 2), np.float32), np.ones((5, 3), np.float32)
    feeds = list(feeds_of({"x0": x0, "x1": x1}, of_arrays(["batch", 2], ["batch", 3]), batch=2, limit=3))
    assert [{name: array.shape for name, array in feed.items()} for feed in feeds] == [
        {"x0": (2, 2), "x1": (2, 3)},
        {"x0": (1, 2), "x1": (1, 3)},
    ]


def test_arrays_without_a_common_batch_go_in_as_they_are() -> None:
    x0, x1 = np.ones((5, 2), np.float32), np.ones((3,), np.float32)
    (feed,) = feeds_of({"x0": x0, "x1": x1}, of_arrays(["batch", 2], [3]), batch=2, limit=1)
    assert {name: array.shape for name, array in feed.items()} == {"x0": (5, 2), "x1": (3,)}


def test_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="x0"):
        list(feeds_of(np.ones((5, 3), np.float32), of_arrays(["batch", 2])))


def test_a_list_for_a_model_of_arrays_is_of_calls(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 1, 2)).astype(np.float32)
    feeds = list(feeds_of([{"x0": x[0]}, x[1], {"x0": x[2]}], of_arrays(["batch", 2]), limit=2))
    np.testing.assert_array_equal([feed["x0"] for feed in feeds], x[:2])


def test_files_of_clips_are_calls_or_blocks_of_them(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{i}.wav", noise(n)) for i, n in enumerate((40, 17))]
    clips = [load_clip(path) for path in paths]
    whole = list(feeds_of(paths, read(of_clips(["batch", "samples"]))))
    assert [feed["x"].shape for feed in whole] == [(1, 40), (1, 17)]
    blocks = np.concatenate([feed["x"] for feed in feeds_of(paths, read(streaming()))], axis=1)
    np.testing.assert_array_equal(blocks[:, :40], clips[0])
    np.testing.assert_array_equal(blocks[:, 48 : 48 + 17], clips[1])
    assert blocks.shape == (1, 48 + 32)
