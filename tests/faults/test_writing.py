"""Rows 23 to 27 and 40: caches and writes that are cut short, and several writers at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hamsa_deploy.bundle import staged_bundle
from hamsa_runtime import open_bundle
from hamsa_runtime.tensorrt.cache import PLAN, Source, identity_of, key_of, plans_folder
from hamsa_runtime.tensorrt.options import BuildOptions
from tests.runtime.tiny_bundles import write_files

from .conftest import ARRAYS, Did, bundle_at, snapshot

# One process that has imported everything, and a child for each export; the child says which stage it is in.
FORKED = """
import contextlib, os, sys
sys.path.insert(0, ".")
from pathlib import Path
import torch
from hamsa_deploy.pipeline import export
from hamsa_deploy.cli.export import main
from models_with_faults import Sharpening

@contextlib.contextmanager
def stage(name):
    print("stage", name, flush=True)
    yield

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        torch.manual_seed(0)
        inputs = torch.randn(2, 12), torch.randn(2, 3)
        export(Sharpening(), inputs, to="onnx", output="bundle", name=line.strip(), progress=stage)
        print("done", flush=True)
        os._exit(0)
    print("child", child, flush=True)
    os.waitpid(child, 0)
    print("over", flush=True)
"""
STAGES = ("real form", "onnx", "parity", "pack")


class Exports:
    """Exports in children of a process that is ready."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", FORKED]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, name: str, stage: str = "", delay: float = 0.0) -> dict[str, float]:
        """One export; killed so many seconds after the start of a stage. When each stage began, "over" the last."""
        assert self.process.stdin
        assert self.process.stdout
        print(name, file=self.process.stdin, flush=True)
        child, began = 0, {}
        for line in self.process.stdout:
            kind, _, rest = line.strip().partition(" ")
            child = int(rest) if kind == "child" else child
            began[rest or kind] = time.monotonic()
            if kind == "stage" and rest == stage:
                time.sleep(delay)
                os.kill(child, signal.SIGKILL)
            if kind == "over":
                break
        return began


def killed(kills: int, workplace: Path, seed: int) -> str:
    """Kill so many exports, in turn in each stage, at random moments of it. After each, look and write again."""
    rng, exports = random.Random(seed), Exports()
    exports.run("first")
    began = exports.run("0")
    moments = [began[stage] for stage in STAGES] + [began["done"]]
    lasts = {stage: after - before for stage, before, after in zip(STAGES, moments, moments[1:], strict=False)}
    bundle, old, new, leftovers = workplace / "bundle", 0, 0, 0
    for i in range(1, kills + 1):
        before = snapshot(bundle)
        stage = STAGES[i % len(STAGES)]
        exports.run(str(i), stage, rng.random() * lasts[stage])
        found = open_bundle(bundle)
        found.verify()
        is_new = found.manifest.name == str(i)
        assert is_new or snapshot(bundle) == before, (i, stage)
        old, new = old + (not is_new), new + is_new
        leftovers += len([path for path in workplace.iterdir() if path.name.startswith(".bundle.")])
        with staged_bundle(bundle):
            pass
        assert not [path for path in workplace.iterdir() if path.name.startswith(".bundle.")], (i, stage)
    exports.run("last")
    assert open_bundle(bundle).manifest.name == "last"
    assert exports.process.stdin
    exports.process.stdin.close()
    exports.process.wait(30)
    return (
        f"{kills} SIGKILLs survived: {old} left the old bundle, {new} the new one, 0 half; {leftovers} leftovers swept"
    )


def test_row_25_kills(workplace: Path, did: Did) -> None:
    did(killed(6, workplace, seed=25))


@pytest.mark.slow
def test_row_25_two_hundred_kills(workplace: Path, did: Did) -> None:
    did(killed(200, workplace, seed=200))


