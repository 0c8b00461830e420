"""`Engine.profile`, `warm_up` and `hint`: what the engine says of itself, and settings that are never ignored."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from hamsa_runtime import Engine
from hamsa_runtime.backends import Backend, Operator, Timed, backend_for
from hamsa_runtime.errors import EngineClosedError, InputError
from hamsa_runtime.profiling import Profile, operator_times

from .test_engine import TARGETS, assert_right
from .tiny_bundles import MakeBundle, image_model, manifest_for, write_files

MODULES = {"mixed": "stem.mix", "positive": "stem.mix", "pooled": "stem.pool", "logits": "head"}


@pytest.fixture
def photo(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels[0]).resize((300, 200)).save(path)
    return path


@pytest.fixture
def bundle_with_modules(tmp_path: Path) -> Path:
    """The image model with nodes called as hamsa-export calls them."""
    model = image_model("graph", "batch")
    for node in model.graph.node:
        node.name = f"{MODULES.get(node.output[0], '')}/node_{node.output[0]}"
    for node in model.graph.node:  # ONNX Runtime names a convolution after what it computes
        for names in (node.input, node.output):
            names[:] = [f"{MODULES[name]}/{name}" if name in ("mixed", "positive") else name for name in names]
    folder = tmp_path / "with_modules"
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return write_files(folder, manifest_for())


@TARGETS
def test_a_profile_has_stages_and_operators(make_bundle: MakeBundle, photo: Path, target: str) -> None:
    with Engine(make_bundle(target), threads=1) as engine:
        found = engine.profile([photo, photo], runs=4)
    assert list(found.stages) == ["decode", "preprocess", "infer"]
    assert min(found.stages.values()) > 0
    assert (found.images, found.runs) == (2, 4)
    kinds = {each.kind for each in found.operators}
    assert kinds & {"Conv", "Convolution"}
    assert kinds & {"Gemm", "FullyConnected"}
    times = [each.milliseconds for each in found.operators]
    assert times == sorted(times, reverse=True)
    assert all(0 <= each < 1e3 for each in times)
    assert sum(found.by_kind().values()) == pytest.approx(sum(times))
    assert sum(found.by_module().values()) == pytest.approx(sum(times))


@TARGETS
def test_without_images_only_inference_is_measured(make_bundle: MakeBundle, target: str) -> None:
    with Engine(make_bundle(target, batch=3)) as engine:
        found = engine.profile(runs=2)
    assert list(found.stages) == ["infer"]
    assert found.images == 3


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_operators_have_the_module_of_the_users_model(bundle_with_modules: Path, backend: str) -> None:
    with Engine(bundle_with_modules, backend=backend) as engine:
        found = engine.profile(runs=2)
    by_module = {each.module: each.kind for each in found.operators}
    assert by_module["stem.mix"] in ("Conv", "Convolution")
    assert by_module["stem.pool"] in ("GlobalAveragePool", "Reduce")
    assert "stem.pool" in str(found)


@pytest.mark.parametrize(
    ("names", "module"),
    [
        (("body.0/node_a",), "body.0"),
        (("body.0/node_a/fused/MatMul",), "body.0"),
        (("/node_of_the_model", "body.0/node_a_nchwc"), "body.0"),
        (("renamed", "body.0/node_a"), "body.0"),
        (("/node_of_the_model/fused",), ""),
        (("renamed",), ""),
    ],
)
def test_an_engines_names_lead_to_modules(names: tuple[str, ...], module: str) -> None:
    [row] = operator_times([Timed(Operator("MatMul", "f32", names), 1.0)])
    assert row.module == module


def test_a_profile_prints_as_tables() -> None:
    rows = operator_times(
        [Timed(Operator("MatMul", "f32", ("head/a",)), 3.0), Timed(Operator("Add", "f32", ("b",)), 1.0)]
    )
    engine = {"backend": "openvino", "version": "1", "device": "CPU", "precision": "f32"}
    lines = str(Profile(engine, 1, 5, {"infer": 4.5}, rows)).splitlines()
    assert lines[0] == "openvino, 1, CPU, f32; images: 1, median of 5 runs"
    assert f"{'head':60} {3:9.3f}  75.0%" in lines
    assert f"{'(not known)':60} {1:9.3f}  25.0%" in lines
    assert f"{'MatMul f32':60} {3:9.3f}  75.0%" in lines


def backends_opened(target: str, patch: pytest.MonkeyPatch) -> list[Any]:
    """Takes every backend that an engine opens for this target from now on."""
    runner: Any = backend_for(target, None)
    make, opened = runner.__init__, []

    def noted(backend: Backend, *arguments: Any) -> None:
        make(backend, *arguments)
        opened.append(backend)

    patch.setattr(runner, "__init__", noted)
    return opened


@TARGETS
def test_profiling_leaves_the_engine_and_the_disk_as_they_were(
    make_bundle: MakeBundle, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    opened = backends_opened(target, monkeypatch)
    with Engine(make_bundle(target)) as engine:
        work = tmp_path / "work"
        work.mkdir()
        monkeypatch.chdir(work)
        monkeypatch.setattr("tempfile.tempdir", str(work))
        [backend] = opened
        before = vars(backend).copy()
        engine.profile(pixels, runs=1)
        assert vars(backend) == before
        assert_right(engine(pixels), pixels)
    assert list(work.iterdir()) == []
    with pytest.raises(EngineClosedError):
        engine.profile()
    with pytest.raises(EngineClosedError):
        engine.warm_up()


def test_profile_takes_one_inference(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    with Engine(make_bundle(batch=2)) as engine, pytest.raises(InputError, match="more images than one inference"):
        engine.profile(pixels)


@TARGETS
@pytest.mark.parametrize("batch", ["batch", 2])
def test_warm_up_runs_inferences_of_that_size(
    make_bundle: MakeBundle, target: str, batch: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    runner = backend_for(target, None)
    infer = runner.infer

    def noted(backend: Backend, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(len(inputs["image"]))
        return infer(backend, inputs)

    monkeypatch.setattr(runner, "infer", noted)
    with Engine(make_bundle(target, batch=batch)) as engine:
        engine.warm_up()
        engine.warm_up(batch=4, runs=1)
    assert sizes == ([1, 1, 1, 4] if batch == "batch" else [2, 2, 2, 2])


@pytest.mark.parametrize("wrong", [0, -1, 1.0, True, "2"])
@pytest.mark.parametrize("use", ["warm_up", "profile"])
def test_counts_must_be_positive_numbers(make_bundle: MakeBundle, use: str, wrong: Any) -> None:
    with Engine(make_bundle()) as engine, pytest.raises(InputError, match="runs is"):
        getattr(engine, use)(runs=wrong)


def test_throughput_infers_in_parallel_what_one_thread_gets(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = np.random.default_rng(5).integers(0, 256, (40, 2, 8, 12, 3), dtype=np.uint8)
    opened = backends_opened("openvino", monkeypatch)
    with Engine(make_bundle("openvino"), hint="throughput") as engine:
        [backend] = opened
        assert backend.parallel >= 1
        expected = [engine(batch)["logits"] for batch in batches]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda batch: engine(batch)["logits"], batches))
    np.testing.assert_array_equal(found, expected)


def test_closing_an_engine_for_throughput_waits_or_refuses(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    engine = Engine(make_bundle("openvino"), hint="throughput")
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


def test_a_hint_is_never_ignored(make_bundle: MakeBundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the onnxruntime backend has no performance hints"):
        Engine(make_bundle(), hint="throughput")
    with pytest.raises(InputError, match="unknown hint 'latnecy'") as caught:
        Engine(make_bundle(folder=tmp_path / "b"), hint="latnecy")
    assert "'latency'" in caught.value.fix


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes())


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


@TARGETS
@pytest.mark.parametrize("change", [rewrite, replace, Path.unlink])
def test_a_file_that_changes_between_check_and_load_is_found(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, target: str, change: Callable[[Path], None]
) -> None:
    """A file that changes at the worst moment: the engine has read it already."""
    folder = make_bundle(target)
    file = folder / ("model.onnx" if target == "onnx" else "model.bin")
    Engine(folder).close()
    runner = sys.modules[f"hamsa_runtime.backends.{'onnxruntime' if target == 'onnx' else 'openvino'}"].Runner
    load = runner.__init__

    def load_and_change(*arguments: Any) -> None:
        load(*arguments)
        change(file)

    monkeypatch.setattr(runner, "__init__", load_and_change)
    with pytest.raises(InputError, match="changed while the bundle was loaded") as caught:
        Engine(folder)
    assert str(file) in caught.value.found


def test_a_second_loading_for_the_profiler_is_checked_too(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    with Engine(folder) as engine:
        replace(folder / "model.onnx")
        for use in (engine.operators, engine.profile):
            with pytest.raises(InputError, match="changed while the bundle was loaded"):
                use()
