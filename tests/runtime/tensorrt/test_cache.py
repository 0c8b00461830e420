"""Plans on the device: found again, never mixed up, never half-written."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from hamsa_runtime.errors import BuildError
from hamsa_runtime.tensorrt import cache
from hamsa_runtime.tensorrt.cache import ENTRY, PLAN, Source, cached_plan, identity_of, key_of
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.whole_files import temporary_folder

from ..tiny_bundles import image_model

ORIN = Gpu(0, "Orin", "8.7", 10**9, 8 * 10**9)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A file to build from, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "Zwischen speicher"))
    path = tmp_path / "model.onnx"
    onnx.save(image_model("runtime", 1), path)
    return Source(path, {"model.onnx": "0" * 64}, BuildOptions())


def test_what_was_built_is_found_again(rtx: Any, source: Source) -> None:
    built, found = cached_plan(rtx, source, None), cached_plan(rtx, source, None)
    assert (built.built, found.built) == (True, False)
    assert built.plan == found.plan
    assert built.path is not None
    assert built.path.read_bytes() == built.plan  # nothing in front of it: other tools can load it
    assert found.entry == json.loads(built.path.with_name(ENTRY).read_text())
    assert found.entry["achieved"]["fell_back"] == []
    assert cached_plan(rtx, source, None, rebuild=True).built


def test_a_plan_is_kept_under_the_hash_of_all_that_it_depends_on(rtx: Any, source: Source) -> None:
    class Newer:
        __name__, __version__ = rtx.__name__, "9.9.9"

    identities = [
        identity_of(rtx, source, None),
        identity_of(Newer, source, None),
        identity_of(rtx, source, ORIN),
        identity_of(rtx, source, replace(ORIN, name="Xavier")),
        identity_of(rtx, source, replace(ORIN, compute_capability="7.2")),
        identity_of(rtx, replace(source, hashes={"model.onnx": "1" * 64}), None),
        identity_of(rtx, replace(source, hashes={**source.hashes, "model.onnx.data": "0" * 64}), None),
        *(
            identity_of(rtx, replace(source, options=replace(BuildOptions(), **change)), None)
            for change in (
                {"min_batch": 2, "opt_batch": 2},
                {"opt_batch": 2},
                {"max_batch": 9},
                {"workspace_mib": 64},
                {"optimization_level": 4},
                {"version_compatible": True},
                {"hardware_compatibility": "ampere+"},
                {"refit": True},
                {"strip_weights": True},
                {"compute_capabilities": ("8.6",)},
            )
        ),
    ]
    assert len({key_of(identity) for identity in identities}) == len(identities)
    # how much of the GPU happens to be free changes nothing
    busy = replace(ORIN, free_bytes=1)
    assert key_of(identity_of(rtx, source, busy)) == key_of(identity_of(rtx, source, ORIN))


def test_what_this_device_can_spare_does_not_change_where_the_plan_is(rtx: Any, source: Source) -> None:
    built = cached_plan(rtx, source, None, workspace_mib=2000)
    assert cached_plan(rtx, source, None).path == built.path


@pytest.mark.parametrize(
    "damage", ["cut", "swapped", "entry", "no entry", "no plan", "other identity", "no seconds", "odd seconds"]
)
def test_a_damaged_entry_is_discarded_reported_and_built_again(
    rtx: Any, source: Source, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    built = cached_plan(rtx, source, None)
    assert built.path is not None
    entry = built.path.with_name(ENTRY)
    if damage == "cut":
        built.path.write_bytes(built.plan[:-1])
    elif damage == "swapped":
        built.path.write_bytes(b"\0" + built.plan[1:])
    elif damage == "entry":
        entry.write_text("{")
    elif damage == "no entry":
        entry.unlink()
    elif damage == "no plan":
        built.path.unlink()
    else:
        document = json.loads(entry.read_text())
        if damage == "other identity":
            document["identity"]["version"] = "0.1"
        elif damage == "no seconds":
            del document["seconds"]
        else:
            document["seconds"] = "long"
        entry.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        again = cached_plan(rtx, source, None)
    assert again.built
    assert "is damaged" in caplog.text
    assert str(built.path.parent) in caplog.text
    assert not cached_plan(rtx, source, None).built


def test_a_build_that_fails_leaves_the_cache_as_it_was(rtx: Any, source: Source, tmp_path: Path) -> None:
    kept = cached_plan(rtx, source, None)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BuildError):
        cached_plan(rtx, Source(broken, {"model.onnx": "2" * 64}, BuildOptions()), None)
    new = {path.suffix for path in set(tmp_path.rglob("*")) - set(before)}
    assert new <= {".lock"}
    assert not cached_plan(rtx, source, None).built
    assert kept.path is not None


def test_an_interrupted_build_leaves_nothing(rtx: Any, source: Source) -> None:
    def interrupt(phase: str, done: float | None, seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_plan(rtx, source, None, report=interrupt)
    folder = cache.plans_folder()
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == []
    assert cached_plan(rtx, source, None).built


def test_a_place_that_cannot_be_written_costs_the_next_start_only(
    rtx: Any, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = cached_plan(rtx, source, None)
    assert found.plan
    assert found.path is None
    assert "plans cannot be kept" in caplog.text


def test_a_full_disk_keeps_the_old_plan(
    rtx: Any, source: Source, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = cached_plan(rtx, source, None)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert cached_plan(rtx, source, None, rebuild=True).path is None
    assert "No space left on device" in caplog.text
    again = cached_plan(rtx, source, None)
    assert (again.built, again.plan) == (False, old.plan)
    assert not list(cache.plans_folder().glob(".*.tmp-*"))


def test_leftovers_of_killed_processes_are_swept(rtx: Any, source: Source) -> None:
    folder = cache.plans_folder()
    old = folder / ".key.tmp-1-abcdef01"
    old.mkdir(parents=True)
    (old / PLAN).write_bytes(b"half")
    with temporary_folder(folder / "key") as at_work:
        cached_plan(rtx, source, None)
        assert not old.exists()
        assert at_work.exists()


def test_of_two_threads_one_builds_and_the_other_waits(rtx: Any, source: Source) -> None:
    results: list[cache.Cached] = []
    threads = [threading.Thread(target=lambda: results.append(cached_plan(rtx, source, None))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.built for each in results) == [False, True]
    assert results[0].plan == results[1].plan


SCRIPT = """
import sys
from pathlib import Path
from hamsa_runtime.tensorrt.cache import Source, cached_plan
from hamsa_runtime.tensorrt.modules import load
from hamsa_runtime.tensorrt.options import BuildOptions
source = Source(Path(sys.argv[1]), {"model.onnx": "0" * 64}, BuildOptions())
print(cached_plan(load("tensorrt-rtx"), source, None).built)
"""


def test_of_two_processes_one_builds_and_the_other_waits(rtx: Any, source: Source) -> None:
    command = [sys.executable, "-c", SCRIPT, str(source.onnx_file)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = sorted(process.communicate(timeout=120)[0].strip() for process in running)
    assert printed == ["False", "True"]
    shutil.rmtree(cache.plans_folder())
