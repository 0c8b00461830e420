"""to_real as a whole: what it keeps, what it refuses, what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fft, nn

from hamsa_deploy import to_real
from hamsa_deploy.models import MODELS, SASS, load_model
from hamsa_deploy.spectral.alternatives import alternative_to
from hamsa_deploy.spectral.compiler import supported_operators
from hamsa_deploy.spectral.errors import UnsupportedOperatorError
from hamsa_deploy.spectral.provenance import innermost_frame, module_path
from hamsa_runtime.errors import InputError, UnsupportedTransformError

from ..programs import FLOAT64_LIMIT, Program, as_real, assert_real, check_exact, operators, relative_error


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.sass = SASS((4, 4), 6, norm="backward", complex_w1=True)
        self.again = SASS((4, 4), 6, norm="forward", complex_w1=False)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        return {"mixed": F.gelu(self.again(self.sass(self.norm(tokens))))}


@pytest.fixture(scope="module")
def mixer() -> tuple[Mixer, torch.export.ExportedProgram]:
    torch.manual_seed(0)
    model = Mixer().eval()
    return model, to_real(model, (torch.randn(1, 16, 6),))


def test_the_batch_is_dynamic_by_default(mixer: tuple[Mixer, torch.export.ExportedProgram]) -> None:
    model, program = mixer
    for batch in (1, 2, 5):
        x = torch.randn(batch, 16, 6)
        assert relative_error(program.module()(x), model(x)) < 2e-6


def test_the_batch_is_dynamic_for_a_module_of_any_number_of_inputs() -> None:
    program = to_real(Program(lambda x, y: fft.fft(x, dim=1).abs() + y), (torch.randn(2, 8), torch.randn(2, 8)))
    x, y = torch.randn(5, 8), torch.randn(5, 8)
    assert relative_error(program.module()(x, y), fft.fft(x, dim=1).abs() + y) < 2e-6


def test_inputs_outputs_and_parameters_keep_their_names(mixer: tuple[Mixer, torch.export.ExportedProgram]) -> None:
    program = mixer[1]
    assert program.graph_signature.user_inputs == ("tokens",)
    assert set(program.module()(torch.randn(2, 16, 6))) == {"mixed"}
    kept = set(program.graph_signature.inputs_to_parameters.values())
    assert {"norm.weight", "norm.bias"} <= kept
    assert "sass.psi" not in kept  # K_hat is computed, psi itself is not needed


def test_fused_operators_stay_whole(mixer: tuple[Mixer, torch.export.ExportedProgram]) -> None:
    assert {"layer_norm", "gelu", "linear"} <= set(operators(mixer[1]))


def test_equal_constants_are_stored_once(mixer: tuple[Mixer, torch.export.ExportedProgram]) -> None:
    """Both mixers have the same transform length: its matrices are there once."""
    shapes = [tuple(b.shape) for _, b in mixer[1].named_buffers()]
    assert shapes.count((9, 16)) == 2  # cosines and sines; both norms leave the same orthonormal matrices


def test_every_node_of_a_mixer_names_its_module_and_a_source_line(
    mixer: tuple[Mixer, torch.export.ExportedProgram],
) -> None:
    nodes = [n for n in mixer[1].graph.nodes if n.op == "call_function" and "matmul" in str(n.target)]
    assert nodes
    for node in nodes:
        assert module_path(node) in ("sass", "again")
        frame = innermost_frame(node.meta["stack_trace"])
        assert frame is not None
        assert frame[0].endswith("sass.py")


def test_complex_inputs_and_outputs_have_a_last_dimension_of_two() -> None:
    z = torch.randn(2, 5, dtype=torch.complex128)
    program = check_exact(Program(lambda z, x: z * fft.fft(x)), z, torch.randn(2, 5, dtype=torch.float64))
    assert [node.meta["val"].shape[-1] for node in program.graph.nodes if node.op == "placeholder"][-2:] == [2, 5]


def test_an_exported_program_is_accepted() -> None:
    x = torch.randn(3, 8)
    captured = torch.export.export(Program(lambda x: fft.fft(x).abs()), (x,))
    assert_real(to_real(captured, (x,), dynamic_shapes={}))


def test_the_example_inputs_and_the_model_are_left_alone(mixer: tuple[Mixer, torch.export.ExportedProgram]) -> None:
    model = Mixer().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_real(model, (torch.randn(1, 16, 6),))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.sass.psi.dtype == torch.float32


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Program(lambda x: torch.linalg.inv(fft.fft(x)).real)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_an_operator_without_a_rule_is_named_with_module_and_line() -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        to_real(Nested(), (torch.randn(2, 4, 4),), dynamic_shapes={})
    message = str(caught.value)
    assert "linalg_inv" in message
    assert "module 'inner'" in message
    assert "test_rewriting.py" in message or "programs.py" in message
    assert caught.value.exit_code == 2


W = torch.randn(3, 4, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
ALTERNATIVES = {
    "a block matrix": (lambda z: torch.linalg.inv(z), "linalg_inv", "[[Re, -Im], [Im, Re]]"),
    "nothing in the model": (lambda z: torch.linalg.eigvals(z), "linalg_eigvals", "outside of the model"),
    "logarithms": (lambda z: torch.asin(z), "asin", "torch.log"),
    "no strides": (lambda z: z.as_strided((2, 2), (1, 2)), "as_strided", "reshape"),
    "a similar name": (lambda z: torch.nn.functional.bilinear(z, z, W), "bilinear", "view_as_real"),
}


@pytest.mark.parametrize(("function", "called", "hint"), ALTERNATIVES.values(), ids=ALTERNATIVES.keys())
def test_the_error_names_what_was_called_and_what_to_write_instead(
    function: Callable[[Tensor], Tensor], called: str, hint: str
) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        to_real(Program(lambda x: function(fft.fft(x)).abs()), (torch.randn(4, 4),), dynamic_shapes={})
    message = str(caught.value)
    assert called in message
    assert hint in message
    assert "programs.py" in message


def test_the_nearest_operator_with_a_rule_is_suggested() -> None:
    assert alternative_to("cumprods", supported_operators()) == "rewrite that line with 'cumprod'"
    assert alternative_to("fold_origami", supported_operators()) == ""


class ComplexState(nn.Module):
    """A complex parameter and a complex buffer, used, sliced and returned."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.gain = nn.Parameter(torch.randn(6, dtype=torch.complex128, generator=generator))
        self.shift: Tensor
        self.register_buffer("shift", torch.randn(2, 6, dtype=torch.complex128, generator=generator))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = fft.fft(x) * self.gain + self.shift[1]
        return z, self.gain.conj() * self.shift, (x * self.gain).abs()


