"""Plans, calibrations and sweeps that are kept, and when they are not used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from hamsa_deploy.parity import metrics
from hamsa_runtime.tensorrt.cache import PLAN, Source, identity_of, key_of, plans_folder
from hamsa_runtime.tensorrt.options import BuildOptions
from tests.runtime.tiny_bundles import write_files

from .conftest import ANY_AGREEMENT, ARRAYS, IMAGES, Did, Hamsa, bundle_at, pictures

Export = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def cache(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all caches, with nothing in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    return workplace / "cache"


def save_weights(scale: float = 1.0) -> None:
    weight = np.random.default_rng(0).standard_normal((5, 192)).astype(np.float32)
    save_file({"head.weight": weight * np.float32(scale), "head.bias": np.zeros(5, np.float32)}, "w.safetensors")


@pytest.fixture
def int8(hamsa: Hamsa, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """An int8 export, always from the same; its notes."""
    monkeypatch.setitem(metrics.THRESHOLDS, "int8", ANY_AGREEMENT)
    pictures(workplace / "photos", 20)
    save_weights()

    def call(method: str = "min-max") -> list[str]:
        how = ("--calibration-method", method, "--calibration", "photos", "--weights", "w.safetensors", "--json")
        done = hamsa("export", *IMAGES, "--int8", *how, "-o", "bundle")
        assert done.code == 0, done.err
        notes: list[str] = json.loads(done.out)["notes"]
        return notes

    return call


def test_row_21_a_plan_of_another_machine_is_shown_and_built_again_from_the_onnx_file(
    hamsa: Hamsa, workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    theirs: dict[str, object] = {
        "missing": "",
        "module": "tensorrt_rtx",
        "version": "0.1",
        "system": "Linux riscv64",
        "gpu": None,
    }
    theirs |= {"compute_capability": None, "seconds": 1.0, "asked": {}, "achieved": None}
    rtx = bundle_at(workplace / "rtx", "tensorrt-rtx", engine=theirs)
    document = json.loads((rtx / "manifest.json").read_text())
    (rtx / PLAN).write_bytes(b"of another machine")
    write_files(rtx, document)
    done = hamsa("build", rtx)
    assert (done.code, "plan built in" in done.out) == (0, True), done
    assert "the bundle's plan is of tensorrt_rtx 0.1, Linux riscv64, this is tensorrt_rtx " in done.err
    did("a plan of tensorrt_rtx 0.1 on riscv64: both machines shown, built again from the bundle's ONNX file")


def test_row_22_a_builder_that_returns_nothing_is_an_exception(
    hamsa: Hamsa, workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    monkeypatch.setattr("hamsa_runtime.tensorrt.building.run_builder", lambda *_: None)
    done = hamsa("build", bundle_at(workplace / "rtx", "tensorrt-rtx"))
    assert (done.code, "could not build a plan" in done.err) == (5, True), done
    assert not list(plans_folder().glob(f"*/{PLAN}"))
    did("a builder that returns nothing: exit 5, nothing in the cache")


def test_row_23_a_damaged_plan_is_discarded_reported_and_rebuilt(
    hamsa: Hamsa, workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    rtx = bundle_at(workplace / "rtx", "tensorrt-rtx")
    assert hamsa("build", rtx, "--quiet").code == 0
    plan = next(plans_folder().glob(f"*/{PLAN}"))
    plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    done = hamsa("build", rtx)
    assert (done.code, "is damaged" in done.err, "plan built in" in done.out) == (0, True, True), done
    did("a byte of a cached plan changed: discarded, reported, built again")


def test_row_23_a_damaged_calibration_is_discarded_reported_and_measured_again(
    hamsa: Hamsa, workplace: Path, cache: Path, int8: Export, did: Did
) -> None:
    int8()
    entries = sorted(cache.rglob("calibration/*"))
    for path in entries:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    notes = int8()
    assert entries
    assert all(any(f"{path} is damaged: discarded" in note for note in notes) for path in entries)
    assert not any("damaged" in note for note in int8())
    did(f"{len(entries)} entries of the calibration cache changed by a byte: each discarded, reported, measured again")


def test_row_23_a_damaged_record_of_a_sweep_is_reported_and_its_cells_rebuilt(
    hamsa: Hamsa, workplace: Path, did: Did
) -> None:
    sweep = ("export", *ARRAYS[:-2], "--sweep", "targets=onnx", "-o", "sweep", "--json")
    status = [json.loads(hamsa(*sweep).out)["cells"][0]["status"] for _ in range(2)]
    record = workplace / "sweep" / "sweep.json"
    record.write_bytes(record.read_bytes()[:-9])
    done = hamsa(*sweep)
    status.append(json.loads(done.out)["cells"][0]["status"])
    assert status == ["built", "kept", "built"]
    assert "sweep.json is damaged" in done.err
    did("a sweep's record cut short: reported, and every cell built again")


def test_row_27_a_changed_option_weight_or_version_misses_the_cache_of_plans(did: Did) -> None:
    options = BuildOptions()
    changes = ({"opt_batch": 2}, {"max_batch": 9}, {"workspace_mib": 64}, {"optimization_level": 4}, {"refit": True})
    source = Source(Path("model.onnx"), {"model.onnx": "0" * 64}, options)
    older, newer = (type("T", (), {"__name__": "tensorrt", "__version__": each})() for each in ("10.3", "10.4"))
    sources = [source, *(replace(source, options=replace(options, **change)) for change in changes)]
    sources.append(replace(source, hashes={"model.onnx": "1" * 64}))
    keys = [key_of(identity_of(older, each, None)) for each in sources]
    keys.append(key_of(identity_of(newer, source, None)))
    assert len(set(keys)) == len(keys)
    did(f"plans: {len(changes)} options, the weights, TensorRT's version, each changed: {len(keys) - 1} misses")


def test_row_27_a_changed_option_weight_image_or_version_misses_the_calibration_cache(
    hamsa: Hamsa,
    workplace: Path,
    cache: Path,
    int8: Export,
    monkeypatch: pytest.MonkeyPatch,
    did: Did,
) -> None:
    def entries() -> int:
        return len(list(cache.rglob("calibration/*")))

    def image() -> None:
        Path("photos/00.png").write_bytes(Path("photos/01.png").read_bytes())

    def weight() -> None:
        save_weights(1.001)

    def version() -> None:
        installed, newer = metadata.Distribution.from_name, SimpleNamespace(version="99")
        found = staticmethod(lambda name: newer if name == "onnxruntime" else installed(name))
        monkeypatch.setattr(metadata.Distribution, "from_name", found)

    int8()
    before = entries()
    int8()
    assert entries() == before > 0
    for change in (image, weight, version):
        change()
        int8()
        assert entries() > before, change.__name__
        before = entries()
    int8(method="mse")  # other scales from the same measurements
    assert entries() == before
    did("calibration: the same again and another method are hits; another image, weight, package version: misses")
