"""Processes that are killed, interrupted, or two at once."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hamsa_deploy.pipeline.staging import staged_bundle
from hamsa_runtime import open_bundle
from hamsa_runtime.tensorrt.cache import PLAN, plans_folder
from hamsa_runtime.whole_files import SCRATCH, scratch_folder
from tests.runtime.tiny_bundles import manifest_for, onnx_model, write_files

from .conftest import ARRAYS, IMAGES, Did, bundle_at, pictures, snapshot

# One process that has imported everything, and a child for each export; the child says which stage it is in.
FORKED = """
import contextlib, os, sys
sys.path.insert(0, ".")
import torch
from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.parity import metrics
from hamsa_deploy.pipeline.run import export
from hamsa_deploy.form.request import Request
from hamsa_runtime.whole_files import scratch_folder
from models_with_faults import Classifier, Sharpening

for package in sys.argv[1:]:
    __import__(package)
metrics.THRESHOLDS["int8"] = metrics.Thresholds(max_relative_error=1e9, cosine=-1, top1=0)
torch.manual_seed(0)
SIGNAL, IMAGES = (torch.randn(2, 12), torch.randn(2, 3)), (torch.randn(2, 3, 8, 8),)
CALIBRATION = [{"images": image[None].numpy()} for image in torch.randn(20, 3, 8, 8)]
INT8 = {"precision": "int8", "calibration": CALIBRATION, "max_drop": 50.0}
KINDS = {
    "fp32 onnx": (Sharpening, SIGNAL, {"to": "onnx"}),
    "fp16 onnx": (Sharpening, SIGNAL, {"to": "onnx", "precision": "fp16"}),  # not every CPU runs it with OpenVINO
    "int8 openvino": (Classifier, IMAGES, {"to": "openvino", **INT8}),
    "fp32 tensorrt-rtx": (Sharpening, SIGNAL, {"to": "tensorrt-rtx"}),
    "tuned onnx": (Sharpening, SIGNAL, {"to": "onnx", "tune": True}),
}

# What PyTorch loads late, it loads once.
torch.set_num_threads(1)
with scratch_folder() as folder:
    real_model_of_request(Request(Sharpening(), SIGNAL, to="onnx")).write(folder / "model.onnx")

@contextlib.contextmanager
def stage(name):
    print("stage", name, flush=True)
    yield

