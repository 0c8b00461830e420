"""`Engine` with the TensorRT backend on a simulated GPU: what it cuts, refuses, hands over and frees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hamsa_runtime import Engine
from hamsa_runtime.backends import Operator, tensorrt
from hamsa_runtime.batches import chunks
from hamsa_runtime.errors import EngineClosedError, InputError, MissingError
from hamsa_runtime.manifest import manifest_from_json
from hamsa_runtime.tensorrt import cuda

from .simulated import FACTOR, Cuda
from .simulated import tensorrt as simulated_tensorrt

Open = Callable[..., Engine]


def manifest(batch: int | str = "batch") -> dict[str, Any]:
    port = {"dtype": "float32", "shape": [batch, 4]}
    return {
        "schema": 1,
        "name": "three",
        "model": {"reference": "tests:three", "config": {}, "weights": None, "parameters": 0},
        "inputs": [{"name": "x", "layout": None, **port}],
        "outputs": [{"name": "y", **port}],
        "target": "tensorrt",
        "precision": "fp16",
        "plan": [],
        **dict.fromkeys(("preprocessing", "labels", "calibration", "parity")),
        **{key: {} for key in ("options", "files", "versions")},
    }


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    simulated = Cuda()
    monkeypatch.setattr(cuda, "runtime", lambda: simulated)
    yield simulated
    assert simulated.memory == simulated.handles == {}


@pytest.fixture
def engine(tmp_path: Path, device: Cuda, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens engines whose plan takes the given batches; they are closed at the end."""
    opened: list[Engine] = []

    def make(limits: tuple[int, int] = (1, 4), seconds: float = 0.0, **options: Any) -> Engine:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest()))
        module = simulated_tensorrt(device, limits=limits, seconds=seconds)
        monkeypatch.setattr(tensorrt, "load", lambda target: module)
        monkeypatch.setattr(tensorrt, "plan_of_bundle", lambda *_: SimpleNamespace(plan=b"plan"))
        opened.append(Engine(tmp_path, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def rows(count: int) -> np.ndarray:
    return np.arange(4 * count, dtype=np.float32).reshape(count, 4)


@pytest.mark.parametrize("limits", [(1, 4), (3, 4), (4, 4), (1, 1), (1, 100), (9, 9)])
@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_any_number_of_images_is_cut_and_filled_to_what_the_plan_takes(
    engine: Open, limits: tuple[int, int], count: int
) -> None:
    opened = engine(limits)
    for _ in range(2):
        np.testing.assert_array_equal(opened(rows(count))["y"], FACTOR * rows(count))


@pytest.mark.parametrize(
    ("limits", "sizes", "kept"),
    [
        (None, [7], [7]),
        ((1, 100), [7], [7]),
        ((1, 4), [4, 3], [4, 3]),
        ((3, 5), [5, 3], [5, 2]),
        ((8, 9), [8], [7]),
    ],
)
def test_pieces_are_as_large_as_allowed_and_only_the_last_is_filled(
    limits: tuple[int, int] | None, sizes: list[int], kept: list[int]
) -> None:
    found = list(chunks({"x": rows(7)}, manifest_from_json(json.dumps(manifest()).encode()), limits))
    assert [len(chunk.inputs["x"]) for chunk in found] == [chunk.images for chunk in found] == sizes
    assert [chunk.keep for chunk in found] == kept
    np.testing.assert_array_equal(found[-1].inputs["x"][-1], rows(7)[-1])


def test_results_stay_on_the_gpu(engine: Open, device: Cuda) -> None:
    opened = engine((2, 4))
    found = opened.on_device(rows(1))["y"]
    opened.close()
    assert found.shape == (1, 4)  # of a batch that was filled up to two
    [content] = device.memory.values()
    np.testing.assert_array_equal(np.frombuffer(content, np.float32)[:4], FACTOR * rows(1)[0])


def test_more_images_than_one_inference_takes_do_not_stay_on_the_gpu(engine: Open) -> None:
    with pytest.raises(InputError, match="they make 2 of them"):
        engine((1, 4)).on_device(rows(5))


def test_threads_infer_at_once(engine: Open, device: Cuda) -> None:
    opened = engine(seconds=0.05)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda count: opened(rows(count))["y"], [2, 3, 4]))
    for count, y in zip([2, 3, 4], found, strict=True):
        np.testing.assert_array_equal(y, FACTOR * rows(count))
    assert len(device.contexts) == 3


def test_what_runs_is_described(engine: Open) -> None:
    opened = engine(device="GPU.1", cuda_graph=True)
    assert opened.describe() == {
        "backend": "tensorrt",
        "version": "10.3.0",
        "device": "Simulated (compute capability 8.8)",
        "precision": "fp16",
        "layers": "1 unknown",
    }
    assert opened.operators() == [Operator("", "unknown", ("one",))]


def test_a_gpu_has_no_threads_to_set(engine: Open) -> None:
    with pytest.raises(InputError, match="threads is 2"):
        engine(threads=2)


@pytest.mark.parametrize(("name", "message"), [("CPU", "no device 'CPU'"), ("GPU.2", "no GPU number 2")])
def test_a_device_that_is_not_here_is_an_error(engine: Open, name: str, message: str) -> None:
    with pytest.raises(MissingError, match=message):
        engine(device=name)


def test_use_after_close_is_the_engines_error(engine: Open) -> None:
    opened = engine()
    opened.close()
    opened.close()
    for use in (opened, opened.on_device):
        with pytest.raises(EngineClosedError):
            use(rows(1))
