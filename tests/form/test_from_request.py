"""Random inputs that bundles are compared on: in the range of what the model was captured with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.form.from_request import example_data, random_arrays
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import InputSpec


class Root(nn.Module):
    """Of what is positive: normal numbers give NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(7, 4)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.sqrt(x) + self.rows(ids)


@pytest.mark.parametrize(
    ("dtype", "values", "low", "high"),
    [
        ("float32", (100.0, 200.0), 100, 200),  # normal numbers would be outside
        ("float32", (-1e-3, 1e-3), -1e-3, 1e-3),  # a fp16 that rounds them away must show
        ("float64", (0.0, 1.0), 0, 1),
        ("int64", (-5.0, 3.0), -5, 3),
        ("uint8", (0.0, 255.0), 0, 255),
        ("int8", (-1e300, 1e300), -127, 127),  # of a manifest that lies
        ("int32", (5.0, 5.0), 5, 5),
        ("bool", None, 0, 1),
        ("int32", None, 0, 1),
    ],
)
def test_they_fill_the_range_of_the_example(
    dtype: str, values: tuple[float, float] | None, low: float, high: float
) -> None:
    spec = InputSpec("x", dtype, ("batch", 500), example_range=values)
    x = random_arrays([spec], {"batch": 4})["x"].astype(np.float64)
    assert low <= x.min() <= low + (high - low) / 20
    assert high - (high - low) / 20 <= x.max() <= high


@pytest.mark.parametrize("values", [None, (-2.5, 3.0)])
def test_normal_numbers_stay_normal(values: tuple[float, float] | None) -> None:
    x = random_arrays([InputSpec("x", "float32", ("batch", 500), example_range=values)], {"batch": 4})["x"]
    assert abs(x.std() - 1) < 0.1


def test_a_model_of_positive_numbers_and_of_ids_is_compared_on_such_again(tmp_path: Path) -> None:
    model, ids = Root().eval(), torch.tensor([[0, 6, 3, 5], [1, 2, 4, 0]])
    bundle = hamsa_deploy.export(model, (torch.rand(2, 4, 1), ids), to="onnx", output=tmp_path / "b")
    assert bundle.manifest.inputs[1].example_range == (0, 6)
    data = example_data(bundle.manifest)
    assert len(np.unique(data["ids"])) > 3
    assert (data["x"] >= 0).all()
    assert hamsa_deploy.check_parity(bundle, model, data).passed


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.masked_fill(x < 0, -torch.inf)


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


@pytest.mark.parametrize(
    ("model", "cause", "way_out"),
    [(Masked(), "a mask of infinities", "masked_fill(mask, -1e9)"), (Logarithm(), "a logarithm of negative", "data=")],
)
def test_values_that_the_model_itself_does_not_have_are_not_blamed_on_its_weights(
    model: nn.Module, cause: str, way_out: str, tmp_path: Path
) -> None:
    with pytest.raises(ParityError) as raised:
        hamsa_deploy.export(model.eval(), (torch.randn(4, 8),), to="onnx", output=tmp_path / "b")
    assert cause in raised.value.parts["cause"]
    assert way_out in raised.value.parts["fix"]