def test_row_24_full_disk(hamsa, workplace: Path, did: Did) -> None:
    place = workplace / "small disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small tmpfs needs root; tests/test_bundle.py injects the error at every write")
    try:
        old = bundle_at(place / "bundle")
        fill(place / "ballast", leave=4096)
        before = snapshot(place)
        done = hamsa("export", *ARRAYS, "-o", old)
        assert done.code == 2, done.err
        assert "No space left on device" in done.err
        assert str(old) in done.err
        assert snapshot(place) == before
    finally:
        subprocess.run(["umount", place], check=True)
    did("an export to a tmpfs that is full: exit 2, names the place; the old bundle as it was, nothing left")


def fill(path: Path, leave: int) -> None:
    """Write until the disk is full, and give so many bytes back."""
    with path.open("wb", buffering=0) as stream:
        with contextlib.suppress(OSError):
            while stream.write(bytes(1024)):
                pass
        stream.truncate(path.stat().st_size - leave)


def test_row_21_another_machine(hamsa, workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    theirs = {"missing": "", "module": "tensorrt_rtx", "version": "0.1", "system": "Linux riscv64", "gpu": None}
    theirs |= {"compute_capability": None, "seconds": 1.0, "asked": {}, "achieved": None}
    rtx = bundle_at(workplace / "rtx", "tensorrt-rtx", engine=theirs)
    document = json.loads((rtx / "manifest.json").read_text())
    (rtx / PLAN).write_bytes(b"of another machine")
    write_files(rtx, document)
    done = hamsa("build", rtx)
    assert (done.code, "plan built in" in done.out) == (0, True), done
    assert "the bundle's plan is of tensorrt_rtx 0.1, Linux riscv64, this is tensorrt_rtx " in done.err
    did("a plan of tensorrt_rtx 0.1 on riscv64: both machines shown, built again from the bundle's ONNX file")


def test_row_22_no_plan(hamsa, workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    monkeypatch.setattr("hamsa_runtime.tensorrt.building.run_builder", lambda *_: None)
    done = hamsa("build", bundle_at(workplace / "rtx", "tensorrt-rtx"))
    assert (done.code, "could not build a plan" in done.err) == (5, True), done
    assert not list(plans_folder().glob(f"*/{PLAN}"))
    did("a builder that returns nothing: exit 5, nothing in the cache")


def test_row_27_misses(did: Did) -> None:
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


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Python with SIGINT as a terminal would leave it, in a process group of its own."""
    code = f"import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{program}"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


BUILD = "from hamsa_runtime.cli.build import main\nsys.exit(main())"
EXPORT = "sys.path.insert(0, '.')\nfrom hamsa_deploy.cli.export import main\nsys.exit(main())"


def test_row_26_at_once(workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    exports = [started(EXPORT, *ARRAYS, "--quiet", "-o", "bundle") for _ in range(2)]
    assert [process.wait(200) for process in exports] == [0, 0]
    open_bundle("bundle").verify()
    assert not [path for path in workplace.iterdir() if path.name.startswith(".")]
    rtx = bundle_at(workplace / "rtx", "tensorrt-rtx")
    builds = [started(BUILD, str(rtx), "--json", "--quiet") for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=200)[0]) for process in builds]
    assert sorted(report["verdict"] for report in reports) == ["built", "found"]
    did("2 exports to one place: both exit 0, the bundle whole; 2 hamsa-build of one: one built, the other found it")


def test_row_23_damaged_plan(hamsa, workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    rtx = bundle_at(workplace / "rtx", "tensorrt-rtx")
    assert hamsa("build", rtx, "--quiet").code == 0
    plan = next(plans_folder().glob(f"*/{PLAN}"))
    plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    done = hamsa("build", rtx)
    assert (done.code, "is damaged" in done.err, "plan built in" in done.out) == (0, True, True), done
    did("a byte of a cached plan changed: discarded, reported, built again")


def test_row_40_ctrl_c(workplace: Path, older: Path, monkeypatch: pytest.MonkeyPatch, did: Did) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    before = snapshot(older)
    process = started(EXPORT, *ARRAYS, "-o", "older")
    assert process.stderr
    assert "load" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted; nothing was written")
    assert snapshot(older) == before
    assert not [path for path in workplace.iterdir() if path.name.startswith(".older")]
    did(f"SIGINT to an export's process group: exit 130 after {time.monotonic() - start:.1f} s, nothing written")
