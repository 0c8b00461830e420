"""A value that float16 cannot hold keeps its nodes in float32, by name; so does every other reason for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.precision.float16 import from_float32
from hamsa_deploy.precision.float16.islands import LARGEST, SMALLEST_NORMAL
from hamsa_runtime import Engine
from tests.precision.typed import graph, infinite_values, outputs_of, typed

X, OUT = "float[batch, 2] x", "float[batch, 2] out"


def islands_of(body: str, largest: float, **weights: np.ndarray) -> dict[str, str]:
    """Islands of a graph that was measured on x of that size; nodes by their names."""
    x = np.array([[largest, -largest / 2]], np.float32)
    return typed(graph(body, X, OUT, **weights), [{"x": x}])[1]


ONE_EIGHTH = LARGEST / 8


@pytest.mark.parametrize(
    ("largest", "found"),
    [
        (
            ONE_EIGHTH * 1.001,
            "overflow: x reaches 8.2e+03 on the calibration data; 8 times that is beyond",
        ),
        (ONE_EIGHTH * 0.999, None),
        (SMALLEST_NORMAL * 8.001, None),
        (SMALLEST_NORMAL * 7.999, "underflow: x reaches 0.00049 on the calibration data"),
        (0.0, None),
    ],
)
def test_eight_times_what_was_measured_is_kept_free_on_both_ends(largest: float, found: str | None) -> None:
    islands = islands_of("[a] out = Relu(x)", largest)
    assert list(islands) == (["a"] if found else [])
    assert found is None or islands["a"].startswith(found)


def test_who_computes_a_large_value_and_who_takes_it_are_islands() -> None:
    islands = islands_of(
        "[a] big = Mul(x, k) [b] less = Div(big, k) [c] out = Relu(less)", 100.0, k=np.array(1000, np.float32)
    )
    assert list(islands) == ["a", "b"]
    assert all("big reaches 1e+05" in reason for reason in islands.values())


def test_a_square_needs_the_headroom_twice() -> None:
    assert islands_of("[a] y = Mul(x, x) [b] out = Add(y, y)", 32.1) != {}  # 64 times 32 squared is 65536
    assert islands_of("[a] y = Mul(x, x) [b] out = Add(y, y)", 31.9) == {}


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (1e6, "overflow: the weight w reaches 1e+06"),
        (1e-7, "underflow: the weight w reaches 1e-07"),
        (SMALLEST_NORMAL, None),
        (0.0, None),
        (-np.inf, None),
    ],
)
def test_weights_that_float16_cannot_hold(weight: float, reason: str | None) -> None:
    islands = islands_of("[a] y = Add(x, w) [b] out = Relu(y)", 1.0, w=np.array([weight, 0], np.float32))
    assert islands.get("a", "").startswith(reason) if reason else "the weight" not in "".join(islands.values())


def test_a_sum_inside_an_operator_counts_with_all_its_terms() -> None:
    body = "[a] m = ReduceMean <keepdims = 1> (x, axes) [b] out = Add(x, m)"
    axes = np.array([1], np.int64)
    assert islands_of(body, 4000.0, axes=axes) == {}
    assert islands_of(body, 4100.0, axes=axes)["a"] == "inside: a sum may reach 6.6e+04, beyond float16's 65504"


@pytest.mark.parametrize(("n", "found"), [(12, True), (3136, True), (16, False), (2, False)])
def test_a_transform_whose_length_is_no_power_of_two_stays_in_float32(n: int, found: bool) -> None:
    islands = islands_of_dft("onesided = 1", f"float[batch, {n}, 1] x", np.ones((1, n, 1)), n)
    reason = f"length: {n} is no power of two, and NVIDIA's FFT has no other lengths in float16"
    assert islands == ({"a": reason} if found else {})


def test_an_inverse_transform_adds_up_before_it_divides() -> None:
    shape, flat = "float[batch, 513, 2] x", np.zeros((1, 513, 2))
    flat[0, 0, 0] = 1024  # of a signal that is one everywhere: 1024 ones, times the headroom, is 8192
    assert islands_of_dft("inverse = 1, onesided = 1", shape, flat * 7.9, 1024) == {}
    islands = islands_of_dft("inverse = 1, onesided = 1", shape, flat * 8.1, 1024)
    assert islands["a"].startswith("overflow: x reaches 8.3e+03")
    noise = np.full((1, 513, 2), 15.9)  # of a signal that is 16 at 0
    assert islands_of_dft("inverse = 1, onesided = 1", shape, noise, 1024)["a"].startswith("inside: a sum may reach")


def islands_of_dft(attributes: str, shape: str, x: np.ndarray, n: int) -> dict[str, str]:
    body = f"[a] y = DFT <{attributes}> (x, n, axis) [b] out = Relu(y)"
    model = graph(body, shape, "float[batch, m, k] out", n=np.array(n), axis=np.array(-2))
    return typed(model, [{"x": x.astype(np.float32)}])[1]


def test_a_divisor_is_not_rounded_to_zero() -> None:
    body = "[a] n = ReduceL2 <keepdims = 1> (x, axes) [b] floor = Max(n, eps) [c] out = Div(x, floor)"
    model = graph(body, X, axes=np.array([1], np.int64), eps=np.array([1e-12], np.float32))
    half, islands = typed(model, [{"x": np.ones((1, 2), np.float32)}])
    assert list(islands) == ["b", "c"]
    # zeros, too: 0 / 1e-12 is 0, but 0 / 0 would be NaN
    (found,) = outputs_of(half, {"x": np.array([[3, 4], [0, 0]], np.float32)})
    np.testing.assert_allclose(found, np.array([[0.6, 0.8], [0, 0]]), rtol=1e-3)


def test_an_operator_that_onnx_does_not_define_for_float16() -> None:
    islands = islands_of("y = Relu(x) [a] out = com.microsoft.Gelu(y)", 1.0)
    assert islands == {"a": "operator: ONNX does not define Gelu for float16"}


class Mixer(nn.Module):
    """A gated filter. At k = 0 the spectrum is 64 times the signal."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft(x, dim=1)
        return torch.fft.ifft(spectrum * torch.sigmoid(spectrum.abs() / 1000), dim=1).real


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixer = Mixer()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.mixer(x))


