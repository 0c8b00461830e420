"""What int8 costs each product, and how few have to stay in floating point."""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir
import pytest

from hamsa_deploy.graph.sessions import noise_to_signal
from hamsa_deploy.precision.int8.int8_sites import sites_of
from hamsa_deploy.precision.int8.qdq import quantise
from hamsa_deploy.precision.int8.sensitivity import measure_costs, with_progress

from ..graphs import outputs_of
from ..products import classifier_graph, feeds, thresholds_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    return classifier_graph(tmp_path_factory.mktemp("classifier"))


def test_a_cost_is_the_noise_of_that_product_alone(model: ir.Model) -> None:
    sites = sites_of(model.graph, "openvino")
    thresholds = thresholds_of(model, sites)
    found = measure_costs(model, thresholds, sites, feeds(2), {})
    expected = np.concatenate(outputs_of(model, feeds(2)))
    for site in sites:
        alone = model.clone()
        quantise(alone, thresholds, [site])
        noise = noise_to_signal({"y": np.concatenate(outputs_of(alone, feeds(2)))}, {"y": expected})
        assert found[site.node] == pytest.approx(noise, rel=0.02), site.layer  # roundings at half a step may differ
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_what_is_known_is_not_measured_again(model: ir.Model) -> None:
    sites = sites_of(model.graph, "openvino")
    known = {site.node: float(i) for i, site in enumerate(sites)}
    assert list(measure_costs(model, {}, sites, [], known)) == [site.node for site in reversed(sites)]


def test_new_costs_are_handed_over_as_they_come(model: ir.Model) -> None:
    sites = sites_of(model.graph, "openvino")
    known = {sites[0].node: 7.0}
    found = measure_costs(model, thresholds_of(model, sites), sites, feeds(1), known)
    assert found == known
    assert found[sites[0].node] == 7


def test_progress_is_a_note_with_the_time_to_go(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr("hamsa_deploy.precision.int8.sensitivity.time.monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        assert list(with_progress("abcd", "letters")) == list("abcd")
    assert caplog.messages == ["1 of 4 letters, 36 s to go", "3 of 4 letters, 8 s to go"]