def test_parameters_and_buffers_may_be_complex() -> None:
    x = torch.randn(3, 6, dtype=torch.float64)
    program = check_exact(ComplexState(), x)
    assert not any(value.is_complex() for value in program.state_dict.values())


class SizedByTheBatch(nn.Module):
    """What depends on weights alone in one place, and on a batch that varies in another."""

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(6, dtype=torch.float64)
        rows = torch.ones(x.shape[0], 6, dtype=torch.float64) * steps.cos()
        return (fft.fft(x) * rows).real


class ComplexSilu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, dtype=torch.complex128, generator=torch.manual_seed(0)))

    def forward(self, z: Tensor) -> Tensor:
        return F.silu(z * self.weight)


def test_a_function_without_a_derivative_may_meet_parameters() -> None:
    """PyTorch computes silu of complex numbers, and refuses to differentiate it."""
    z = torch.randn(2, 3, dtype=torch.complex128, generator=torch.manual_seed(1))
    with torch.no_grad():
        expected = ComplexSilu()(z)
    found = to_real(ComplexSilu(), (z,), dynamic_shapes={}).module()(torch.view_as_real(z))
    assert relative_error(found, expected) < FLOAT64_LIMIT


def test_a_size_that_varies_is_no_constant() -> None:
    x, model = torch.randn(3, 6, dtype=torch.float64), SizedByTheBatch()
    program = to_real(model, (x,))
    for part in (x, x[:1]):
        assert relative_error(program.module()(part), model(part)) < 1e-12  # rounding in float64


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.empty(3, 4).copy_(x) * 2 + torch.empty_like(x).fill_(1)


def test_uninitialised_memory_is_no_constant() -> None:
    x = torch.randn(3, 4)
    program = to_real(Nothing(), (x,), dynamic_shapes={})
    assert torch.equal(program.module()(x), 2 * x + 1)


def test_an_operator_on_real_values_stays_whole_beside_the_same_one_on_complex_values() -> None:
    program = check_exact(
        Program(lambda x: F.silu(fft.fft(x)).abs() + F.silu(x)), torch.randn(2, 5, dtype=torch.float64)
    )
    assert operators(program).count("silu") == 1


def test_a_transform_along_a_dynamic_axis_fails_before_anything_is_built() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return fft.fft(x).abs()

    length = torch.export.Dim("length", min=2, max=64)
    with pytest.raises(UnsupportedTransformError, match="dynamic length") as caught:
        to_real(Spectrum(), (torch.randn(2, 9),), dynamic_shapes={"x": {1: length}})
    assert "test_rewriting.py" in str(caught.value)


REFUSED = {
    "length 0": lambda x: fft.fft(x, n=0),
    "unknown norm": lambda x: fft.fft(x, norm="unit"),
    "no such axis": lambda x: fft.fft(x, dim=7),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_a_transform_that_pytorch_refuses_is_bad_input(call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError):
        to_real(Program(lambda x: call(x).abs()), (torch.randn(2, 9),), dynamic_shapes={})


def test_an_unknown_target_is_bad_input() -> None:
    with pytest.raises(InputError, match="onnx"):
        to_real(Program(lambda x: x), (torch.randn(2, 2),), target="onxn")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("hamsa")])
