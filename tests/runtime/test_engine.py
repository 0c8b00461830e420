"""The engine on real bundles: results, batches, many threads, closing, and use after that."""

from __future__ import annotations

import io
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamsa_runtime import Engine
from hamsa_runtime.errors import BuildError, EngineClosedError, InputError
from hamsa_runtime.preprocess import inputs_from_images

from .external_models import adding, bundle_of
from .tiny_bundles import LABELS, MakeBundle, manifest_for, onnx_model, reference, write_files

# float32 sums of 96 positions and 6 channels, values up to 20: 100 roundings of 2**-24 each, relative; and absolute
TOLERANCE = 1e-5

TARGETS = pytest.mark.parametrize("target", ["onnx", "openvino"])


def assert_right(outputs: dict[str, np.ndarray], pixels: np.ndarray) -> None:
    expected = reference(pixels)
    assert sorted(outputs) == sorted(expected)
    for name, array in outputs.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected[name], TOLERANCE, TOLERANCE)


@TARGETS
@pytest.mark.parametrize("normalise", ["graph", "runtime"])
@pytest.mark.parametrize("batch", ["batch", 1, 2, 8])
def test_outputs_are_those_of_the_model(
    make_bundle: MakeBundle, pixels: np.ndarray, target: str, normalise: str, batch: int | str
) -> None:
    with Engine(make_bundle(target, normalise, batch), threads=1) as engine:
        assert_right(engine(pixels), pixels)  # 5 images: with a static batch of 2 or 8 the last chunk is padded
        assert_right(engine(pixels[0]), pixels[:1])
        assert_right(engine(list(pixels[:3])), pixels[:3])


def test_an_onnx_bundle_runs_on_openvino_when_asked(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle("onnx"), backend="openvino") as engine:
        assert engine.describe()["backend"] == "openvino"
        assert_right(engine(pixels), pixels)


@TARGETS
def test_earlier_results_survive_later_calls(make_bundle: MakeBundle, pixels: np.ndarray, target: str) -> None:
    with Engine(make_bundle(target)) as engine:
        first = engine(pixels)
        engine(255 - pixels)
    assert_right(first, pixels)


@TARGETS
def test_classify_gives_labels_with_softmax_probabilities(
    make_bundle: MakeBundle, pixels: np.ndarray, target: str
) -> None:
    logits = reference(pixels)["logits"]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    with Engine(make_bundle(target)) as engine:
        found = engine.classify(pixels, top=2)
        everything = engine.classify(pixels[0])
    for row, expected in zip(found, probabilities, strict=True):
        assert [label for label, _ in row] == [LABELS[k] for k in np.argsort(-expected)[:2]]
        np.testing.assert_allclose([p for _, p in row], np.sort(expected)[::-1][:2], TOLERANCE, TOLERANCE)
    assert len(everything[0]) == 4
    assert sum(p for _, p in everything[0]) == pytest.approx(1, abs=1e-12)


def test_classify_without_labels_and_with_too_few(make_bundle: MakeBundle, pixels: np.ndarray, tmp_path: Path) -> None:
    with Engine(make_bundle(labels=None)) as engine:
        best = reference(pixels[:1])["logits"].argmax()
        assert engine.classify(pixels[0], top=1)[0][0][0] == str(best)
        with pytest.raises(InputError, match="top is 0"):
            engine.classify(pixels, top=0)
    with (
        Engine(make_bundle(labels=["a"], folder=tmp_path / "few")) as engine,
        pytest.raises(InputError, match="shape"),
    ):
        engine.classify(pixels)


def test_embed_gives_the_embedding(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle()) as engine:
        np.testing.assert_allclose(engine.embed(pixels), reference(pixels)["embedding"], TOLERANCE, TOLERANCE)


