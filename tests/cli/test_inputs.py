"""What the options of hamsa-export say of inputs, without exporting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy.cli.export import parser
from hamsa_deploy.cli.inputs import inputs_of
from hamsa_deploy.models import ModelEntry
from hamsa_runtime.errors import InputError


class Embedding(nn.Module):
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return torch.fft.fft(ids.float()).abs() * mask


class Declared(Embedding):
    def example_inputs(self) -> tuple[Tensor, Tensor]:
        return torch.arange(8).reshape(2, 4), torch.ones(2, 4, dtype=torch.bool)


class AnyNumber(nn.Module):
    def forward(self, *parts: Tensor) -> Tensor:
        return torch.fft.fft(parts[0]).abs() + parts[1]


def found(*arguments: str, factory: Any = Embedding) -> dict[str, Any]:
    options = parser().options_from(["--model", "mine:make", *arguments])
    return inputs_of(options, factory(), ModelEntry("", factory))


def described(fields: dict[str, Any]) -> list[tuple[torch.dtype, tuple[int, ...]]]:
    return [(x.dtype, tuple(x.shape)) for x in fields["example_inputs"]]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--input", "2x4:int64,2x4:bool"], None),
        (["--input", "mask:2x4:bool", "--input", "ids:2x4:int64"], None),  # by name, whatever the order
        (["--input", "tokens:2x4:int64,valid:2x4:bool"], ["tokens", "valid"]),  # in order, and called so
    ],
)
def test_inputs_are_told_by_their_order_or_by_the_names_of_forward(arguments: list[str], names: Any) -> None:
    fields = found(*arguments)
    assert described(fields) == [(torch.int64, (2, 4)), (torch.bool, (2, 4))]
    assert fields["input_names"] == names
    assert set(fields["example_inputs"][0].unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("names", ["ids:2x4,valid:2x4", "ids:2x4,2x4", "a:2x4,a:2x4", "mask:2x4"])
def test_names_that_are_only_partly_those_of_forward_are_refused(names: str) -> None:
    with pytest.raises(InputError, match="inputs called") as caught:
        found("--input", names)
    assert "ids, mask" in caught.value.expected


def test_a_fixed_batch_is_that_of_the_examples_wherever_it_lies() -> None:
    assert described(found("--input", "1x4,1x4", "--batch", "3"))[0][1] == (3, 4)
    fields = found("--input", "1x4,1x4", "--batch", "3", "--dynamic", "ids:1=batch", "--dynamic", "mask:1=batch")
    assert [shape for _, shape in described(fields)] == [(1, 3), (1, 3)]


def test_examples_come_from_the_factory_or_from_the_data(tmp_path: Path) -> None:
    expected = [(torch.int64, (2, 4)), (torch.bool, (2, 4))]
    assert described(found(factory=Declared)) == expected

    def make() -> nn.Module:
        return Embedding()

    make.example_inputs = Declared().example_inputs()  # type: ignore[attr-defined]
    assert described(found(factory=make)) == expected
    path = tmp_path / "data.npz"
    np.savez(path, mask=np.ones((2, 4), bool), ids=np.arange(8).reshape(2, 4))
    assert described(found("--data", str(path))) == expected
    np.savez(path, mask=np.ones((2, 4), bool))
    with pytest.raises(InputError, match=r"data\.npz holds mask"):
        found("--data", str(path))
    assert found()["example_inputs"] is None


def test_one_name_is_one_axis_and_the_first_is_the_batch_unless_it_is_said_or_fixed() -> None:
    def names(*arguments: str, factory: Any = Embedding) -> list[dict[int, str]]:
        shapes = found("--input", "2x4,2x4", *arguments, factory=factory)["dynamic_shapes"]
        return [{axis: dim.__name__ for axis, dim in each.items()} for each in shapes]

    both = ("--dynamic", "ids:1=t:4..", "--dynamic", "mask:1=t")
    assert names(*both) == [{0: "batch", 1: "t"}] * 2
    assert names(*both, "--batch", "2") == [{1: "t"}] * 2
    assert names("--dynamic", "mask:1=batch") == [{}, {1: "batch"}]
    assert names("--dynamic", "1:1=t", factory=AnyNumber) == [{0: "batch"}, {0: "batch", 1: "t"}]
    with pytest.raises(InputError, match="no input is called 'idz'"):
        names("--dynamic", "idz:1=t")
