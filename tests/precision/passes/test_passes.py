"""What holds for every pass: it is found by its name, and graphs compute what they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hamsa_deploy.precision import passes
from hamsa_deploy.precision.measurements import Measurements
from hamsa_deploy.precision.passes import PASSES, apply
from hamsa_runtime import vocabulary
from tests.shared import Once

from ..graphs import TINY, copy_of, graph_of, outputs_of, relative_error, smooth_feeds

# float32: another order of summation
ROUNDING = 1e-6


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module", params=["nano", TINY, "general"])
def graph(request: pytest.FixtureRequest, once: Once) -> ir.Model:
    return graph_of(request.param, once)


def test_every_file_that_declares_a_pass_has_a_name_in_the_vocabulary() -> None:
    folder = Path(passes.__file__).parent
    declaring = {path.stem for path in folder.glob("*.py") if "\nPASS = " in path.read_text()}
    assert declaring == {name.replace("-", "_") for name in vocabulary.PASSES}
    assert tuple(PASSES) == vocabulary.PASSES


@pytest.mark.parametrize("name", PASSES)
def test_the_graph_stays_valid_and_computes_what_it_did(name: str, graph: ir.Model) -> None:
    copy, feeds = copy_of(graph), smooth_feeds(graph, 2)
    notes = apply([name], copy, Measurements(feeds, "data"))
    assert list(notes) == [name]
    assert notes[name]
    onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    assert [value.name for value in copy.graph.outputs] == [value.name for value in graph.graph.outputs]
    others = smooth_feeds(graph, 2, seed=7)
    assert relative_error(outputs_of(copy, others), outputs_of(graph, others)) < ROUNDING


@pytest.mark.parametrize("name", PASSES)
def test_what_is_observed_is_there(name: str, graph: ir.Model) -> None:
    each, feeds = PASSES[name], smooth_feeds(graph, 1)
    names = list(each.values(graph))
    assert names
    assert list(each.observer.watch(graph, names, feeds)) == names


def test_passes_are_applied_in_the_order_of_the_vocabulary(graph: ir.Model) -> None:
    feeds = smooth_feeds(graph, 1)
    copies, notes = [], []
    for names in (vocabulary.PASSES, vocabulary.PASSES[::-1]):
        copies.append(copy_of(graph))
        notes.append(apply(names, copies[-1], Measurements(feeds, "data")))
    assert list(notes[0].items()) == list(notes[1].items())
    for a, b in zip(*(outputs_of(copy, feeds) for copy in copies), strict=True):
        np.testing.assert_array_equal(a, b)
