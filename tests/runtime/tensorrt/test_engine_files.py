"""The plan of a bundle: its own if this machine has built it, or else the cache's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hamsa_runtime import Engine
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import EngineBuild
from hamsa_runtime.tensorrt.cache import PLAN, cached_plan, identity_of
from hamsa_runtime.tensorrt.engine_files import machine_text, plan_of_bundle, source_of

from ..tiny_bundles import MakeBundle, write_files


def with_plan(folder: Path, rtx: Any, plan: bytes, **changes: Any) -> Path:
    """Put a plan into a bundle, as built by this module here, but for the changes."""
    bundle = open_bundle(folder)
    identity = identity_of(rtx, source_of(bundle), None)
    engine = {name: identity[name] for name in ("module", "version", "system", "gpu", "compute_capability")}
    engine |= {"missing": "", "seconds": 1.0, "asked": {"f16": 7}}
    engine["achieved"] = {"layers": {"f16": 3}, "fused": 2, "fell_back": ["a/b"]}
    (folder / PLAN).write_bytes(plan)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"engine": engine | changes}
    del manifest["files"]
    return write_files(folder, manifest)


def test_a_plan_of_this_module_and_version_is_taken_as_it_is(rtx: Any, rtx_bundle: Path) -> None:
    bundle = open_bundle(with_plan(rtx_bundle, rtx, b"a plan"))
    bundle.verify()
    found = plan_of_bundle(rtx, bundle, None)
    assert (found.plan, found.built, found.path) == (b"a plan", False, rtx_bundle / PLAN)
    assert found.entry["asked"] == {"f16": 7}
    assert list(found.entry["achieved"]["fell_back"]) == ["a/b"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.0.0"},
        {"module": "tensorrt"},
        {"gpu": "Orin", "compute_capability": "8.7"},
        {"system": "Linux riscv64"},
    ],
)
def test_a_plan_of_another_machine_is_built_again_and_both_are_named(
    rtx: Any, rtx_bundle: Path, change: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    bundle = open_bundle(with_plan(rtx_bundle, rtx, b"a plan from elsewhere", **change))
    found = plan_of_bundle(rtx, bundle, None)
    assert found.built
    assert found.plan != b"a plan from elsewhere"
    assert all(value in caplog.text for value in change.values())
    assert f"{rtx.__name__} {rtx.__version__}" in caplog.text
    assert (rtx_bundle / PLAN).read_bytes() == b"a plan from elsewhere"  # a bundle is never changed
    assert not plan_of_bundle(rtx, bundle, None).built


def test_a_bundle_without_a_plan_is_built_into_the_cache(rtx: Any, rtx_bundle: Path) -> None:
    bundle = open_bundle(rtx_bundle)
    first = plan_of_bundle(rtx, bundle, None, workspace_mib=500)
    assert first.built
    assert first.plan == cached_plan(rtx, source_of(bundle), None).plan
    assert not plan_of_bundle(rtx, bundle, None).built
    assert plan_of_bundle(rtx, bundle, None, rebuild=True).built


def test_a_plan_alone_is_not_run(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_bytes(b"a plan")
    with pytest.raises(InputError, match=r"no manifest\.json in this folder"):
        Engine(tmp_path)
    with pytest.raises(InputError, match="a file, not a bundle's folder"):
        Engine(tmp_path / PLAN)


def test_a_plan_that_the_manifest_does_not_list_is_not_run(rtx_bundle: Path) -> None:
    (rtx_bundle / PLAN).write_bytes(b"a plan")
    with pytest.raises(InputError, match=r"model\.plan: not listed"):
        Engine(rtx_bundle)


def test_a_plan_that_the_manifest_tells_of_and_does_not_list_is_not_run(rtx: Any, rtx_bundle: Path) -> None:
    bundle = open_bundle(rtx_bundle)
    engine = EngineBuild(
        "",
        "tensorrt_rtx",
        str(rtx.__version__),
        identity_of(rtx, source_of(bundle), None)["system"],
        None,
        None,
        9.0,
        {},
        None,
    )
    told = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, engine=engine))
    with pytest.raises(InputError, match=r"lists no model\.plan"):
        plan_of_bundle(rtx, told, None)


def test_a_bundle_for_another_engine_has_no_plan(make_bundle: MakeBundle) -> None:
    with pytest.raises(InputError, match="a bundle for onnx, which needs no plan"):
        source_of(open_bundle(make_bundle("onnx")))


def test_options_of_the_bundle_are_checked(rtx: Any, make_bundle: MakeBundle) -> None:
    folder = make_bundle("tensorrt-rtx", options={"max_batch": 0})
    with pytest.raises(InputError, match="batch profile 1, 1, 0"):
        plan_of_bundle(rtx, open_bundle(folder), None)


def test_native_transforms_are_refused_before_anything_is_built(rtx: Any, make_bundle: MakeBundle) -> None:
    row = {"module": "a", "length": 96, "factors": [96], "kind": "native"}
    with pytest.raises(InputError, match="does not have the operator DFT") as caught:
        plan_of_bundle(rtx, open_bundle(make_bundle("tensorrt-rtx", plan=[row])), None)
    assert "tensorrt 11.2" in caught.value.expected


def test_a_machine_in_words() -> None:
    identity = {"module": "tensorrt", "version": "10.3.0", "gpu": "Orin", "compute_capability": "8.7"}
    identity["system"] = "Linux aarch64"
    assert machine_text(identity) == "tensorrt 10.3.0 on Orin (8.7), Linux aarch64"
    assert machine_text(identity | {"gpu": None}) == "tensorrt 10.3.0, Linux aarch64"
