"""Which TensorRT plan C++ loads: the bundle's own, or the one that `hamsa-build` has put into the cache. Needs neither
TensorRT nor a GPU."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.tensorrt.cache import identity_of, key_of
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.engine_files import source_of
from hamsa_runtime.tensorrt.gpu import has_gpu

from ..runtime.tiny_bundles import image_model, manifest_for, write_files
from .building import BUILD, SOURCE, Probe, run

ORIN = ("tensorrt", "10.3.0", "Orin", "8.7")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"max_batch": 16, "workspace_mib": 512, "other": 1.5},
    {"workspace_mib": None, "refit": True, "compute_capabilities": "8.9  12.0", "hardware_compatibility": "ampere+"},
]


def bundle(folder: Path, plan: bytes | None = None, version: str = "10.3.0", **changes: Any) -> Path:
    """For TensorRT; its plan is none, which nobody reads here."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(image_model("graph", "batch").SerializeToString())
    if plan is not None:
        (folder / "model.plan").write_bytes(plan)
        engine = {"missing": "", "module": "tensorrt", "version": version, "gpu": "Orin", "compute_capability": "8.7"}
        rest = {"system": "Linux aarch64", "seconds": 1.0, "asked": {}, "achieved": None}
        changes["engine"] = {**engine, **rest}
    return write_files(folder, manifest_for(**{"target": "tensorrt", **changes}))


def identity(folder: Path, module: str, version: str, gpu: str | None, capability: str | None) -> dict[str, Any]:
    trt = SimpleNamespace(__name__=module, __version__=version)
    device = None if gpu is None else Gpu(0, gpu, str(capability), 1, 1)
    return {**identity_of(trt, source_of(open_bundle(folder)), device), "system": "Linux aarch64"}


def ask(probe: Probe, folder: Path, machine: tuple[str | None, ...] = ORIN) -> tuple[dict[str, Any], str, bytes]:
    """The answer, the key, and the plan, which is empty after an error."""
    key, plan = folder.parent / "key", folder.parent / "plan"
    plan.write_bytes(b"")
    answer = probe.ask("plan", folder, key, plan, *(word or "-" for word in machine), "Linux aarch64")
    return answer, key.read_text(), plan.read_bytes()


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize(
    "machine", [ORIN, ("tensorrt_rtx", "1.7.1.116", None, None), ("tensorrt", "11.1", 'µ"\x7f', "9.0")]
)
def test_the_key_is_that_of_python(
    probe: Probe, tmp_path: Path, options: dict[str, Any], machine: tuple[str, str, str | None, str | None]
) -> None:
    folder = bundle(tmp_path / "bundle", options=options)
    _, key, _ = ask(probe, folder, machine)
    assert key == key_of(identity(folder, *machine))


@pytest.mark.parametrize("name", ["max_batch", "refit", "hardware_compatibility", "workspace_mib"])
def test_options_of_another_kind_are_refused(probe: Probe, tmp_path: Path, name: str) -> None:
    answer, _, _ = ask_unanswered(probe, bundle(tmp_path / "bundle", options={name: 1.5}))
    assert answer["kind"] == "InputError"
    assert answer["found"] == f"manifest.json: options.{name} is 1.5"


def ask_unanswered(probe: Probe, folder: Path) -> tuple[dict[str, Any], str, bytes]:
    (folder.parent / "key").write_text("")
    return ask(probe, folder)


def test_the_plan_of_the_bundle_is_loaded_where_it_was_built(probe: Probe, tmp_path: Path) -> None:
    assert ask(probe, bundle(tmp_path / "bundle", plan=b"a plan"))[::2] == ({}, b"a plan")


def test_a_plan_of_another_version_is_never_loaded_and_both_are_shown(probe: Probe, tmp_path: Path) -> None:
    answer, _, plan = ask(probe, bundle(tmp_path / "bundle", plan=b"a plan", version="10.4.0"))
    assert plan == b""
    assert (answer["kind"], answer["exit_code"]) == ("BuildError", 5)
    assert answer["found"] == (
        "the bundle's plan is of tensorrt 10.4.0 on Orin (8.7), Linux aarch64, "
        "this is tensorrt 10.3.0 on Orin (8.7), Linux aarch64"
    )
    assert "hamsa-build" in answer["fix"]


@pytest.mark.parametrize("damage", [None, "plan", "identity", "json", "gone"])
def test_the_cache_is_believed_only_if_hash_and_identity_are_right(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str | None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = bundle(tmp_path / "bundle")
    here = identity(folder, *ORIN)
    place = tmp_path / "cache/hamsa-runtime/plans" / key_of(here)
    place.mkdir(parents=True)
    entry: dict[str, Any] = {"identity": {**here, "gpu": "Thor"} if damage == "identity" else here}
    entry["sha256"] = hashlib.sha256(b"built here").hexdigest()
    (place / "entry.json").write_text("{" if damage == "json" else json.dumps(entry))
    if damage != "gone":
        (place / "model.plan").write_bytes(b"changed" if damage == "plan" else b"built here")
    probe = Probe(build / "tests/hamsa_probe")
    answer, _, plan = ask(probe, folder)
    probe.close()
    assert plan == (b"" if damage else b"built here")
    assert answer.get("kind") == ("BuildError" if damage else None)


@pytest.mark.slow
def test_the_backend_compiles_and_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    """With the headers of TensorRT and CUDA where CMAKE_INCLUDE_PATH and CMAKE_LIBRARY_PATH say; skipped without."""
    folder = BUILD.parent / "tensorrt"
    if not (folder / "CMakeCache.txt").is_file():
        pytest.skip("build/cpp/tensorrt is not configured: cmake -D HAMSA_WITH_TENSORRT=ON, where the headers are")
    run(["cmake", "--build", folder], SOURCE)
    if has_gpu():
        pytest.skip("there is a GPU")
    rtx = "HAMSA_WITH_TENSORRT_RTX:STRING=ON" in (folder / "CMakeCache.txt").read_text()
    done = subprocess.run(
        [
            folder / "hamsa-run",
            bundle(tmp_path / "bundle", target="tensorrt-rtx" if rtx else "tensorrt"),
            SOURCE / "tests/data/pixels.npy",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "cudaGetDeviceCount: cudaError" in done.stderr
