"""What is measured once is not measured again; what was interrupted goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.graph.sessions import noise_to_signal
from hamsa_deploy.precision import measurements
from hamsa_deploy.precision.int8 import sensitivity
from hamsa_deploy.precision.int8.histogram import HISTOGRAMS
from hamsa_deploy.precision.int8.int8_sites import sites_of
from hamsa_deploy.precision.int8.quantisation import choose_quantisation, rank_layers
from hamsa_deploy.precision.measurements import Measurements
from hamsa_deploy.precision.observers import RANGES, Observer
from hamsa_deploy.precision.passes import PASSES

from .products import classifier_graph, feeds


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    return classifier_graph(tmp_path_factory.mktemp("classifier"), "onnx")


OBSERVERS: list[Observer[Any]] = [RANGES, HISTOGRAMS, *(each.observer for each in PASSES.values())]


def unexpected(_so_far: object, _array: np.ndarray, name: str) -> object:
    raise AssertionError(f"{name} is looked at again")


def test_every_observer_is_another_kind() -> None:
    assert len({observer.kind for observer in OBSERVERS}) == len(OBSERVERS)


@pytest.mark.parametrize("observer", OBSERVERS, ids=[observer.kind for observer in OBSERVERS])
def test_the_second_time_comes_from_the_cache(observer: Observer[Any], model: ir.Model) -> None:
    names = sorted({site.activation for site in sites_of(model.graph, "onnx")})[:2]
    first = Measurements(feeds(), "data").observe(model, observer, names)
    blind = replace(observer, look=unexpected)
    second = Measurements(feeds(), "data").observe(model, blind, names)
    assert list(first) == list(second) == names
    expected = observer.watch(model, names, feeds())
    for name in names:
        packed = [observer.pack(seen[name]) for seen in (first, second, expected)]
        np.testing.assert_array_equal(packed[0], packed[1])
        np.testing.assert_array_equal(packed[0], packed[2])
    for changed in (
        lambda: Measurements(feeds(), "other data").observe(model, blind, names),
        lambda: Measurements(feeds(), "data").observe(model, blind, names[:1]),
        lambda: Measurements(feeds(), "data").observe(model, blind, names, first=4),
        lambda: Measurements(feeds()[:4], "data").observe(model, blind, names),
        lambda: Measurements(feeds(), "data").observe(model, replace(blind, kind="another"), names),
    ):
        with pytest.raises(AssertionError, match="looked at again"):
            changed()


def test_only_the_first_feeds_are_looked_at_if_asked(model: ir.Model) -> None:
    names = sorted({site.activation for site in sites_of(model.graph, "onnx")})
    found = Measurements(feeds(), "data").observe(model, RANGES, names, first=2)
    assert found == RANGES.watch(model, names, feeds(2)) != RANGES.watch(model, names, feeds())


def test_an_interrupted_ranking_goes_on_where_it_was(model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "SECONDS_BETWEEN_STORES", -1.0)
    found = choose_quantisation(model.clone(), "onnx", Measurements(feeds(), "data"), [], "min-max", ())
    asked: list[float] = []

    def interrupted(*arguments: dict[str, np.ndarray]) -> float:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(noise_to_signal(*arguments))
        return asked[-1]

    monkeypatch.setattr(sensitivity, "noise_to_signal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rank_layers(found, Measurements(feeds(), "data"))
    assert len(asked) == 2
    again: list[float] = []

    def counted(*arguments: dict[str, np.ndarray]) -> float:
        again.append(noise_to_signal(*arguments))
        return again[-1]

    monkeypatch.setattr(sensitivity, "noise_to_signal", counted)
    costs = rank_layers(found, Measurements(feeds(), "data"))
    assert len(again) == len(found.sites) - 2
    assert sorted(costs.values()) == sorted(asked + again)


def test_auto_keeps_the_best_method_on_what_is_held_out(model: ir.Model) -> None:
    found = choose_quantisation(model.clone(), "onnx", Measurements(feeds(), "data"), feeds(4, seed=1), "auto", ())
    assert set(found.scores) == {"min-max", "percentile", "entropy", "mse"}
    assert found.scores[found.method] == max(found.scores.values())
    given = choose_quantisation(model.clone(), "onnx", Measurements(feeds(), "data"), [], found.method, ())
    assert given.thresholds == found.thresholds
