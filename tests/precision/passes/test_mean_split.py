"""The mean goes round the transform: same results, and a smaller signal to round."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy.graph.observing import observe
from hamsa_deploy.precision.passes.equalise import ROW_SIZES, equalisable, equalise
from hamsa_deploy.precision.passes.mean_split import DEVIATIONS, gains_from_deviations, split_means, transforms_of
from tests.shared import Once

from ..drawing import Drawing, cosine_matrix
from ..graphs import MODELS, TINY, Named, copy_of, graph_of, outputs_of, real_graph, relative_error, smooth_feeds

# Nodes for each transform: mean, difference, product and sum.
ADDED = 4


class PlaneSpectrum(nn.Module):
    """Magnitudes of a transform over two axes."""

    def forward(self, plane: Tensor) -> Tensor:
        return torch.fft.rfft2(plane, dim=(1, 2)).abs().log1p()


def planes() -> tuple[nn.Module, Tensor]:
    return PlaneSpectrum(), torch.zeros(2, 8, 12, 5)


@pytest.fixture(scope="module", params=["nano", TINY, "general", "planes"])
def graph(request: pytest.FixtureRequest, once: Once, tmp_path_factory: pytest.TempPathFactory) -> Named:
    if request.param in MODELS:
        return request.param, graph_of(request.param, once)
    return request.param, real_graph(*planes(), tmp_path_factory.mktemp(request.param))


def everywhere(model: ir.Model) -> dict[str, float]:
    return {str(transform.signal.name): np.inf for transform in transforms_of(model)}


def test_every_forward_transform_is_found_and_no_inverse_one(graph: Named) -> None:
    name, model = graph
    expected = {"nano": 5, "tiny_at_224": 4, "general": 1, "planes": 1}
    assert len(transforms_of(model)) == expected[name]


def test_outputs_stay_the_same(graph: Named) -> None:
    _, model = graph
    copy = copy_of(model)
    entering = split_means(copy, everywhere(model))
    assert len(copy.graph) == len(model.graph) + ADDED * len(entering)
    feeds = smooth_feeds(model, 2)
    # float32: another order of summation
    assert relative_error(outputs_of(copy, feeds), outputs_of(model, feeds)) < 1e-6


def test_what_enters_has_no_mean(graph: Named) -> None:
    _, model = graph
    copy = copy_of(model)
    entering = split_means(copy, everywhere(model))
    for values in observe(copy, entering, smooth_feeds(model, 1)):
        for x in values.values():
            assert np.abs(x.mean(axis=tuple(range(1, x.ndim - 1)))).max() < 1e-6 * np.abs(x).max()


def test_scales_flow_through_a_split_transform(graph: Named) -> None:
    _, model = graph
    split = copy_of(model)
    split_means(split, everywhere(model))
    done = []
    for copy in (copy_of(model), copy_of(split)):
        before = outputs_of(copy, smooth_feeds(model, 1))
        done.append(equalise(copy, ROW_SIZES.watch(copy, equalisable(copy), smooth_feeds(model, 2))))
        for a, b in zip(outputs_of(copy, smooth_feeds(model, 1)), before, strict=True):
            np.testing.assert_array_equal(a, b)
    assert done[0].undone == done[1].undone
    assert done[0].scales.keys() == done[1].scales.keys()


def test_only_signals_with_a_large_mean_are_split(graph: Named) -> None:
    _, model = graph
    gains = dict.fromkeys(everywhere(model), 1.4)
    copy = copy_of(model)
    assert split_means(copy, gains) == []
    assert ir.to_proto(copy) == ir.to_proto(model)


def raised_signal(n: int = 64, width: int = 3) -> ir.Model:
    """v0 = C x, for a signal that comes straight from outside."""
    drawing = Drawing(n, width)
    return drawing.model(drawing.add("MatMul", cosine_matrix(n), drawing.x, rows=n, width=width))


def test_the_gain_is_what_int8_gains() -> None:
    model = raised_signal()
    feeds = [{"x": 8 + np.random.default_rng(0).uniform(-1, 1, (4, 64, 3)).astype(np.float32)}]
    gains = gains_from_deviations(DEVIATIONS.watch(model, ["x"], feeds))
    # 9 over 1, but for means over 64 samples that are up to 0.2 away from 8
    assert gains["x"] == pytest.approx(9, rel=0.2)
    copy = copy_of(model)
    assert split_means(copy, gains) == ["x_deviation"]
    (before,), (after,) = (outputs_of(m, feeds) for m in (model, copy))
    assert [value.name for value in copy.graph.outputs] == ["v0"]
    np.testing.assert_allclose(after, before, atol=1e-6 * np.abs(before).max())


@pytest.mark.parametrize("matrix", ["spread", "inverse"])
def test_maps_that_spread_the_mean_over_rows_are_left_alone(matrix: str) -> None:
    matrices = {"spread": np.random.default_rng(0).normal(size=(8, 8)), "inverse": cosine_matrix(8).T}
    drawing = Drawing(8, 3)
    model = drawing.model(drawing.add("MatMul", matrices[matrix], drawing.x, rows=8, width=3))
    assert transforms_of(model) == []


def test_maps_that_mix_channels_are_left_alone() -> None:
    """Rows of six channels are read as twice as many rows of three."""
    drawing = Drawing(4, 6)
    total = np.zeros((8, 8))
    total[0] = 1
    narrow = drawing.add("Reshape", drawing.x, np.array([-1, 8, 3]), rows=8, width=3)
    summed = drawing.add("MatMul", total, narrow, rows=8, width=3)
    model = drawing.model(drawing.add("Reshape", summed, np.array([-1, 4, 6]), rows=4, width=6))
    assert transforms_of(model) == []