def test_a_model_of_plain_arrays(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    node = helper.make_node("Add", ["a", "b"], ["sum"])
    save(
        onnx_model(
            [node],
            [("a", TensorProto.FLOAT, ["batch", 3]), ("b", TensorProto.FLOAT, [3])],
            [("sum", TensorProto.FLOAT, ["batch", 3])],
            {},
        ),
        tmp_path / "model.onnx",
    )
    inputs = [
        {"name": "a", "dtype": "float32", "shape": ["batch", 3], "layout": None},
        {"name": "b", "dtype": "float32", "shape": [3], "layout": None},
    ]
    outputs = [{"name": "sum", "dtype": "float32", "shape": ["batch", 3]}]
    write_files(tmp_path, manifest_for(inputs=inputs, outputs=outputs, preprocessing=None))
    a, b = np.ones((2, 3), np.float32), np.arange(3, dtype=np.float32)
    for backend in ("onnxruntime", "openvino"):
        with Engine(tmp_path, backend=backend) as engine:
            np.testing.assert_array_equal(engine({"a": a, "b": b})["sum"], a + b)
            np.testing.assert_array_equal(engine.embed({"a": a, "b": b}), a + b)


def test_an_output_that_is_not_the_manifests_is_an_error(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    outputs = manifest_for()["outputs"]
    outputs[1]["shape"] = ["batch", 5]
    with Engine(make_bundle(outputs=outputs)) as engine, pytest.raises(BuildError, match="'logits'"):
        engine(pixels)


@TARGETS
def test_many_threads_get_what_one_thread_gets(make_bundle: MakeBundle, target: str) -> None:
    batches = np.random.default_rng(5).integers(0, 256, (40, 2, 8, 12, 3), dtype=np.uint8)
    with Engine(make_bundle(target), threads=1) as engine:
        expected = [engine(batch)["logits"] for batch in batches]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda batch: engine(batch)["logits"], batches))
    np.testing.assert_array_equal(found, expected)


@TARGETS
def test_use_after_close_is_a_defined_error(make_bundle: MakeBundle, pixels: np.ndarray, target: str) -> None:
    engine = Engine(make_bundle(target))
    engine.close()
    engine.close()
    uses: list[Any] = [
        lambda: engine(pixels),
        lambda: engine.classify(pixels),
        lambda: engine.embed(pixels),
        engine.describe,
        engine.__enter__,
    ]
    for use in uses:
        with pytest.raises(EngineClosedError, match="was closed") as caught:
            use()
        assert caught.value.exit_code == 2
    assert engine.manifest.name == "tiny"


@TARGETS
def test_closing_while_threads_run_gives_results_or_the_defined_error(
    make_bundle: MakeBundle, pixels: np.ndarray, target: str
) -> None:
    engine = Engine(make_bundle(target), threads=1)
    outcomes: list[str] = []

    def work() -> None:
        try:
            while True:
                assert_right(engine(pixels), pixels)
        except EngineClosedError:
            outcomes.append("closed")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    engine.close()
    for worker in workers:
        worker.join(timeout=60)
    assert outcomes == ["closed"] * 4


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, "2"])
def test_threads_must_be_a_positive_number(make_bundle: MakeBundle, threads: Any) -> None:
    with pytest.raises(InputError, match="threads is"):
        Engine(make_bundle(), threads=threads)