for line in sys.stdin:
    kind, name = line.strip().split(":")
    child = os.fork()
    if child == 0:
        print("child", os.getpid(), flush=True)
        model, inputs, options = KINDS[kind]
        export(model().eval(), inputs, output="bundle", name=name, progress=stage, **options)
        print("done", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("\\nover", flush=True)  # what native code prints may have been cut inside of a line
"""
ONE_KIND = ("fp32 onnx",)
EVERY_KIND = (*ONE_KIND, "fp16 onnx", "int8 openvino", "fp32 tensorrt-rtx", "tuned onnx")


@dataclass(frozen=True)
class Moment:
    """A stage of an export, and how long it takes."""

    kind: str
    stage: str
    seconds: float


class Exports:
    """Exports in children of a process that is ready."""

    def __init__(self, kinds: Sequence[str]) -> None:
        packages = ["onnxruntime", *(["nncf", "openvino", "tensorrt_rtx"] if len(kinds) > 1 else [])]
        command = [sys.executable, "-c", FORKED, *packages]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Exports:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)

    def run(self, kind: str, name: str, stage: str = "", delay: float = 0.0) -> dict[str, float]:
        """One export; killed so many seconds after the start of a stage. When each stage began, "over" the last."""
        assert self.process.stdin
        assert self.process.stdout
        print(f"{kind}:{name}", file=self.process.stdin, flush=True)
        child, began = 0, {}
        for line in filter(str.strip, self.process.stdout):
            said, _, rest = line.strip().partition(" ")
            child = int(rest) if said == "child" else child
            began[rest or said] = time.monotonic()
            if said == "stage" and rest == stage:
                time.sleep(delay)
                with contextlib.suppress(ProcessLookupError):  # it was faster than the one that was timed
                    os.kill(child, signal.SIGKILL)
            if said == "over":
                break
        return began

    def moments(self, kind: str) -> Iterator[Moment]:
        """The stages of an export that is not killed."""
        self.run(kind, "first")
        began = self.run(kind, "0")
        assert "done" in began
        times = [(stage, when) for stage, when in began.items() if not stage.isdecimal()]  # but the child's number
        for (stage, when), (_, after) in itertools.pairwise(times):
            if stage == "tune" or (stage != "done" and "tune" not in began):  # it is long, and the others are known
                yield Moment(kind, stage, after - when)


def killed(kills: int, kinds: tuple[str, ...], workplace: Path, seed: int) -> str:
    """Kill so many exports, in turn in each stage, at random moments of it. After each, look and write again."""
    rng, bundle, old, new, leftovers = random.Random(seed), workplace / "bundle", 0, 0, 0
    with Exports(kinds) as exports:
        moments = [each for kind in kinds for each in exports.moments(kind)]
        for i in range(1, kills + 1):
            before, moment = snapshot(bundle), moments[i % len(moments)]
            exports.run(moment.kind, str(i), moment.stage, rng.random() * moment.seconds)
            found = open_bundle(bundle)
            found.verify()
            is_new = found.manifest.name == str(i)
            assert is_new or snapshot(bundle) == before, (i, moment)
            old, new = old + (not is_new), new + is_new
            leftovers += len(left_in(workplace))
            with staged_bundle(bundle), scratch_folder():
                pass
            assert not left_in(workplace), (i, moment)
        for kind in reversed(kinds):
            assert "done" in exports.run(kind, "last")
    assert open_bundle(bundle).manifest.name == "last"
    assert not list(workplace.rglob(".*.tmp-*"))
    stages = len({moment.stage for moment in moments})
    return (
        f"{kills} SIGKILLs survived, in {stages} stages of {', '.join(kinds)}: {old} left the old bundle, {new} the "
        f"new one, 0 half; {leftovers} leftovers swept"
    )


def left_in(workplace: Path) -> list[Path]:
    """Temporary files and folders; the workplace is the system's folder for them, too."""
    return [path for path in workplace.iterdir() if path.name.startswith((".bundle.", SCRATCH))]


@pytest.fixture
def temporary(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that an export writes, caches too, is in the workplace."""
    monkeypatch.setenv("TMPDIR", str(workplace))
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.mark.usefixtures("temporary")
def test_row_25_a_killed_export_leaves_old_or_new_and_the_next_run_sweeps(workplace: Path, did: Did) -> None:
    did(killed(6, ONE_KIND, workplace, seed=25))


@pytest.mark.slow
@pytest.mark.usefixtures("temporary")
def test_row_25_two_hundred_killed_exports_leave_old_or_new(workplace: Path, did: Did) -> None:
    did(killed(200, EVERY_KIND, workplace, seed=200))


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Python with SIGINT as a terminal would leave it, in a process group of its own."""
    code = f"import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{program}"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


BUILD = "from hamsa_runtime.cli.build import main\nsys.exit(main())"
EXPORT = "sys.path.insert(0, '.')\nfrom hamsa_deploy.cli.export import main\nsys.exit(main())"


def test_row_26_two_exports_or_builds_of_one_place_at_once_are_both_valid(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
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


def interrupted(process: subprocess.Popen[str], after: str) -> tuple[list[str], float]:
    """SIGINT to the process group once a line of stderr holds `after`; the other lines, and the seconds to the end."""
    assert process.stderr
    assert any(after in line for line in process.stderr), "it ended before"
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    err = process.communicate(timeout=100)[1]
    assert process.returncode == 130, err
    return err.splitlines(), time.monotonic() - start


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_row_40_ctrl_c_ends_an_export_within_a_second_and_nothing_is_half_written(
    workplace: Path, older: Path, monkeypatch: pytest.MonkeyPatch, precision: str, did: Did
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    before = snapshot(older)
    if precision == "int8":
        photos = str(pictures(workplace / "photos", 20))
        lines, seconds = interrupted(
            started(EXPORT, *IMAGES, "--int8", "--calibration", photos, "-o", "older"), after="onnx"
        )
    else:
        lines, seconds = interrupted(started(EXPORT, *ARRAYS, "-o", "older"), after="load")
    assert lines[-1] == "interrupted; nothing was written"
    assert snapshot(older) == before
    assert not [path for path in workplace.iterdir() if path.name.startswith(".older")]
    did(f"SIGINT to an export in {precision}: exit 130 after {seconds:.1f} s, nothing written")


def test_row_40_ctrl_c_ends_a_sweep_and_keeps_its_finished_cells(workplace: Path, did: Did) -> None:
    sweep = (*ARRAYS[:-2], "--sweep", "targets=onnx,openvino", "-o", "sweep")
    lines, seconds = interrupted(started(EXPORT, *sweep), after="[2/2]")
    assert "the same command goes on from there" in lines[-1]
    open_bundle("sweep/Sharpening-onnx-fp32").verify()
    assert {path.name for path in Path("sweep").iterdir()} == {"sweep.json", "Sharpening-onnx-fp32"}
    did(f"SIGINT to a sweep's second cell: exit 130 after {seconds:.1f} s, the first is whole and kept")


def test_row_40_ctrl_c_ends_a_build_or_says_when_it_will(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, did: Did
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    lines, seconds = interrupted(started(BUILD, str(deep_bundle(workplace / "deep"))), after="Building")
    assert "stopping at the builder's next step" in lines[0]
    assert lines[-1] == "interrupted; nothing was written"
    assert not [path for path in plans_folder().rglob("*") if path.is_dir() or path.name == PLAN]
    did(f"SIGINT to hamsa-build: says that the builder stops at its next step, exit 130 after {seconds:.1f} s, no plan")


def deep_bundle(folder: Path, layers: int = 400) -> Path:
    """A model that TensorRT-RTX builds for some seconds: convolutions of (N, 16, 32, 32), no two with equal weights."""
    shape = ["batch", 16, 32, 32]
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((16, 16, 3, 3)).astype(np.float32) for i in range(layers)}
    nodes = [
        helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"c{i}", pads=[1] * 4) for i in range(layers)
    ]
    first, last = ([(name, TensorProto.FLOAT, shape)] for name in ("x0", f"x{layers}"))
    folder.mkdir()
    onnx.save(onnx_model(nodes, first, last, weights), folder / "model.onnx")
    inputs = [{"name": "x0", "dtype": "float32", "shape": shape, "layout": None}]
    outputs = [{"name": f"x{layers}", "dtype": "float32", "shape": shape}]
    manifest = manifest_for(target="tensorrt-rtx", inputs=inputs, outputs=outputs, preprocessing=None, labels=None)
    return write_files(folder, manifest)
