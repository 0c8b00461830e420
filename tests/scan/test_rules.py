"""Scans in the forms that targets get, run by both engines, against the references in float64.

Five kinds of data: what a fresh model has, what a trained one may have, decays of e^-50 at every step, decays of
1 - 1e-6, and the two of them mixed. A form that divides by a decay, or takes the difference of two sums, passes on the
first only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from hamsa_deploy import to_real
from hamsa_deploy.graph.sessions import session_from_model
from hamsa_deploy.scan import forms, linear, linear_recurrence, selective_scan, ssd
from hamsa_deploy.targets.onnx_file import onnx_from_program

KINDS = ("fresh", "trained", "strong", "weak", "mixed")
CLOSE = 4e-7  # of the largest output; the sequential scan in float32 is off by up to 2e-7, or, where the first state
SEQUENTIAL = 3  # hardly decays, by more: then this many times as much as that is
Runs = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def steps(kind: str, *shape: int) -> Tensor:
    """What goes into softplus, for steps from 1e-6 to 50."""
    x = draw(*shape, seed=7)
    if kind == "mixed":
        return torch.where(x > 1.6, 50.0, x - 10)
    return {"fresh": x - 3, "trained": 4 * x, "strong": 50 + 10 * x.abs(), "weak": 0.1 * x - 14}[kind]


class Selective(nn.Module):
    """All that a selective scan can be given."""

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        self.A_log = nn.Parameter(
            torch.arange(1.0, states + 1).log().repeat(channels, 1) + 0.3 * draw(channels, states)
        )
        self.D, self.bias = nn.Parameter(draw(channels, seed=1)), nn.Parameter(0.1 * draw(channels, seed=2))

    def forward(
        self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor]:
        return selective_scan(u, delta, -self.A_log.exp(), B, C, self.D, z, self.bias, True, first)


def selective_inputs(kind: str, length: int, states: int, batch: int = 2) -> tuple[Tensor, ...]:
    channels = draw(batch, 6, length), steps(kind, batch, 6, length)
    groups = draw(batch, 2, states, length, seed=3), draw(batch, 2, states, length, seed=4)
    return *channels, *groups, draw(batch, 6, length, seed=5), draw(batch, 6, states, seed=6)


class Duality(nn.Module):
    """All that a scan of Mamba-2 can be given."""

    def __init__(self) -> None:
        super().__init__()
        self.A, self.D = nn.Parameter(-draw(4).exp()), nn.Parameter(draw(4, seed=1))
        self.bias = nn.Parameter(0.1 * draw(4, seed=2))

    def forward(self, x: Tensor, dt: Tensor, B: Tensor, C: Tensor, z: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        return ssd(x, dt, self.A, B, C, self.D, z, self.bias, True, first)


def duality_inputs(kind: str, length: int) -> tuple[Tensor, ...]:
    groups = draw(2, length, 2, 5, seed=3), draw(2, length, 2, 5, seed=4)
    heads = draw(2, length, 4, 3, seed=5), draw(2, 4, 3, 5, seed=6)
    return draw(2, length, 4, 3), steps(kind, 2, length, 4), *groups, *heads


def engines(model: nn.Module, inputs: Sequence[Tensor], target: str, folder: Path, shapes: object = None) -> list[Runs]:
    """ONNX Runtime and OpenVINO, given the file."""
    program = to_real(model, inputs, target=target, dynamic_shapes=shapes)
    names = [f"x{number}" for number in range(len(inputs))]
    outputs = [f"y{number}" for number in range(len(program.graph.output_node().args[0]))]
    file = onnx_from_program(program, folder / "model.onnx", inputs=names, outputs=outputs)
    session = session_from_model(file, optimised=True)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(folder / "model.onnx", "CPU", exact)
    return [
        lambda feed: session.run(None, feed),
        lambda feed: [np.array(each) for each in compiled(feed).values()],
    ]


def assert_right(run: Runs, model: nn.Module, inputs: Sequence[Tensor], what: str) -> None:
    plain = leaves(model(*inputs))
    exact = leaves(model.double()(*(each.double() for each in inputs)))
    model.float()
    found = run({f"x{number}": each.numpy() for number, each in enumerate(inputs)})
    for number, (y, one, want) in enumerate(zip(found, plain, exact, strict=True)):
        scale = np.abs(want).max()
        error, sequential = (np.abs(each - want).max() / scale for each in (y, one))
        assert error < max(CLOSE, SEQUENTIAL * sequential), (
            f"{what}: output {number} is off by {error:.1e} of {scale:.1e}"
        )


def leaves(outputs: Tensor | tuple[Tensor, ...]) -> list[np.ndarray]:
    return [each.detach().numpy() for each in (outputs if isinstance(outputs, tuple) else [outputs])]


class Given(nn.Module):
    """Decays, increments and the first state."""

    def forward(self, a: Tensor, b: Tensor, first: Tensor) -> Tensor:
        return linear_recurrence(a, b, first)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
@pytest.mark.parametrize("states", [1, 3])
def test_a_selective_scan_is_right_on_every_engine(target: str, states: int, tmp_path: Path) -> None:
    model = Selective(6, states).eval()
    for run in engines(model, selective_inputs("fresh", 37, states), target, tmp_path, {}):
        for kind in KINDS:
            assert_right(run, model, selective_inputs(kind, 37, states), f"{target}, {kind}")


@pytest.mark.parametrize("form", [forms.Loop(1), forms.Loop(8), forms.Tree((4, 4, 3)), forms.Tree((40,))])
@pytest.mark.parametrize("states", [1, 3])
def test_every_form_is_right(form: forms.Form, states: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one state and one step in particular: OpenVINO 2026.4 multiplies in the memory of the first factor."""
    monkeypatch.setattr(linear, "cheapest", lambda *_, **__: form)
    model = Selective(6, states).eval()
    for run in engines(model, selective_inputs("fresh", 37, states), "onnx", tmp_path, {}):
        for kind in ("trained", "mixed"):
            assert_right(run, model, selective_inputs(kind, 37, states), f"{form}, {kind}")