@pytest.mark.parametrize(
    ("folder", "options", "found"),
    [
        (None, {}, "a bundle given as NoneType"),
        (b"bundle", {}, "a bundle given as bytes"),
        (3, {}, "a bundle given as int"),
        ("", {"device": 5}, "device is 5"),
        ("", {"backend": 3}, "backend is 3"),
        ("", {"public_key": 3}, "public_key is 3"),
        ("", {"threads": 2**40}, "threads is 1099511627776"),
        ("", {"threads": float("nan")}, "threads is nan"),
        ("", {"device": ""}, "device is ''"),
        ("", {"cuda_graph": np.ones(2)}, "cuda_graph is array"),
        ("", {"public_key": bytearray(b"x")}, "public_key is bytearray"),
        ("", {"hint": {}}, "unknown hint '{}'"),
        (["bundle"], {}, "a bundle given as list"),
        ("a\0b", {}, "cannot be looked at"),
    ],
)
def test_wrong_arguments_are_said(make_bundle: MakeBundle, folder: Any, options: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        Engine(make_bundle() if folder == "" else folder, **options)


class Gone:
    """An open file that is there no longer."""

    def read(self, size: int) -> bytes:
        raise OSError("gone")


HEADER = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 31623, 31623, 8, 2, 0, 0, 0, 0)
ODD: dict[str, tuple[Any, str]] = {
    "a set": ({1}, "an image given as set"),
    "a generator": ((each for each in "ab"), "an image given as generator"),
    "an array of objects": (np.array([[None, {}]], object), "an image given as object array"),
    "a masked array": (np.ma.masked_array(np.zeros((8, 12, 3), np.uint8), mask=True), "a masked array"),
    "one in a list": ([np.ma.masked_array(np.zeros((8, 12, 3), np.uint8), mask=True)], "a masked array"),
    "no rows": (np.zeros((0, 5, 3), np.uint8), "array of shape"),
    "a PIL image without pixels": (Image.new("RGB", (0, 5)), "0 x 5 pixels"),
    "a PIL image of many pixels": (Image.new("1", (2**13, 2**13)), "too large to decode: 8192 x 8192 pixels"),
    "a view of few bytes": (np.broadcast_to(np.uint8(0), (2**22, 2**22, 3)), "too little memory for these inputs"),
    "a closed file": (io.BytesIO(b"a"), "cannot be read"),
    "a file that is gone": (Gone(), r"cannot be read \(gone\)"),
    "a file of text": (io.StringIO("a"), "opened as text"),
    "a path with NUL": ("a\0.png", "cannot be looked at"),
    "a path of another system": (PureWindowsPath("C:\\a.png"), "no such image file"),
    "half a path": ("\ud800", "no such image file|cannot be looked at"),
    "dates": (np.zeros((8, 12, 3), "M8[s]"), "an image given as datetime64"),
    "a header of 10^9 pixels": (HEADER, "damaged|too large"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_images_are_said(name: str, make_bundle: MakeBundle) -> None:
    image, found = ODD[name]
    if name == "a closed file":
        image.close()
    with Engine(make_bundle()) as engine, pytest.raises(InputError, match=found):
        engine(image)


def test_a_mask_of_an_array_is_not_dropped(tmp_path: Path) -> None:
    masked = np.ma.masked_array(np.zeros((1, 2), np.float32), mask=True)
    with Engine(bundle_of(adding(), tmp_path / "b")) as engine, pytest.raises(InputError, match="a masked array"):
        engine(masked)


def test_no_more_images_are_made_of_zeros_than_memory_holds(make_bundle: MakeBundle) -> None:
    with Engine(make_bundle()) as engine, pytest.raises(InputError, match="batch is 1000000000000000"):
        engine.warm_up(10**15)


def test_an_image_as_bytes_gives_what_its_file_gives(make_bundle: MakeBundle, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    with Engine(make_bundle()) as engine, path.open("rb") as stream:
        expected = engine(path)["logits"]
        for image in (path.read_bytes(), stream, [path.read_bytes()]):
            np.testing.assert_array_equal(engine(image)["logits"], expected)
        with pytest.raises(InputError, match="expected: an iterable of images"):
            engine.stream(path.read_bytes())  # type: ignore[arg-type]
        # Its rows would be as many grey images.
        with pytest.raises(InputError, match=r"given as uint8 array \(20, 30, 3\)"):
            engine.stream(np.zeros((20, 30, 3), np.uint8))
        with pytest.raises(InputError, match=r"cv2\.imread gives None"):
            engine(None)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"try: engine\.infer"):
            engine({"images": np.zeros((1, 8, 8, 3), np.uint8)})


def test_prepared_inputs_give_what_the_images_give(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle()) as engine:
        prepared = inputs_from_images(pixels, engine.manifest)
        found, expected = engine.infer(prepared), engine(pixels)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
        with pytest.raises(InputError, match="the input 'image' is float64"):
            engine.infer({"image": prepared["image"].astype(float)})
        with pytest.raises(InputError, match="unknown input 'x'"):
            engine.infer({"x": prepared["image"]})
