"""Disks that are full, at each place that is written to; pipeline/test_staging.py has every single write."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamsa_runtime import open_bundle

from .conftest import ARRAYS, IMAGES, INT8, MODULE, Did, Hamsa, bundle_at, pictures, snapshot

ROOM = "400k"
# What the stages before OpenVINO's need; its own files then find no room.
FOR_ONNX = 20_000


@pytest.fixture
def disk(workplace: Path) -> Iterator[Path]:
    """A small one."""
    place = workplace / "small disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small tmpfs needs root; tests/pipeline/test_staging.py injects the error at every write")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path, leave: int) -> None:
    """Write until the disk is full, and give so many bytes back."""
    with (disk / "ballast").open("wb", buffering=0) as stream:
        with contextlib.suppress(OSError):
            while stream.write(bytes(1024)):
                pass
        stream.truncate((disk / "ballast").stat().st_size - leave)


@pytest.mark.parametrize(
    ("arguments", "leave"),
    [
        (ARRAYS, 4096),
        ((*ARRAYS[:-1], "openvino"), FOR_ONNX),
        ((*INT8, "photos"), 4096),
        ((*ARRAYS[:-1], "triton"), 4096),
    ],
    ids=["onnx", "openvino", "int8", "triton"],
)
def test_row_24_an_export_to_a_full_disk_leaves_the_old_bundle_intact(
    hamsa: Hamsa, workplace: Path, disk: Path, arguments: tuple[str, ...], leave: int, did: Did
) -> None:
    pictures(workplace / "photos", 20)
    target = arguments[arguments.index("--to") + 1]
    output = disk / "repository" if target == "triton" else bundle_at(disk / "bundle")
    fill(disk, leave)
    before = snapshot(disk)
    done = hamsa("export", *arguments, "-o", output)
    assert done.code == 2, done.err
    assert "cannot be written" in done.err
    assert str(output) in done.err
    assert snapshot(disk) == before
    did(f"export to a full tmpfs, {target}{' int8' * ('--int8' in arguments)}: exit 2, all as it was, nothing left")


def test_row_24_a_full_folder_for_temporary_files_is_an_error_that_names_it(
    hamsa: Hamsa, disk: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    fill(disk, 4096)
    before = snapshot(disk)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    done = hamsa("export", *ARRAYS, "--tune", "-o", "bundle")
    assert done.code == 2, done.err
    assert f"{disk}: cannot be written" in done.err
    assert "TMPDIR" in done.err
    assert snapshot(disk) == before
    assert not Path("bundle").exists()
    did("a full folder for temporary files: exit 2, names TMPDIR")


def test_row_24_a_sweep_on_a_full_disk_leaves_no_half_bundle_and_goes_on_later(
    hamsa: Hamsa, disk: Path, did: Did
) -> None:
    fill(disk, 4096)
    sweep = ("export", *ARRAYS[:-2], "--sweep", "targets=onnx", "-o", disk / "sweep")
    done = hamsa(*sweep)
    assert done.code == 2, done.err
    assert f"{disk / 'sweep'}: cannot be written" in done.err
    assert {path.name for path in (disk / "sweep").iterdir()} <= {"sweep.json"}
    (disk / "ballast").unlink()
    assert hamsa(*sweep).code == 0
    open_bundle(disk / "sweep" / "Sharpening-onnx-fp32").verify()
    did("a sweep: exit 2, no half bundle; the same command goes on once there is room")


def test_row_24_a_report_on_a_full_disk_leaves_the_old_report_intact(
    hamsa: Hamsa, workplace: Path, disk: Path, did: Did
) -> None:
    assert hamsa("export", *IMAGES, "-o", "right", "--quiet").code == 0
    parity = ("parity", "right", "--model", f"{MODULE}:Classifier", "--report", disk / "report.html")
    assert hamsa(*parity).code == 0
    fill(disk, 4096)
    before = snapshot(disk)
    done = hamsa(*parity)
    assert done.code == 2, done.err
    assert f"{disk / 'report.html'}: cannot be written" in done.err
    assert snapshot(disk) == before
    did("hamsa-parity --report: exit 2, the old report as it was")


def test_row_24_a_full_cache_keeps_no_plan_and_says_so(
    hamsa: Hamsa, workplace: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    fill(disk, 4096)
    done = hamsa("build", bundle_at(workplace / "rtx", "tensorrt-rtx"), "--json")
    report = json.loads(done.out)
    assert (done.code, report["verdict"], report["plan"]) == (0, "built", None), done.err
    assert "No space left on device" in report["notes"][0]
    assert not [path for path in disk.rglob("*") if ".tmp-" in path.name]
    did("hamsa-build with a full cache: builds, and says that the plan could not be kept")