def test_every_hamsa_preset_becomes_real(name: str, tmp_path: Path) -> None:
    """No complex tensor, no FFT, 2e-6 in float32, and a file of at most 1.15 times the parameters plus 1 MB."""
    from hamsa_deploy.targets.onnx_file import onnx_from_program

    model = load_model(name)
    size = 32 if name == "hamsa_nano" else 224
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    program = to_real(model, (x,))
    assert_real(program)
    with torch.inference_mode():
        error = relative_error(program.module()(x), model(x))
    onnx_from_program(program, tmp_path / "model.onnx", inputs=["images"], outputs=["logits", "embedding"])
    parameters = 4 * sum(p.numel() for p in model.parameters())
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    sys.stdout.write(
        f"{name}: relative error {error:.1e}, {written / 1e6:.1f} MB, parameters {parameters / 1e6:.1f} MB\n"
    )
    assert error < 2e-6
    assert written <= 1.15 * parameters + 1e6


FORKED = """
import os, signal, torch
from hamsa_deploy import to_real

class Spectrum(torch.nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs()

torch.set_num_threads(1)
to_real(Spectrum(), (torch.zeros(2, 6),))
child = os.fork()
signal.alarm(100)
program = to_real(Spectrum(), (torch.zeros(2, 6),))
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(0)
"""


def test_a_forked_process_rewrites_as_its_parent_did() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=200)


NUMBERS = np.linspace(0, 1, 16)


def constants_of_other_types(x: Tensor) -> list[Tensor]:
    """What numpy made in float64 and the model converts, in most of the ways in which that is written."""
    z = fft.fft(x)
    return [
        x + torch.tensor(NUMBERS, dtype=torch.float),
        x + torch.tensor(NUMBERS).to(x),
        x + torch.from_numpy(NUMBERS).float(),
        x + torch.as_tensor(NUMBERS).type_as(x),
        x + torch.hann_window(16, dtype=torch.float64).float(),
        x.half() + torch.tensor(NUMBERS, dtype=torch.half),
        x * torch.tensor(NUMBERS),
        x * torch.tensor(0.1, dtype=torch.float64),
        z * torch.tensor(np.exp(1j * NUMBERS), dtype=torch.cfloat),
        z * torch.tensor(np.exp(1j * NUMBERS)),
        z * fft.fftfreq(16, dtype=torch.float64).to(x.dtype),
        x * torch.tensor(NUMBERS, dtype=torch.float).half().float(),
        x * (torch.tensor(NUMBERS, dtype=torch.float) * 127).round().to(torch.int8),
        x[:, torch.tensor(NUMBERS * 15).long()],
    ]


def test_constants_have_the_types_that_the_model_gives_them() -> None:
    """Also in half precision, where a number that the model rounds is another one: by 3e-4."""
    x = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    model = Program(constants_of_other_types)
    for a, b in zip(to_real(model, (x,)).module()(x), as_real(model(x)), strict=True):
        assert a.dtype == b.dtype
        assert relative_error(a, b) < (1e-3 if a.dtype == torch.half else 1e-6)


class Modes(nn.Module):
    """As networks of Fourier modes have them: weights of which a shorter signal takes fewer, 2.5 MiB in all."""

    def __init__(self, *parts: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        numbers = torch.randn(64, 64, 80, dtype=torch.cfloat, generator=torch.Generator().manual_seed(0))
        self.weight, self.parts = nn.Parameter(numbers / 8), parts

    def forward(self, x: Tensor) -> Tensor:
        z, parts = torch.fft.rfft(x), [part(self.weight) for part in self.parts]
        return torch.cat([torch.einsum("iox,bx->bi", part, z[:, : part.shape[-1]]) for part in parts], 1)


@pytest.mark.parametrize(
    ("parts", "shapes"),
    [
        ([lambda w: w[:, :, :], lambda w: w[:, :, :70], lambda w: w[:, 1:, -70:], lambda w: w[2:, 3:, 5:-5]], {80}),
        ([lambda w: w[:, :, 2:72], lambda w: w[:, :, 1:71].conj(), lambda w: w[:, :, :70].permute(1, 0, 2)], {70}),
    ],
)
def test_parts_of_large_weights_are_cut_from_them(parts: list[Any], shapes: set[int]) -> None:
    x = torch.randn(2, 158, generator=torch.Generator().manual_seed(1))
    model = Modes(*parts).eval()
    program = to_real(model, (x,), dynamic_shapes={})
    with torch.no_grad():
        expected, found = torch.view_as_real(model(x)), program.module()(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    stored = [value for value in program.state_dict.values() if value.nbytes >= 2**20]
    assert {value.shape[-1] for value in stored} == shapes
    assert len(stored) == 2 or shapes == {70}  # a real and an imaginary part
    assert not any(value.untyped_storage().data_ptr() == model.weight.data_ptr() for value in stored)
