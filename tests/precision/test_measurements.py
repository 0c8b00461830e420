"""What is measured once is not measured again; what was interrupted goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.graph.evaluation import noise_to_signal
from hamsa_deploy.precision import measurements
from hamsa_deploy.precision.int8 import sensitivity
from hamsa_deploy.precision.int8.int8_sites import sites_of
from hamsa_deploy.precision.int8.quantisation import quantisation_of, ranking
from hamsa_deploy.precision.measurements import Measurements

from .products import classifier_graph, feeds


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    return classifier_graph(tmp_path_factory.mktemp("classifier"), "onnx")


@pytest.mark.parametrize("kind", ["histograms", "rows", "channels"])
def test_the_second_time_comes_from_the_cache(kind: str, model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [site.activation for site in sites_of(model.graph, "onnx")]
    first = getattr(Measurements(feeds(), "data"), kind)(model, names)
    for function in ("collect", "row_ranges", "channel_ranges"):
        monkeypatch.setattr(measurements, function, None)  # to be called would be an error
    second = getattr(Measurements(feeds(), "data"), kind)(model, names)
    assert list(first) == list(second)
    with pytest.raises(TypeError):
        getattr(Measurements(feeds(), "other data"), kind)(model, names)
    with pytest.raises(TypeError):
        getattr(Measurements(feeds(), "data"), kind)(model, names[:1])


def test_an_interrupted_ranking_goes_on_where_it_was(model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "SECONDS_BETWEEN_STORES", -1.0)
    found = quantisation_of(model.clone(), "onnx", Measurements(feeds(), "data"), [], "min-max", ())
    asked: list[float] = []

    def interrupted(*arguments: dict[str, np.ndarray]) -> float:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(noise_to_signal(*arguments))
        return asked[-1]

    monkeypatch.setattr(sensitivity, "noise_to_signal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ranking(found, Measurements(feeds(), "data"))
    assert len(asked) == 2
    again: list[float] = []

    def counted(*arguments: dict[str, np.ndarray]) -> float:
        again.append(noise_to_signal(*arguments))
        return again[-1]

    monkeypatch.setattr(sensitivity, "noise_to_signal", counted)
    costs = ranking(found, Measurements(feeds(), "data"))
    assert len(again) == len(found.sites) - 2
    assert sorted(costs.values()) == sorted(asked + again)


def test_auto_keeps_the_best_method_on_what_is_held_out(model: ir.Model) -> None:
    found = quantisation_of(model.clone(), "onnx", Measurements(feeds(), "data"), feeds(4, seed=1), "auto", ())
    assert set(found.scores) == {"min-max", "percentile", "entropy", "mse"}
    assert found.scores[found.method] == max(found.scores.values())
    given = quantisation_of(model.clone(), "onnx", Measurements(feeds(), "data"), [], found.method, ())
    assert given.thresholds == found.thresholds
