"""What the form says of outputs whose first dimension is not the batch, and that the runtime keeps to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import hamsa_deploy
from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request
from hamsa_deploy.parity.comparison import separated_outputs
from hamsa_deploy.pipeline.manifest import manifest_of
from hamsa_deploy.services.triton import largest_batch
from hamsa_runtime import Engine
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Preprocessing

HOW = Preprocessing((8, 8), 3, "bilinear", 1.0, (0.0,) * 3, (1.0,) * 3)
IMAGES = list(np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8))


class Rows(nn.Module):
    """Per image 3 rows, one table for all of them, and the usual."""

    def __init__(self, names: str = "each rows") -> None:
        super().__init__()
        self.names = names.split()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.fft.irfft(torch.fft.rfft(x.flatten(2)) * 2, n=64)
        found = {"each": y, "rows": y.reshape(-1, 64), "table": y[0], "scalar": y.mean(), "turned": y.movedim(2, 0)}
        return {name: found[name] for name in self.names}


def outputs_of(model: nn.Module, batch: int | None = None) -> dict[str, tuple[tuple[int | str, ...], int | None]]:
    request = Request(
        model.eval(), to="onnx", preprocessing=HOW, batch=batch, input_dtype="float32", data=IMAGES[: batch or 2]
    )
    manifest = manifest_of(request, real_model_of_request(request))
    return {spec.name: (spec.shape, spec.batch_axis) for spec in separated_outputs(model, request.data, manifest)}


@pytest.mark.parametrize(("batch", "first"), [(None, "batch"), (2, 2), (1, 1)])
def test_where_the_batch_lies_is_found_whether_it_is_free_or_fixed(batch: int | None, first: int | str) -> None:
    rows = "3*batch" if isinstance(first, str) else 3 * first
    table = 3  # of (3, 64), whatever the batch
    assert outputs_of(Rows("each rows table scalar turned"), batch) == {
        "each": ((first, 3, 64), 0), "rows": ((rows, 64), 0), "table": ((table, 64), None), "scalar": ((), None),
        "turned": ((64, first, 3), 1),
    }  # fmt: skip


def test_outputs_of_all_images_together_have_no_batch_axis_though_they_have_its_size() -> None:
    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = torch.fft.fft(x).abs()
            return {
                "centred": y - y.mean(0),
                "interleaved": y.transpose(0, 1).flatten(0, 1),
                "gram": y[:, 0, 0] @ y[:, 0, 0].T,
            }

    assert {axis for _, axis in outputs_of(Mixing()).values()} == {None}


def test_what_is_no_multiple_of_the_batch_is_refused_by_name() -> None:
    class Joined(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = torch.fft.fft(x).abs()
            return {"kept": y, "joined": torch.cat([y, y[:1]])}

    with pytest.raises(InputError, match=r"the output 'joined' has the shape \(batch \+ 1, 3\)"):
        real_model_of_request(Request(Joined().eval(), (torch.ones(2, 3),), to="onnx"))


def test_rows_in_another_order_than_the_inputs_are_not_cut(tmp_path: Path) -> None:
    class Interleaved(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"rows": torch.fft.fft(x).abs().transpose(0, 1).flatten(0, 1)}

    bundle = hamsa_deploy.export(
        Interleaved().eval(), to="onnx", output=tmp_path / "b", preprocessing=HOW, data=IMAGES[:4], batch=2
    )
    with Engine(bundle.folder) as engine:
        assert engine(IMAGES[:2])["rows"].shape == (6, 8, 8)
        for number in (1, 3):
            with pytest.raises(InputError, match=f"{number} images at once"):
                engine(IMAGES[:number])


@pytest.mark.parametrize("batch", [None, 2])
def test_any_number_of_images_and_a_stream_get_their_rows(tmp_path: Path, batch: int | None) -> None:
    model = Rows().eval()
    bundle = hamsa_deploy.export(
        model, to="onnx", output=tmp_path / "bundle", preprocessing=HOW, data=IMAGES, batch=batch
    )
    assert bundle.manifest.outputs[1].batch_axis == 0
    assert largest_batch(bundle.manifest) == 0  # to Triton the first dimension is no batch
    x = torch.from_numpy(np.stack(IMAGES)).permute(0, 3, 1, 2) / 255
    with Engine(bundle.folder) as engine:
        for count in (1, 2, 3, 5):
            found, expected = engine(IMAGES[:count]), model(x[:count])
            for name in ("each", "rows"):
                assert np.allclose(found[name], expected[name], atol=1e-4)
        for i, found in enumerate(engine.stream(IMAGES)):
            assert np.allclose(found["rows"], model(x[i : i + 1])["rows"], atol=1e-4)


def test_an_output_without_a_batch_is_of_the_inputs_of_one_inference(tmp_path: Path) -> None:
    model = Rows("each scalar").eval()
    bundle = hamsa_deploy.export(
        model, to="onnx", output=tmp_path / "bundle", preprocessing=HOW, data=IMAGES[:2], batch=2
    )
    with Engine(bundle.folder) as engine:
        assert engine(IMAGES[:2])["scalar"].shape == ()
        for number in (1, 4):
            with pytest.raises(InputError, match=f"{number} images at once") as caught:
                engine(IMAGES[:number])
            assert "the output 'scalar' is of all images" in caught.value.cause


X = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))


class Returning(nn.Module):
    """Twice its input, as `outputs` of that and the input."""

    def __init__(self, outputs: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor, speed: Any = None, y: Any = None) -> Any:
        return self.outputs(torch.fft.irfft(torch.fft.rfft(x) * 2, n=16), x)


def form_of(outputs: Callable[[Tensor, Tensor], Any], *inputs: Any) -> RealModel:
    model = Returning(outputs).eval()
    return real_model_of_request(Request(model, inputs, to="onnx"))


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (lambda y, x: {"a": {"b": y}, "a_b": x + 1}, ["a_b", "a_b_out"]),
        (lambda y, x: {"x": x, "x_out": y}, ["x_out", "x_out_out"]),
        (lambda y, x: {"": y, 0: x}, ["output", "output_0"]),
        (lambda y, x: (y, x.shape[0], None), ["output_0"]),
    ],
    ids=["nested", "the input's name", "no names", "a size"],
)
def test_each_output_has_a_name_of_its_own_and_is_in_the_file(
    outputs: Callable[[Tensor, Tensor], Any], names: list[str], tmp_path: Path
) -> None:
    form = form_of(outputs, X)
    assert [spec.name for spec in form.outputs] == names
    assert [value.name for value in form.write(tmp_path / "model.onnx").graph.outputs] == names


def test_what_is_no_tensor_is_said_once_with_its_value(caplog: pytest.LogCaptureFixture) -> None:
    form = form_of(lambda y, x: {"y": y, "size": 3, "mask": None}, X, 1.5, None)
    assert [spec.name for spec in form.inputs] == ["x"]
    assert [record.message for record in caplog.records] == [
        "no inputs of the bundle, but for ever what they were at the export: speed = 1.5, y = None",
        "left out of the outputs, because they are no tensors: size, mask",
    ]


@pytest.mark.parametrize(
    ("outputs", "inputs", "found"),
    [
        (lambda y, x: None, (X,), "returns no tensor, but output"),
        (lambda y, x: (), (X,), "returns no tensor, but nothing"),
        (lambda y, x: {"y": y, "cut": y[..., :0]}, (X,), r"the output 'cut' is empty: \(batch, 3, 0\)"),
        (lambda y, x: y, (X, torch.zeros(2, 0)), r"the input 'speed' is empty: \(batch, 0\)"),
        (lambda y, x: {"a\nb": y}, (X,), r"an output called 'a\\nb'"),
    ],
    ids=["None", "nothing", "empty", "empty input", "control character"],
)
def test_what_no_bundle_can_give_or_take_is_refused_by_name(
    outputs: Callable[[Tensor, Tensor], Any], inputs: tuple[Any, ...], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        form_of(outputs, *inputs)


def test_a_model_that_others_use_meanwhile_has_no_hook_of_ours() -> None:
    class Hooked(nn.Module):
        def register_forward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
            hooked.append(self)
            return super().register_forward_pre_hook(*args, **kwargs)

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x).abs()

    hooked: list[nn.Module] = []
    model = Hooked().eval()
    assert real_model_of_request(Request(model, to="onnx", preprocessing=HOW)).inputs[0].dtype == "uint8"
    assert len(hooked) == 1
    assert hooked[0] is not model
    assert model(X).shape == (2, 3, 9)


class TwoOfThree(nn.Module):
    def forward(self, x: Tensor, y: Tensor, gain: Tensor | None = None) -> Tensor:
        return torch.fft.fft(x, dim=1).abs() + y[:, None]


B, T = Dim("batch"), Dim("t")
SPECIFIED: dict[str, tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = {
    "in order": (({0: B, 2: T}, {0: B, 1: T}), ("batch", 4, "t"), ("batch", "t")),
    "by name, and what is not given": (
        {"x": {0: B, 2: T}, "y": {0: B, 1: T}, "gain": None},
        ("batch", 4, "t"),
        ("batch", "t"),
    ),
    "for every axis": (((B, None, T), [B, T]), ("batch", 4, "t"), ("batch", "t")),
    "sizes that turn out to be one": (({0: B, 2: Dim("s")}, {0: B, 1: T}), ("batch", 4, "s"), ("batch", "s")),
    "without names": (({2: Dim.AUTO}, {1: Dim.AUTO}), (2, 4, "axis_0_2"), (2, "axis_0_2")),
    "no batch": (({2: T}, {1: T}), (2, 4, "t"), (2, "t")),
}


@pytest.mark.parametrize("name", SPECIFIED)
def test_dynamic_shapes_are_said_as_for_torch_export(name: str) -> None:
    shapes, x, y = SPECIFIED[name]
    request = Request(TwoOfThree().eval(), (torch.ones(2, 4, 6), torch.ones(2, 6)), to="onnx", dynamic_shapes=shapes)
    form = real_model_of_request(request)
    assert [spec.shape for spec in form.inputs] == [x, y]
    assert form.outputs[0].shape == x


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (({0: B, 2: 2 * T}, {0: B}), r"an axis 2\*t"),
        (({3: T}, None), r"a free axis 3 of an input \(2, 4, 6\)"),
        ({"z": {0: B}}, "dynamic_shapes for 'z'"),
        (({1: T}, {1: T}), "the axis 't' is 4 and 6"),
        ((None, None, None, {0: B}), "dynamic_shapes for 4 inputs"),
    ],
)
def test_axes_that_are_none_or_contradict_each_other_are_refused(shapes: Any, message: str) -> None:
    request = Request(TwoOfThree().eval(), (torch.ones(2, 4, 6), torch.ones(2, 6)), to="onnx", dynamic_shapes=shapes)
    with pytest.raises(InputError, match=message):
        real_model_of_request(request)