def most_axes(program: ExportedProgram) -> int:
    values = [node.meta.get("val") for node in program.graph.nodes]
    return max(value.ndim for value in values if isinstance(value, Tensor))


def test_a_tree_has_no_more_than_five_axes() -> None:
    """That is what Core ML takes, and XNNPACK with the axis that a concatenation needs."""
    model, inputs = Selective(6, 3).eval(), selective_inputs("fresh", 37, 3)
    program = to_real(model, inputs, target="executorch", dynamic_shapes={})
    assert program.graph_module.meta["scans"][0].form == "tree"
    assert most_axes(program) == 5


@pytest.mark.parametrize(
    ("a", "b", "first", "most"),
    [
        ((9, 2, 3, 4), (9, 2, 3, 4), (2, 3, 4), 4),
        ((1, 2, 3, 4), (9, 2, 3, 4), (2, 3, 4), 4),
        ((9, 2, 1, 1), (9, 2, 3, 4), (2, 3, 4), 4),
        ((9, 2, 1, 4), (9, 2, 3, 4), (2, 3, 4), 5),
        ((9, 2, 3, 1), (9, 2, 3, 4), (2, 3, 4), 5),
        ((9, 1, 1, 1), (9, 1, 1, 4), (1, 1, 4), 4),
        ((9, 2, 3, 4), (9, 2, 3, 4), (1, 3, 4), 4),
        ((9, 2, 3, 4), (9, 2, 3, 4), (4,), 4),
        ((9,), (9,), (), 2),
    ],
)
def test_axes_that_are_broadcast_alike_become_one(
    a: tuple[int, ...], b: tuple[int, ...], first: tuple[int, ...], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "cheapest", lambda *_, **__: forms.Tree((4, 3)))
    inputs = torch.sigmoid(draw(*a)), draw(*b, seed=1), draw(*first, seed=2)
    program = to_real(Given(), inputs, dynamic_shapes={})
    assert most_axes(program) == most
    found, expected = (run(*inputs) for run in (program.module(), linear_recurrence))
    torch.testing.assert_close(found, expected)