SIGNAL = np.random.default_rng(0).uniform(2000, 3000, (4, 64, 2)).astype(np.float32)


def test_an_overflow_in_a_spectrum_is_found_named_kept_in_float32_and_reported(tmp_path: Path) -> None:
    bundle = hamsa_deploy.export(
        Model().eval(), (torch.from_numpy(SIGNAL),), to="onnx", precision="fp16", data=SIGNAL, output=tmp_path / "b"
    )
    overflows = {layer: why for layer, why in bundle.manifest.islands.items() if why.startswith("overflow: ")}
    assert all(layer.startswith("mixer/") for layer in bundle.manifest.islands)
    assert any("reaches 1.6e+05" in why and "beyond float16's 65504" in why for why in overflows.values())
    with Engine(bundle.folder) as engine, torch.inference_mode():
        expected = Model()(torch.from_numpy(SIGNAL)).numpy()
        np.testing.assert_allclose(engine(SIGNAL)["output"], expected, rtol=2e-3)


def test_without_its_islands_the_same_spectrum_is_infinite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = real_model_of_request(Request(Model().eval(), (torch.from_numpy(SIGNAL),), to="onnx")).write(
        tmp_path / "model.onnx"
    )
    half, islands = typed(model, [{"x": SIGNAL}])
    assert islands
    assert infinite_values(half, {"x": SIGNAL}) == []
    monkeypatch.setattr(from_float32, "float32_islands", lambda graph, ranges: {})
    half, islands = typed(model, [{"x": SIGNAL}])
    assert islands == {}
    assert infinite_values(half, {"x": SIGNAL})
