"""The records of targets: one for each name, cheap to import, consistent; and nobody guesses an engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import hamsa_deploy.targets as package
from hamsa_deploy import to_real
from hamsa_deploy.bench.candidates import check_engine
from hamsa_deploy.bench.peers.dft import dft_peer
from hamsa_deploy.form.request import Request
from hamsa_deploy.measure.execution import warnings_of
from hamsa_deploy.parity.comparison import stand_in
from hamsa_deploy.pipeline.checks import check_request
from hamsa_deploy.pipeline.run import stages_of
from hamsa_deploy.precision.int8.int8_sites import int8_of
from hamsa_deploy.sweep.cells import Cell, requests_for
from hamsa_deploy.targets import all_targets, target_of
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime.backends import BACKENDS
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Execution
from hamsa_runtime.vocabulary import PRECISIONS, TARGETS

from ..runtime.tiny_bundles import image_model, manifest_for, save_model, write_files

HEAVY = (
    "torch",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "openvino",
    "nncf",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "executorch",
    "litert_torch",
    "ai_edge_litert",
    "coremltools",
)
EACH = pytest.mark.parametrize("target", all_targets(), ids=TARGETS)


def test_every_name_has_a_record_and_every_record_a_name() -> None:
    assert [target.name for target in all_targets()] == list(TARGETS)
    files = {path.stem for path in Path(package.__path__[0]).glob("*.py") if "\nTARGET = " in path.read_text()}
    assert files == {name.replace("-", "_") for name in TARGETS}


def test_records_import_no_engine() -> None:
    script = "import sys; from hamsa_deploy.targets import all_targets; all_targets(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert set(HEAVY) & set(loaded) == set()


@EACH
def test_precisions_are_the_vocabularys_in_its_order(target: Target) -> None:
    assert target.precisions == tuple(name for name in PRECISIONS if name in target.precisions)
    assert target.precisions[0] == "fp32"
    assert set(target.lacks) <= set(PRECISIONS) - set(target.precisions)
    assert all(target.lacks.values())


@EACH
def test_int8_is_among_the_precisions_if_the_record_says_how(target: Target) -> None:
    assert (target.int8 is not None) == ("int8" in target.precisions and not target.takes_program)
    if target.int8 is not None:
        assert set(target.int8.products) <= {"MatMul", "Gemm", "Conv"}


@EACH
def test_what_writes_has_a_stage_and_words_for_it(target: Target) -> None:
    writes = type(target).write is not Target.write
    assert (writes, writes) == (bool(target.stage), bool(target.stage_words))


@EACH
def test_a_backend_runs_it_and_its_stand_in_does_too(target: Target) -> None:
    assert target.name in target.engine.runs
    assert target.needs_gpu == (target.stand_in is not None)
    if target.stand_in is not None:
        assert target.name in BACKENDS[target.stand_in].runs


@EACH
def test_what_it_needs_is_among_its_packages(target: Target) -> None:
    assert set(target.needs) <= {package.module for package in target.packages}


def test_without_a_gpu_the_stand_in_runs_what_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import hamsa_runtime.tensorrt.gpu as module

    for has_gpu, expected in ((False, "onnxruntime"), (True, None)):
        monkeypatch.setattr(module, "has_gpu", lambda has_gpu=has_gpu: has_gpu)
        for name in ("tensorrt", "tensorrt-rtx"):
            assert target_of(name).backend_here() == expected
        assert {each.backend_here() for each in all_targets() if not each.needs_gpu} == {None}


def test_a_target_that_has_nothing_to_write_leaves_the_onnx_file_alone(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"typed")
    assert target_of("onnx").write(tmp_path, Order("fp32")) is None
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("model.onnx", b"typed")]


UNKNOWN = "openvinoo"
REQUEST = Request(nn.Identity(), to=UNKNOWN, batch=4)
SLOWER = Execution("cpu", 1, {"f32": 1}, {}, 0, (), 2.0, 1.0, 2.0)
# Everything that asks which engine it is.
PLACES: dict[str, Callable[[Bundle], object]] = {
    "checks": lambda bundle: check_request(REQUEST),
    "stages": lambda bundle: stages_of(UNKNOWN, "fp32"),
    "int8 sites": lambda bundle: int8_of(UNKNOWN),
    "execution": lambda bundle: warnings_of(SLOWER, UNKNOWN, "fp16"),
    "sweep": lambda bundle: requests_for(REQUEST, [Cell(UNKNOWN, "fp32")]),
    "stand-in": lambda bundle: stand_in(bundle.manifest),
    "bench": check_engine,
    "peer dft": lambda bundle: dft_peer(bundle.manifest, bundle.folder, lambda: None),  # type: ignore[arg-type, return-value]
    "compiler": lambda bundle: to_real(nn.Identity(), (torch.ones(2),), target=UNKNOWN),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_engine_that_nobody_knows_is_an_error_that_names_the_others(place: str, tmp_path: Path) -> None:
    save_model(image_model("graph", "batch"), tmp_path / "bundle", "onnx")
    bundle = open_bundle(write_files(tmp_path / "bundle", manifest_for(target="onnx")))
    unknown = replace(bundle, manifest=replace(bundle.manifest, target=UNKNOWN))
    with pytest.raises(InputError) as caught:
        PLACES[place](unknown)
    assert UNKNOWN in caught.value.found
    assert all(name in caught.value.expected for name in TARGETS)