def test_weights_in_half_precision_become_float32_where_the_scan_is() -> None:
    model, inputs = Selective(6, 2).eval().half(), [each.half() for each in selective_inputs("fresh", 9, 2)]
    program = to_real(model, inputs)
    for found, expected in zip(program.module()(*inputs), model(*inputs), strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_batch_and_length_may_vary(tmp_path: Path) -> None:
    model, batch, length = Selective(6, 2).eval(), Dim("batch"), Dim("length")
    line = {0: batch, 2: length}
    shapes = (line, line, {0: batch, 3: length}, {0: batch, 3: length}, line, {0: batch})
    for run in engines(model, selective_inputs("fresh", 9, 2), "openvino", tmp_path, shapes):
        for size in ((1, 1), (3, 20)):
            assert_right(run, model, selective_inputs("trained", size[1], 2, size[0]), str(size))


@pytest.mark.parametrize("target", ["onnx", "tensorrt"])
@pytest.mark.parametrize("length", [20, 75])
def test_duality_is_right_on_every_engine(target: str, length: int, tmp_path: Path) -> None:
    model = Duality().eval()
    for run in engines(model, duality_inputs("fresh", length), target, tmp_path, {}):
        for kind in KINDS:
            assert_right(run, model, duality_inputs(kind, length), f"{target}, {kind}")


class Recurrence(nn.Module):
    """LRU's: a decay that is constant or computed, real or complex."""

    def __init__(self, is_complex: bool, is_constant: bool) -> None:
        super().__init__()
        decays = 0.9 + 0.1 * torch.rand(1, 1, 6, generator=torch.Generator().manual_seed(0))
        self.decays = nn.Parameter(torch.polar(decays, 3 * decays) if is_complex else decays)
        self.is_complex, self.is_constant = is_complex, is_constant

    def forward(self, x: Tensor) -> Tensor:
        b = torch.complex(x, x.flip(0)) if self.is_complex else x
        h = linear_recurrence(self.decays if self.is_constant else self.decays * torch.sigmoid(x), b)
        return h.real if self.is_complex else h


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("is_constant", [False, True])
def test_a_recurrence_is_right_on_every_engine(is_complex: bool, is_constant: bool, tmp_path: Path) -> None:
    model, inputs = Recurrence(is_complex, is_constant).eval(), (draw(37, 2, 6),)
    for run in engines(model, inputs, "onnx", tmp_path, {}):
        assert_right(run, model, inputs, "")


CONSTANT = [forms.Loop(1), forms.Loop(8), forms.Tree((4, 4, 3)), forms.Chunks(8), forms.Chunks(37), forms.Convolution()]


class Smoothing(nn.Module):
    """Decays of the weights alone, the same at all steps, of EMA, LRU, S4D and S5; and complex ones that vary."""

    def __init__(self) -> None:
        super().__init__()
        self.slow_and_fast = nn.Parameter(torch.tensor([[0.999, 0.9999, 1.0, 0.5, 1e-3, 0.0]]))
        self.turning = nn.Parameter(torch.polar(self.slow_and_fast.detach(), torch.arange(6.0)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a, z = self.slow_and_fast, torch.complex(x, x.flip(0))
        one, each = linear_recurrence(0.99 * a[:, :1] / a[:, :1], x, x[-1]), linear_recurrence(a, x)
        tiled = linear_recurrence(a.tile(37, 1)[:, None], x, x[-1])
        turned = [linear_recurrence(self.turning, z), linear_recurrence(self.turning * x.sigmoid(), z, z[0])]
        return one, each, tiled, *(part for h in turned for part in (h.real, h.imag))


@pytest.mark.parametrize("form", CONSTANT, ids=str)
def test_constant_decays_are_right_in_every_form(
    form: forms.Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = forms.cheapest

    def of_this_length(size: forms.Size, *rest: Any, **options: Any) -> forms.Form:
        has_form = isinstance(form, forms.Loop | forms.Tree) or size.decays
        return form if size.length == 37 and has_form else chosen(size, *rest, **options)

    monkeypatch.setattr(linear, "cheapest", of_this_length)
    model, inputs = Smoothing().eval(), (draw(37, 2, 6),)
    for run in engines(model, inputs, "onnx", tmp_path, {}):
        assert_right(run, model, inputs, str(form))


@cache
def sizes(length: int, target: str) -> tuple[int, list[str]]:
    program = to_real(Selective(6, 2).eval(), selective_inputs("fresh", length, 2), target=target, dynamic_shapes={})
    return len(program.graph.nodes), [str(node.target) for node in program.graph.nodes]


def test_a_scan_has_as_many_operators_at_any_length() -> None:
    assert max(sizes(400, "onnx")[0], sizes(4000, "onnx")[0]) < 50
    assert "hamsa.scan_steps.default" in sizes(4000, "onnx")[1]
    assert sizes(4000, "tensorrt")[0] < 250
    assert "hamsa.scan_steps.default" not in sizes(400, "tensorrt")[1]


def test_a_scan_may_compute_its_decays_from_the_input(tmp_path: Path) -> None:
    class Unusual(nn.Module):
        def forward(self, u: Tensor, A: Tensor) -> Tensor:
            return selective_scan(u, u, -A.exp(), u[:, None, :2], u[:, None, 2:4], delta_softplus=True)[0]

    inputs = draw(2, 4, 300), draw(4, 2)
    for run in engines(Unusual().eval(), inputs, "openvino", tmp_path, {}):
        assert_right(run, Unusual().eval(), inputs, "")
