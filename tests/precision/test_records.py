"""The records of precisions: one for each name, cheap to import, with limits and at least one target."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hamsa_deploy.precision.records as package
from hamsa_deploy.measure.execution import warnings_of
from hamsa_deploy.parity.limits import way_out
from hamsa_deploy.parity.metrics import BANDS, THRESHOLDS
from hamsa_deploy.pipeline.run import stages_of
from hamsa_deploy.precision.records import all_precisions, precision_of
from hamsa_deploy.precision.records.record import FLOAT32, Precision
from hamsa_deploy.targets import all_targets
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Execution
from hamsa_runtime.vocabulary import PRECISIONS

HEAVY = ("torch", "numpy", "onnx", "onnx_ir", "onnxruntime", "openvino", "nncf")
EACH = pytest.mark.parametrize("precision", all_precisions(), ids=PRECISIONS)


def test_every_name_has_a_record_and_every_record_a_name() -> None:
    assert [precision.name for precision in all_precisions()] == list(PRECISIONS)
    files = {path.stem for path in Path(package.__path__[0]).glob("*.py") if "\nPRECISION = " in path.read_text()}
    assert files == set(PRECISIONS)


def test_records_import_no_engine() -> None:
    script = "import sys; from hamsa_deploy.precision.records import all_precisions; all_precisions()"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert set(HEAVY) & set(done.stdout.split()) == set()


@EACH
def test_limits_stand_for_it_from_float32_downwards(precision: Precision) -> None:
    assert list(THRESHOLDS) == list(BANDS) == list(PRECISIONS)
    assert precision.name in THRESHOLDS


@EACH
def test_a_target_has_it(precision: Precision) -> None:
    assert any(precision.name in target.precisions for target in all_targets())


def test_engines_call_each_by_a_name_of_its_own() -> None:
    assert len({precision.type for precision in all_precisions()}) == len(PRECISIONS)


@EACH
def test_what_types_a_graph_has_a_stage(precision: Precision) -> None:
    types = type(precision).apply is not Precision.apply or precision.is_quantised
    assert types == bool(precision.stages)


@EACH
def test_what_is_quantised_leaves_transforms_in_float32(precision: Precision) -> None:
    assert precision.of_transforms == (FLOAT32 if precision.is_quantised else precision.name)


@pytest.mark.parametrize("place", ["record", "stages", "execution", "way out"])
def test_a_precision_that_nobody_knows_is_an_error_that_names_the_others(place: str) -> None:
    slower = Execution("cpu", 1, {"f32": 1}, {}, 0, (), 2.0, 1.0, 2.0)
    with pytest.raises(InputError) as caught:
        _ = {
            "record": lambda: precision_of("fp17"),
            "stages": lambda: stages_of("onnx", "fp17"),
            "execution": lambda: warnings_of(slower, "onnx", "fp17"),
            "way out": lambda: way_out("fp17"),
        }[place]()
    assert caught.value.found == "unknown precision 'fp17'"
    assert all(name in caught.value.expected for name in PRECISIONS)


def test_limits_of_no_precision_in_particular_have_a_way_out() -> None:
    assert "--fp32" in way_out("")
