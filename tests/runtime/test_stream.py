"""`Engine.stream`: the results of calls in order, memory that is limited, and no thread that outlives it."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hamsa_runtime import Engine
from hamsa_runtime.backends import Backend, backend_for
from hamsa_runtime.errors import EngineClosedError, InputError

from .test_engine import TARGETS, assert_right
from .tiny_bundles import MakeBundle, manifest_for, reference, write_files

SECONDS = 20.0  # far more than anything here takes; what waits for ever fails


def stream_threads() -> list[str]:
    """Names of the threads that belong to streams; other parts of the toolkit have pools of their own."""
    kinds = ("hamsa-read", "hamsa-prepare", "hamsa-dispatch", "hamsa-infer")
    return [each.name for each in threading.enumerate() if each.name.startswith(kinds)]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())

    def left() -> list[str]:
        return [each.name for each in threading.enumerate() if each not in before]

    yield
    if left():  # what is dropped ends its threads, if need be once its cycles are found: all of PyTorch is searched
        gc.collect()
    assert left() == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@TARGETS
@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_results_are_those_of_calls_in_order(make_bundle: MakeBundle, target: str, batch: int | str) -> None:
    images = np.random.default_rng(4).integers(0, 256, (50, 8, 12, 3), dtype=np.uint8)
    with Engine(make_bundle(target, batch=batch), threads=1) as engine:
        results = list(engine.stream(images))
    assert len(results) == 50
    for image, outputs in zip(images, results, strict=True):
        assert_right(outputs, image[None])


def test_without_a_static_batch_results_are_bitwise_those_of_calls(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle()) as engine:
        for image, outputs in zip(pixels, engine.stream(pixels), strict=True):
            np.testing.assert_array_equal(outputs["logits"], engine(image)["logits"])


def test_order_is_kept_when_the_first_image_takes_longest(
    make_bundle: MakeBundle, tmp_path: Path, pixels: np.ndarray
) -> None:
    large = Image.fromarray(pixels[0]).resize((1200, 800))
    large.save(tmp_path / "large.png")
    with Engine(make_bundle()) as engine:
        first, *others = list(engine.stream([tmp_path / "large.png", *pixels[1:]]))
        np.testing.assert_array_equal(first["logits"], engine(tmp_path / "large.png")["logits"])
    np.testing.assert_allclose(
        np.concatenate([each["logits"] for each in others]), reference(pixels[1:])["logits"], rtol=1e-5, atol=1e-5
    )


def test_images_that_are_ready_share_a_static_batch(
    make_bundle: MakeBundle, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, sizes = pixels[np.arange(40) % 5], []
    runner = backend_for("onnx", None)
    infer = runner.infer

    def slowly(backend: Backend, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(len(np.unique(inputs["image"], axis=0)))  # what is filled up is a copy
        time.sleep(0.01)
        return infer(backend, inputs)

    monkeypatch.setattr(runner, "infer", slowly)
    with Engine(make_bundle(batch=4)) as engine:
        for image, outputs in zip(images, engine.stream(images), strict=True):
            assert_right(outputs, image[None])
    assert len(sizes) < 20  # of 40 images; 10 would be full batches only
    assert max(sizes) == 4


def test_a_slow_source_gets_each_result_before_its_next_image(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    taken = threading.Event()

    def camera() -> Iterator[np.ndarray]:
        for image in pixels:
            yield image
            assert taken.wait(SECONDS)
            taken.clear()

    with Engine(make_bundle(batch=4)) as engine:
        for image, outputs in zip(pixels, engine.stream(camera()), strict=True):
            assert_right(outputs, image[None])
            taken.set()


def test_an_endless_source_is_read_only_so_far_ahead(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    read = itertools.count()
    last = [0]

    def endless() -> Iterator[np.ndarray]:
        while True:
            last[0] = next(read)
            yield pixels[0]

    with Engine(make_bundle(batch=2)) as engine:
        results = engine.stream(endless())
        next(results)
        wait_until(lambda: last[0] > 4)
        time.sleep(0.2)
        ahead = last[0]
        results.close()  # type: ignore[attr-defined]
    assert ahead <= 1 + 2 * (8 + 2) + 1  # one taken, two for each of at most 8 workers and a batch of 2
    assert last[0] - ahead <= 1


@TARGETS
def test_an_error_of_an_image_is_raised_in_its_place(make_bundle: MakeBundle, pixels: np.ndarray, target: str) -> None:
    images = [*pixels[:3], np.zeros((3, 4, 5, 6, 7), np.uint8), *pixels]
    found: list[dict[str, np.ndarray]] = []
    with Engine(make_bundle(target)) as engine:
        with pytest.raises(InputError, match=r"\(3, 4, 5, 6, 7\)"):
            found.extend(engine.stream(images))
        assert_right(engine(pixels), pixels)
    assert len(found) == 3


def test_an_error_of_the_source_is_raised_in_its_place(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from pixels
        raise ConnectionError("the camera is gone")

    found: list[dict[str, np.ndarray]] = []
    with Engine(make_bundle(batch=2)) as engine, pytest.raises(ConnectionError, match="the camera is gone"):
        found.extend(engine.stream(broken()))
    assert len(found) == len(pixels)


def test_a_stream_that_is_dropped_ends_its_threads(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle()) as engine:
        results = engine.stream(itertools.cycle(pixels))
        next(results)
        assert threading.active_count() > 1
        del results
        gc.collect()
        assert not stream_threads()
        engine.stream(itertools.cycle(pixels))  # never started


@TARGETS
def test_closing_the_engine_ends_its_streams(make_bundle: MakeBundle, pixels: np.ndarray, target: str) -> None:
    engine = Engine(make_bundle(target))
    results = engine.stream(itertools.cycle(pixels))
    next(results)
    engine.close()
    assert not stream_threads()
    with pytest.raises(EngineClosedError, match="was closed"):
        list(results)
    with pytest.raises(EngineClosedError):
        engine.stream(pixels)


def test_a_source_that_hangs_does_not_keep_the_stream_from_closing(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    released = threading.Event()

    def hangs() -> Iterator[np.ndarray]:
        yield pixels[0]
        released.wait(SECONDS)

    with Engine(make_bundle()) as engine:
        results = engine.stream(hangs())
        next(results)
        results.close()  # type: ignore[attr-defined]
    assert stream_threads() == ["hamsa-read"]
    released.set()
    wait_until(lambda: not stream_threads())


def test_many_threads_stream_at_once(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle(), threads=1) as engine, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: [each["logits"] for each in engine.stream(pixels)], range(8)))
        expected = [engine(image)["logits"] for image in pixels]
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_throughput_keeps_order_too(make_bundle: MakeBundle) -> None:
    images = np.random.default_rng(4).integers(0, 256, (60, 8, 12, 3), dtype=np.uint8)
    with Engine(make_bundle("openvino"), hint="throughput") as engine:
        for image, outputs in zip(images, engine.stream(images), strict=True):
            assert_right(outputs, image[None])


def test_a_model_of_plain_arrays_streams(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    from .tiny_bundles import onnx_model

    a, b = (("a", TensorProto.FLOAT, ()), ("b", TensorProto.FLOAT, ()))
    save(onnx_model([helper.make_node("Neg", ["a"], ["b"])], [a], [b], {}), tmp_path / "model.onnx")
    specs = [{"name": name, "dtype": "float32", "shape": []} for name in "ab"]
    manifest = manifest_for(inputs=[{**specs[0], "layout": None}], outputs=specs[1:], preprocessing=None)
    with Engine(write_files(tmp_path, manifest)) as engine:
        assert [float(each["b"]) for each in engine.stream([np.array(k, np.float32) for k in range(9)])] == [
            -k for k in range(9)
        ]


@pytest.mark.parametrize("images", ["photo.jpg", Path("photo.jpg"), {"x": 1}, 7, None])
def test_what_is_not_several_images_is_an_error_at_once(make_bundle: MakeBundle, images: Any) -> None:
    with Engine(make_bundle()) as engine, pytest.raises(InputError, match="images to stream given as"):
        engine.stream(images)
