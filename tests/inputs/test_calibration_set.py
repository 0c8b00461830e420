"""Calibration inputs: every source gives the bundle's own pixels, and no bad one gets through."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from hamsa_deploy.inputs.calibration_set import BUILT_IN, LIMIT, CalibrationSet, calibration_set
from hamsa_deploy.samples import FOLDER
from hamsa_deploy.samples.synthesis import sample_clips
from hamsa_runtime.clips import load_clip
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Audio, Axis, InputSpec, Manifest, Model, Preprocessing, State
from hamsa_runtime.preprocess import inputs_from_images

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 20, 30, 3), dtype=np.uint8)
HOW = Preprocessing((16, 16), 3, "bicubic", 0.875, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "graph")
PIXEL_INPUT = InputSpec("images", "uint8", ("batch", 16, 16, 3), "NHWC")
FLOAT_INPUT = InputSpec("images", "float32", ("batch", 3, 16, 16), "NCHW")
SIGNAL, OFFSET = InputSpec("signal", "float32", ("batch", 5), None), InputSpec("offset", "float32", ("batch", 2), None)
SIGNALS = RNG.standard_normal((12, 5)).astype(np.float32)
OFFSETS = RNG.standard_normal((12, 2)).astype(np.float32)


def manifest_of(how: Preprocessing | None, *inputs: InputSpec, name: str = "m") -> Manifest:
    model = Model("m", {}, None, 0)
    return Manifest(1, name, model, inputs, (), how, None, "onnx", "fp32", {}, (), {}, {}, None, None)


IMAGES = manifest_of(HOW, PIXEL_INPUT)
ARRAYS = manifest_of(None, SIGNAL, OFFSET)


def saved(folder: Path, pixels: np.ndarray = PIXELS) -> Path:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:04}.png")
    return folder


def fed(found: CalibrationSet, manifest: Manifest = IMAGES) -> np.ndarray:
    return inputs_from_images(list(found.inputs), manifest)["images"]


def sources(tmp_path: Path) -> dict[str, Any]:
    folder = saved(tmp_path / "photos")
    np.save(tmp_path / "a.npy", PIXELS)
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=np.arange(12))
    return {
        "photos": folder,
        "a.npy": tmp_path / "a.npy",
        "a.npz": str(tmp_path / "a.npz"),
        "a Python ndarray": PIXELS,
        "a Python list": [*PIXELS[:6], *map(Image.fromarray, PIXELS[6:10]), folder / "0010.png", folder / "0011.png"],
        "a Python generator": (image for image in PIXELS),
    }


@pytest.mark.parametrize("crop_fraction", [0.875, 1.0])
@pytest.mark.parametrize("normalise", ["graph", "runtime"])
def test_every_source_gives_the_pixels_that_the_bundle_would_make(
    tmp_path: Path, crop_fraction: float, normalise: Literal["graph", "runtime"]
) -> None:
    how = replace(HOW, crop_fraction=crop_fraction, normalise=normalise)
    manifest = manifest_of(how, PIXEL_INPUT if normalise == "graph" else FLOAT_INPUT)
    expected = inputs_from_images(PIXELS, manifest)["images"]
    hashes = set()
    for name, source in sources(tmp_path).items():
        found = calibration_set(source, manifest)
        np.testing.assert_array_equal(fed(found, manifest), expected)
        assert (found.source, found.found, found.skipped) == (name, 12, {})
        hashes.add(found.sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize("size", [(16, 16), (20, 9)])
@pytest.mark.parametrize("shape", [(20, 30), (31, 17), (400, 9), (9, 400), (16, 16), (18, 18)])
def test_scaling_before_and_cropping_later_is_what_the_bundle_does_at_once(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    manifest = manifest_of(replace(HOW, size=size), replace(PIXEL_INPUT, shape=("batch", *size, 3)))
    pixels = RNG.integers(0, 256, (8, *shape, 3), dtype=np.uint8)
    expected = inputs_from_images(pixels, manifest)["images"]
    np.testing.assert_array_equal(fed(calibration_set(pixels, manifest), manifest), expected)


def test_grey_models_get_grey_images(tmp_path: Path) -> None:
    how = replace(HOW, channels=1, mean=(0.5,), std=(0.5,))
    manifest = manifest_of(how, replace(PIXEL_INPUT, shape=("batch", 16, 16, 1)))
    found = calibration_set(saved(tmp_path), manifest)
    np.testing.assert_array_equal(fed(found, manifest), inputs_from_images(PIXELS, manifest)["images"])


def test_normalised_floats_pass_as_they_are_and_others_are_refused() -> None:
    manifest = manifest_of(replace(HOW, normalise="runtime"), FLOAT_INPUT)
    floats = RNG.standard_normal((8, 3, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(fed(calibration_set(floats, manifest), manifest), floats)
    with pytest.raises(InputError, match="a float image of shape"):
        calibration_set(floats[:, :, :8], manifest)


@pytest.mark.parametrize(("name", "number"), [("hamsa_nano", LIMIT), ("hamsa_s", 12)])
def test_without_a_source_the_samples_of_the_model_are_taken(name: str, number: int) -> None:
    found = calibration_set(None, manifest_of(HOW, PIXEL_INPUT, name=name))
    assert (len(found.inputs), found.source) == (number, BUILT_IN)


def test_of_many_images_some_are_taken_evenly(tmp_path: Path) -> None:
    numbered = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 16, 16, 3)).copy()
    numbered[:, 0, 0] = 255
    manifest = manifest_of(replace(HOW, crop_fraction=1.0), PIXEL_INPUT)
    found = calibration_set(saved(tmp_path, numbered), manifest, limit=10)
    assert [int(image[5, 5, 0]) for image in found.inputs] == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert found.found == 100


def test_an_endless_iterator_is_left_after_the_limit() -> None:
    def endless() -> Iterator[np.ndarray]:
        while True:
            yield from PIXELS

    assert len(calibration_set(endless(), IMAGES, limit=20).inputs) == 20


def test_every_fourth_input_is_held_out() -> None:
    found = calibration_set(PIXELS, manifest_of(replace(HOW, crop_fraction=1.0), PIXEL_INPUT))
    assert len(found.held_out) == 3
    assert len(found.fitted) == 9
    np.testing.assert_array_equal(found.held_out[0], found.inputs[3])
    assert {id(image) for image in (*found.fitted, *found.held_out)} == {id(image) for image in found.inputs}


def test_the_manifest_says_what_was_used_and_holds_no_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = saved(tmp_path / "photos")
    (folder / "0003.png").write_bytes((folder / "0003.png").read_bytes()[:300])
    with caplog.at_level(logging.WARNING, "hamsa_deploy"):
        document = asdict(calibration_set(folder, IMAGES).recorded)
    assert {key: document[key] for key in ("source", "found", "used")} == {"source": "photos", "found": 12, "used": 11}
    assert list(document["skipped"]) == ["0003.png"]
    assert document["skipped"]["0003.png"].startswith("0003.png: the image is damaged")
    assert str(tmp_path) not in str(document)
    assert "without 1 of 12 images: 0003.png: the image is damaged" in caplog.text


BAD_FILES = {
    "empty": b"",
    "cut": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n",
    "FITS": b"SIMPLE  =                    T".ljust(2880),
    "page": b"<!DOCTYPE html><title>404</title>",
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_files_that_are_no_images_are_skipped_up_to_a_tenth_and_named_beyond(tmp_path: Path, content: bytes) -> None:
    folder = saved(tmp_path)
    (folder / "0005.png").rename(folder / "bad1.jpg")
    (folder / "bad1.jpg").write_bytes(content)
    assert list(calibration_set(folder, IMAGES).skipped) == ["bad1.jpg"]
    (folder / "bad2.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"(?s)2 of 13 calibration images cannot be read: bad1\.jpg.*bad2\.jpg"):
        calibration_set(folder, IMAGES)


def test_a_pixel_bomb_is_skipped_before_it_is_decoded(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    bomb = bytearray((folder / "0000.png").read_bytes())
    bomb[16:24] = (60000).to_bytes(4, "big") * 2  # its header says 3.6 billion pixels
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    (folder / "0000.png").write_bytes(bomb)
    assert "too large to decode" in calibration_set(folder, IMAGES).skipped["0000.png"]


def test_seven_images_are_too_few() -> None:
    with pytest.raises(InputError, match="7 calibration inputs in a Python ndarray"):
        calibration_set(PIXELS[:7], IMAGES)


@pytest.mark.parametrize("images", [np.repeat(PIXELS[:1], 10, axis=0), [PIXELS[0]] * 8])
def test_the_same_image_many_times_is_refused(images: Any) -> None:
    with pytest.raises(InputError, match="are the same"):
        calibration_set(images, IMAGES)


def test_images_of_one_colour_each_are_refused() -> None:
    colours = np.broadcast_to(RNG.integers(0, 256, (10, 1, 1, 3), dtype=np.uint8), (10, 20, 20, 3))
    with pytest.raises(InputError, match="of a single value each"):
        calibration_set(colours, IMAGES)
    floats = np.broadcast_to(RNG.standard_normal((10, 3, 1, 1)).astype(np.float32), (10, 3, 16, 16))
    with pytest.raises(InputError, match="of a single value each"):
        calibration_set(floats, manifest_of(replace(HOW, normalise="runtime"), FLOAT_INPUT))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Path("gone"), "gone: no such file"),
        (3, "given as int"),
        (Image.fromarray(PIXELS[0]), "given as Image"),
        ({"images": PIXELS}, "given as dict"),
        ([b"x"] * 9, "the bytes of an image: not an image"),
        ([], "0 calibration inputs in a Python list"),
    ],
)
def test_a_source_that_holds_no_images_is_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibration_set(source, IMAGES)


def test_arrays_from_a_file_a_dict_or_many_dicts_are_the_same_runs(tmp_path: Path) -> None:
    arrays = {"signal": SIGNALS, "offset": OFFSETS}
    np.savez(tmp_path / "arrays.npz", signal=SIGNALS, offset=OFFSETS)
    reused = {"signal": np.empty((1, 5), np.float32), "offset": np.empty((1, 2), np.float32)}

    def one_by_one() -> Iterator[dict[str, np.ndarray]]:
        for signal, offset in zip(SIGNALS, OFFSETS, strict=True):
            reused["signal"][0], reused["offset"][0] = signal, offset
            yield reused

    hashes = set()
    for source in (tmp_path / "arrays.npz", arrays, one_by_one()):
        found = calibration_set(source, ARRAYS)
        for name, array in arrays.items():
            np.testing.assert_array_equal(np.concatenate([run[name] for run in found.inputs]), array)
        hashes.add(found.sha256)
    assert len(hashes) == 1


def test_the_one_input_needs_no_name(tmp_path: Path) -> None:
    np.save(tmp_path / "signal.npy", SIGNALS)
    found = calibration_set(tmp_path / "signal.npy", manifest_of(None, SIGNAL))
    np.testing.assert_array_equal(np.concatenate([run["signal"] for run in found.inputs]), SIGNALS)


def test_a_fixed_batch_cuts_arrays_into_runs_of_that_batch() -> None:
    arrays = {"signal": np.tile(SIGNALS, (2, 1)) + np.arange(24, dtype=np.float32)[:, None]}
    found = calibration_set(arrays, manifest_of(None, replace(SIGNAL, shape=(3, 5))))
    assert [run["signal"].shape for run in found.inputs] == [(3, 5)] * 8
    with pytest.raises(InputError, match=r"float32 \(22, 5\)"):
        calibration_set({"signal": arrays["signal"][:22]}, manifest_of(None, replace(SIGNAL, shape=(3, 5))))


def test_a_batch_on_another_axis_is_cut_there_and_an_axis_of_any_size_is_not() -> None:
    turned = manifest_of(None, replace(SIGNAL, shape=(5, "batch")))
    found = calibration_set({"signal": SIGNALS.T}, turned)
    np.testing.assert_array_equal(np.concatenate([run["signal"] for run in found.inputs], axis=1), SIGNALS.T)
    assert {run["signal"].shape for run in found.inputs} == {(5, 1)}
    free = replace(manifest_of(None, replace(SIGNAL, shape=("t", 5))), axes=(Axis("t", 1, None, 4),))
    runs = [{"signal": SIGNALS[: i + 1]} for i in range(9)]
    assert [len(run["signal"]) for run in calibration_set(runs, free).inputs] == list(range(1, 10))
    with pytest.raises(InputError, match="1 calibration inputs"):  # as it is
        calibration_set({"signal": SIGNALS}, free)


BAD_ARRAYS = {
    "none": (None, "no calibration data for a model of arrays"),
    "a number": (3, "given as int"),
    "missing": ({"signal": SIGNALS}, "missing inputs: offset"),
    "unknown": ({"signal": SIGNALS, "ofset": OFFSETS}, "did you mean 'offset'"),
    "double": ({"signal": SIGNALS.astype(float), "offset": OFFSETS}, "float64"),
    "few": ({"signal": SIGNALS[:5], "offset": OFFSETS[:5]}, "5 calibration inputs"),
    "empty": ({"signal": SIGNALS[:0], "offset": OFFSETS[:0]}, "0 calibration inputs"),
    "same": ({"signal": SIGNALS[[0] * 9], "offset": OFFSETS[[0] * 9]}, "are the same"),
    "flat": ({"signal": np.tile(SIGNALS[:, :1], 5), "offset": np.zeros_like(OFFSETS)}, "of a single value each"),
}


@pytest.mark.parametrize(("source", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_arrays_that_do_not_fit_or_say_nothing_are_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibration_set(source, ARRAYS)


def test_the_hash_changes_with_any_pixel_the_order_and_the_preprocessing() -> None:
    def digest(pixels: np.ndarray = PIXELS, how: Preprocessing = HOW) -> str:
        return calibration_set(pixels, manifest_of(how, PIXEL_INPUT)).sha256

    changed = PIXELS.copy()
    changed[5, 10, 10, 1] += 64
    hashes = [digest(), digest(changed), digest(PIXELS[::-1]), digest(PIXELS[:11])]
    hashes += [digest(how=replace(HOW, mean=(0.5, 0.5, 0.4))), digest(how=replace(HOW, resize="bilinear"))]
    assert len(set(hashes)) == len(hashes)
    assert digest() == hashes[0]


CLIPS = replace(
    manifest_of(None, InputSpec("x", "float32", ("batch", "samples"))),
    audio=Audio("x", 16000, 1),
    axes=(Axis("samples", 1, None, 50),),
)


def test_a_folder_of_clips_is_a_call_for_each() -> None:
    found = calibration_set(FOLDER / "clips", CLIPS)
    assert (found.source, found.found, len(found.inputs)) == ("clips", 8, 8)
    sizes = sorted(each["x"].shape for each in found.inputs)
    assert sizes == sorted((1, clip.shape[1]) for clip in sample_clips(16000))


def test_a_model_of_clips_has_samples() -> None:
    found = calibration_set(None, CLIPS)
    assert (found.source, len(found.inputs)) == (BUILT_IN, 8)


def test_blocks_for_a_model_with_state_stay_in_order() -> None:
    """The first of them: those between would be missed by what it keeps."""
    state = State("s", "float32", (1,), "state.s", "next.s", False)
    manifest = replace(CLIPS, inputs=(InputSpec("x", "float32", (1, 100)),), axes=(), states=(state,))
    found = calibration_set(FOLDER / "clips", manifest, limit=20)
    first = load_clip(sorted((FOLDER / "clips").iterdir())[0])
    np.testing.assert_array_equal(np.concatenate([each["x"] for each in found.inputs], axis=1), first[:, :2000])


def test_one_image_is_no_series_of_its_rows() -> None:
    """Nor in the comparison, which `tests/pipeline/test_run.py` tries."""
    with pytest.raises(InputError, match=r"uint8 array \(32, 48, 3\), which is one"):
        calibration_set(np.zeros((32, 48, 3), np.uint8), IMAGES)
