"""Transforms that stay one operator: what PyTorch and ONNX Runtime compute, and what the ONNX file holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor

from hamsa_deploy import to_real
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_runtime.backends.onnxruntime import has_native_transforms
from hamsa_runtime.dft.factorisations import Plan
from hamsa_runtime.errors import InputError

from .programs import Program, as_real, operators, relative_error

needs_native = pytest.mark.skipif(not has_native_transforms(), reason="this ONNX Runtime has no inverse real DFT")

LENGTHS = [2, 7, 12, 13, 15, 64, 97, 196]
PRODUCTS = {"matmul", "mm", "bmm", "linear", "conv1d"}
# What may be given or make a complex tensor: the transforms and their borders.
AROUND = {"fft_rfft", "fft_irfft", "view_as_real", "complex"}
EPS = 2.0**-23


def everything(n: int, axis: int, norm: str) -> Program:
    """Two-sided and one-sided, forward and inverse, gated, padded and cut, along one axis."""
    kernel = torch.randn(n, *[1] * (3 - axis), 2, dtype=torch.float64, generator=torch.manual_seed(1))

    def program(x: Tensor) -> tuple[Tensor, ...]:
        response = torch.view_as_complex(kernel.to(x.dtype))
        two_sided, one_sided = (f(x, dim=axis, norm=norm) for f in (torch.fft.fft, torch.fft.rfft))
        padded = torch.fft.fft(x.narrow(axis, 0, n - 1), n=n, dim=axis, norm=norm)
        gated = two_sided * two_sided.abs() * response
        return (
            torch.view_as_real(two_sided),
            torch.view_as_real(one_sided),
            torch.view_as_real(torch.fft.ifft(gated, dim=axis, norm=norm)),
            torch.fft.ifft(padded * padded.abs(), dim=axis, norm=norm).real.narrow(axis, 0, n - 1),
            torch.fft.ifft(two_sided.abs(), dim=axis, norm=norm).real,
            torch.fft.irfft(one_sided * response[: n // 2 + 1], n=n, dim=axis, norm=norm),
        )

    return Program(program)


def signal(n: int, axis: int) -> Tensor:
    sizes = [2, 3, 2]
    sizes.insert(axis, n)
    return torch.randn(sizes, dtype=torch.float64, generator=torch.manual_seed(0))


def native(model: Program, *inputs: Tensor, dynamic_shapes: object = None) -> torch.export.ExportedProgram:
    """The native form, whose complex tensors are those between a transform and its borders."""
    program = to_real(model, inputs, dynamic_shapes=dynamic_shapes, fft="native")
    for node in program.graph.nodes:
        if isinstance(node.meta.get("val"), Tensor) and node.meta["val"].is_complex():
            assert node.target._schema.name.split("::")[1] in AROUND, node
    assert not PRODUCTS & set(operators(program))
    return program


@pytest.mark.parametrize(
    ("n", "axis", "norm"), [(n, 1 + i % 3, ("backward", "ortho", "forward")[i // 3 % 3]) for i, n in enumerate(LENGTHS)]
)
def test_float64_native_transforms_agree_with_torch_fft(n: int, axis: int, norm: str) -> None:
    model, x = everything(n, axis, norm), signal(n, axis)
    found, expected = native(model, x).module()(x), model(x)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        # the same FFT with the factors of its norm elsewhere: rounding to 1e-16, with a margin of a hundred
        assert relative_error(a, b) < 1e-14


OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "complex signal": lambda x: torch.view_as_real(torch.fft.fft(torch.complex(x, x.flip(1)), dim=1)),
    "two axes": lambda x: torch.view_as_real(torch.fft.fft2(x, dim=(1, 2))),
    "two axes and back": lambda x: torch.fft.irfft2(torch.fft.rfft2(x, dim=(1, 2)) * (1 + x.mean()), (12, 3), (1, 2)),
    "hermitian": lambda x: torch.fft.hfft(torch.complex(x, x.flip(1)), n=21, dim=1),
    "inverse hermitian": lambda x: torch.view_as_real(torch.fft.ihfft(x, dim=1).resolve_conj()),
    "rolled": lambda x: torch.fft.ifft(torch.fft.fftshift(torch.fft.fft(x, dim=1), 1) * x.abs(), dim=1).real,
    "some frequencies": lambda x: torch.view_as_real(torch.fft.rfft(x, dim=1)[:, [5, 0, 2]]),
    "few frequencies": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1)[:, :3] * x[:, :3], n=12, dim=1),
    "one part constant": lambda x: torch.fft.ifft(torch.complex(torch.ones_like(x) * 2, x), dim=1).real,
    "only imaginary": lambda x: torch.fft.ifft(torch.fft.fft(x, dim=1).imag.abs() * 1j, dim=1).imag,
    "a filter": lambda x: torch.fft.ifft(torch.fft.fft(x, dim=1) * torch.arange(12.0)[:, None, None], dim=1).real,
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_programs_agree_with_torch_fft(name: str) -> None:
    model, x = Program(OTHERS[name]), signal(12, 1)
    program = native(model, x)
    assert relative_error(program.module()(x), model(x)) < 1e-14
    assert {row.kind for row in program.graph_module.meta["transforms"]} == {"native"}


def test_a_filter_stays_two_transforms_which_the_plan_lists() -> None:
    program = native(Program(OTHERS["a filter"]), signal(12, 1))
    rows = program.graph_module.meta["transforms"]
    assert [(row.length, row.factors, row.kind) for row in rows] == [(12, (12,), "native")] * 2


def test_a_plan_that_is_asked_for_stays() -> None:
    model, x = Program(OTHERS["a filter"]), signal(12, 1)
    program = to_real(model, (x,), dynamic_shapes={}, fft="native", plans={12: Plan(12, (3, 4))})
    assert "matmul" in operators(program)
    assert not AROUND & set(operators(program))


def test_an_unknown_form_names_the_nearest() -> None:
    with pytest.raises(InputError, match="'nativ'") as raised:
        to_real(Program(torch.abs), (torch.ones(2),), fft="nativ")
    assert "did you mean 'native'?" in str(raised.value)


def exported(model: Program, x: Tensor, path: Path) -> ir.Model:
    program = native(model, x)
    names = [f"y{index}" for index in range(len(as_real(model(x))))]
    return onnx_from_program(program, path, inputs=["x"], outputs=names)


@needs_native
@pytest.mark.parametrize(
    ("n", "axis", "norm"), [(7, 3, "forward"), (12, 1, "backward"), (64, 2, "ortho"), (97, 1, "ortho")]
)
def test_onnxruntime_computes_native_transforms(tmp_path: Path, n: int, axis: int, norm: str) -> None:
    model, x = everything(n, axis, norm), signal(n, axis)
    exported(model, x.float(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    batch = torch.cat([x, -2 * x])  # another batch than the one exported
    for found, expected in zip(session.run(None, {"x": batch.float().numpy()}), model(batch), strict=True):
        assert found.shape == expected.shape
        # ONNX Runtime's DFT errs by 2 eps n at most, for two transforms twice that (native_limits.py); float32 by 1e-6
        assert relative_error(torch.from_numpy(found), expected) < 4 * EPS * n + 1e-6


def constant(value: ir.Value | None) -> int:
    assert value is not None
    assert value.const_value is not None
    return int(value.const_value.numpy())


def test_the_file_holds_real_transforms_of_known_length_along_the_last_axis(tmp_path: Path) -> None:
    """What TensorRT's plugin computes without more ado."""
    model = exported(Program(OTHERS["a filter"]), signal(12, 1).float(), tmp_path / "model.onnx")
    forward, inverse = [node for node in model.graph if node.op_type == "DFT"]
    for node, shape in ((forward, [2, 3, 12, 1]), (inverse, [2, 3, 7, 2])):
        signals, length, axis = node.inputs
        assert signals is not None
        assert signals.shape is not None
        assert list(signals.shape)[1:] == shape
        assert constant(length) == 12
        assert constant(axis) in (-2, 3)
        assert node.attributes["onesided"].as_int() == 1
    assert [node.attributes["inverse"].as_int() for node in (forward, inverse)] == [0, 1]
    assert model.opset_imports[""] == 20


def test_no_sum_exceeds_the_root_of_n_times_the_signal() -> None:
    """So float16 has room for it; unnormalised, this one would reach n."""
    n, largest = 4096, []
    model = Program(lambda x: torch.fft.ifft(torch.fft.fft(x, dim=1), dim=1).real)
    x = torch.ones(1, n, 1, dtype=torch.float64)

    class Watching(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            result = super().run_node(n)
            largest.extend([float(result.abs().max())] if isinstance(result, Tensor) else [])
            return result

    Watching(native(model, x, dynamic_shapes={}).module()).run(x)
    assert max(largest) == pytest.approx(np.sqrt(n))
