"""What of people's models is captured, what is refused, and whether the reason is the true one and names the line."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy import export, to_real
from hamsa_deploy.spectral.compiler.capture import CaptureError, FixedSizeError, quiet
from hamsa_runtime.errors import InputError

from ..programs import Program
from . import capturing
from .capturing import Module, double

X = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))

LENGTHS = torch.tensor([2, 2, 2])


def close(model: nn.Module, x: Tensor, **options: Any) -> bool:
    """Whether the real form computes what the model does, and leaves it as it was."""
    before = copy.deepcopy(model)
    found = to_real(model, (x,), **options).module()(x)
    assert {k: str(v) for k, v in vars(model).items()} == {k: str(v) for k, v in vars(before).items()}
    return torch.allclose(found, model(x), atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        capturing.asserts_on_inputs,
        capturing.asserts_on_a_buffer,
        capturing.branches_on_numbers,
        capturing.takes_an_item,
        capturing.builds_lists,
        capturing.takes_parts_of_a_buffer,
        capturing.takes_sizes_from_constants,
        capturing.fills_a_cache,
        capturing.writes_what_it_made,
    ],
    ids=lambda function: function.__name__,
)
def test_conditions_that_only_constants_decide_and_assertions_are_taken(function: Callable[[Any, Tensor], Any]) -> None:
    model = Module(function).eval()
    x = torch.cat([X, X])
    assert torch.allclose(to_real(model, (X,)).module()(x), model(x), atol=1e-5)


@pytest.mark.parametrize("function", [capturing.asserts_on_inputs, capturing.raises_on_values])
def test_a_check_of_values_is_left_out_with_a_warning(
    function: Callable[[Any, Tensor], Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert close(Module(function).eval(), X)
    assert "left out, because it depends on values: the check in" in caplog.text
    assert "capturing.py:" in caplog.text


# The first two of the last axis, by numbers that are the same for every batch.
OF_ANY_BATCH: dict[str, Callable[[Tensor], Any]] = {
    "full": lambda x: torch.full((x.shape[0],), 2).max(),
    "new_full": lambda x: int((x.new_full((x.shape[0],), 3.0, dtype=torch.half) / 2).ceil().long().amax()),
    "repeat": lambda x: torch.tensor([2, 1]).repeat(x.shape[0]).max().item(),
    "ones of two dimensions": lambda x: int(torch.ones(x.shape[0], 2).mul(2).max(0)[0].min()),
    "a condition": lambda x: 2 if (torch.full((x.shape[0],), 8) > 3).all() else 4,
}
# Some are something else for another batch, and all are made of what may be.
OF_ONE_BATCH: dict[str, Callable[[Tensor], Any]] = {
    "sum": lambda x: int(torch.ones(x.shape[0]).sum()),
    "filled with it": lambda x: int(torch.full((3,), x.shape[0]).max()),
    "a limit": lambda x: int(torch.arange(x.shape[0]).clamp(max=2).max()) + 1,
    "a list": lambda x: max(torch.full((x.shape[0],), 2).tolist()),
    "a running sum": lambda x: int(torch.ones(x.shape[0]).cumsum(0).max()),
    "of the input": lambda x: int(torch.full((x.shape[0],), 2).mul(x[:, 0, 0] > -9).max()),
}


@pytest.mark.parametrize("name", OF_ANY_BATCH)
def test_numbers_that_are_the_same_for_every_batch_are_constants(name: str) -> None:
    model = Module(lambda module, x: double(x[..., : OF_ANY_BATCH[name](x)])).eval()
    program = to_real(model, (X,))
    for x in (X, torch.cat([X, X, X])):
        assert torch.allclose(program.module()(x), model(x), atol=1e-5)


@pytest.mark.parametrize("name", OF_ONE_BATCH)
def test_numbers_that_the_batch_or_values_decide_are_none(name: str) -> None:
    model = Module(lambda module, x: double(x[..., : OF_ONE_BATCH[name](x)])).eval()
    with pytest.raises(CaptureError, match="a size from, the values of a tensor, /"):
        to_real(model, (X,))


WRITING: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "an element": lambda n, s: n.__setitem__(0, s),
    "through a slice": lambda n, s: n[:1].add_(s),
    "through a part": lambda n, s: n.chunk(2)[0].add_(s),
    "through data": lambda n, s: n.data.add_(s),
    "by out": lambda n, s: torch.add(n, s, out=n),
}


@pytest.mark.parametrize("name", WRITING)
def test_a_constant_that_was_written_is_none_any_more(name: str) -> None:
    def writes(self: Any, x: Tensor) -> Tensor:
        n = torch.tensor([-1.0, 2.0])
        WRITING[name](n, x.abs().sum())
        return double(x) if n[0] > 0 else x

    with pytest.raises(CaptureError, match="values of a tensor"):
        to_real(Module(writes).eval(), (X,))


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        (lambda x: double(torch.from_numpy(x.numpy() * 2)), "depends on data"),
        (lambda x: double(nn.LSTM(16, 16)(nn.utils.rnn.pack_padded_sequence(x, LENGTHS))[0][0]), "packed sequences"),
        (lambda x: double(copy.deepcopy(x)), "where a tensor's numbers lie"),
    ],
    ids=["numpy", "packed", "deepcopy"],
)
def test_python_that_cannot_be_traced_is_named_with_the_users_line(
    function: Callable[[Tensor], Tensor], cause: str
) -> None:
    with pytest.raises(CaptureError, match=r"test_capture\.py:\d+: \(lambda x: double") as caught:
        to_real(Program(function).eval(), (X,))
    assert cause in caught.value.cause
    assert "https://" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "name", "line"),
    [
        (capturing.counts, "'count'", ""),
        (capturing.keeps_the_tail, "'tail'", ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_forward_writes_and_reads_again_is_refused_by_name(
    function: Callable[[Any, Tensor], Any], name: str, line: str
) -> None:
    model = Module(function).eval()
    before = copy.deepcopy(dict(model.named_buffers()))
    with pytest.raises(InputError) as caught:
        to_real(model, (X,))
    assert name in caught.value.found
    assert line in caught.value.found
    assert (model.count, model.tail) == (1, None)
    assert all(torch.equal(now, before[name]) for name, now in model.named_buffers())


def test_a_program_that_writes_a_buffer_through_a_view_is_refused() -> None:
    def writes(self: Any, x: Tensor) -> Tensor:
        self.window[:8].view(2, 4).add_(x.mean())
        return double(x) + self.window

    program = torch.export.export(Module(writes).eval(), (X,))
    with pytest.raises(InputError, match="forward writes 'window'"):
        to_real(program, (X,), dynamic_shapes={})


def test_training_mode_is_the_reason_for_what_it_writes_and_draws() -> None:
    with pytest.raises(InputError, match=r"'0\.num_batches_tracked'") as caught:
        to_real(nn.Sequential(nn.BatchNorm1d(3), Program(double)), (X,))
    assert "training mode" in caught.value.cause
    assert caught.value.fix == "model.eval()"
    with pytest.raises(InputError, match="'dropout'") as caught:
        to_real(nn.Sequential(nn.Dropout(0.5), Program(double)), (X,))
    assert "training mode" in caught.value.cause


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: double(x) + torch.randn_like(x), "randn_like"),
        (lambda x: F.dropout(double(x), 0.1), "dropout"),
        (lambda x: double(x) * torch.bernoulli(torch.full((16,), 0.5)), "bernoulli"),
        (lambda x: F.scaled_dot_product_attention(double(x), x, x, dropout_p=0.1), "scaled_dot_product_attention"),
    ],
)
def test_random_numbers_are_named_with_operator_and_line(function: Callable[[Tensor], Tensor], operator: str) -> None:
    with pytest.raises(InputError) as caught:
        to_real(Program(function).eval(), (X,))
    assert f"'{operator}'" in caught.value.found
    assert "programs.py" in caught.value.found
    with pytest.raises(InputError, match=operator):
        to_real(torch.export.export(Program(function), (X,)), (X,), dynamic_shapes={})


def test_operators_that_could_draw_random_numbers_and_do_not_are_taken() -> None:
    attention = Program(lambda x: F.scaled_dot_product_attention(double(x), x, x))
    assert close(nn.Sequential(nn.Dropout(0.5), attention, nn.RReLU()).eval(), X)
    assert close(Program(lambda x: F.dropout(double(x), 0.0) + (torch.randn(3), 0)[1]).eval(), X)
    assert close(nn.Sequential(nn.LSTM(16, 4, 2, dropout=0.5), Program(lambda both: double(both[0]))).eval(), X)


def without_a_driver(x: Tensor) -> Tensor:
    """What PyTorch with CUDA says where there is no GPU, in place of 'Torch not compiled with CUDA enabled'."""
    raise RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU")


@pytest.mark.parametrize(
    ("function", "found", "cause"),
    [
        (lambda x: double(x) @ torch.ones(5, 3), "mat1 and mat2 shapes cannot be multiplied", "does not fit"),
        (lambda x: F.embedding(x, torch.ones(5, 3)), "scalar types: Long, Int", "does not fit"),
        (lambda x: double(x.cuda()), "", "device"),
        (without_a_driver, "no NVIDIA driver", "device"),
        (lambda x: __import__("nosuchpackage"), "nosuchpackage", "not installed"),
    ],
    ids=["shape", "dtype", "device", "driver", "package"],
)
def test_the_models_own_error_is_reported_as_that(function: Callable[..., Any], found: str, cause: str) -> None:
    with pytest.raises(InputError, match="fails on the example inputs by itself") as caught:
        to_real(Program(function).eval(), (X,))
    assert found in caught.value.found
    assert "test_capture.py" in caught.value.found
    assert cause in caught.value.cause


def test_a_branch_on_what_is_computed_is_named_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    def branches(x: Tensor) -> Tensor:
        return double(x) if x.sum() > 0 else x

    with pytest.raises(CaptureError) as caught:
        to_real(Program(branches).eval(), (X,))
    assert "return double(x) if x.sum() > 0 else x" in caught.value.found
    assert "torch.where" in caught.value.fix
    assert capfd.readouterr() == ("", "")


FIXING: dict[str, Callable[[Tensor], Tensor]] = {
    "a reshape": lambda x: double(x).reshape(2, -1),
    "a transform along it": lambda x: torch.fft.rfft(x, dim=0).abs(),
    "a constant of that size": lambda x: double(x) + torch.ones(2, 1, 1),
}


@pytest.mark.parametrize("name", FIXING)
def test_a_model_that_fixes_its_batch_keeps_it_with_a_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = Program(FIXING[name]).eval()
    program = to_real(model, (X,))
    assert torch.allclose(program.module()(X), model(X), atol=1e-5)
    assert "the batch is fixed" in caplog.text
    assert ("programs.py:" if "transform" in name else "test_capture.py:") in caplog.text
    with pytest.raises(InputError):
        to_real(model, (X,), batch_must_vary=True)
    with pytest.raises((FixedSizeError, InputError)):
        to_real(model, (X,), dynamic_shapes=({0: torch.export.Dim("batch")},))


@pytest.mark.parametrize(
    "function",
    [lambda x: double(x).view(1, 3, 16), lambda x: torch.stack([double(x[i]) for i in range(int(x.shape[0]))])],
    ids=["takes one only", "a number of it"],
)
def test_a_model_of_one_input_at_a_time_is_taken_as_that(
    function: Callable[[Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    model = Program(function).eval()
    assert torch.allclose(to_real(model, (X[:1],)).module()(X[:1]), model(X[:1]), atol=1e-5)
    assert "the batch is fixed" in caplog.text
    assert "test_capture.py:" in caplog.text
    with pytest.raises(FixedSizeError):
        to_real(model, (X[:1],), batch_must_vary=True)


@pytest.mark.parametrize(
    ("model", "inputs", "found"),
    [
        (torch.jit.script(nn.Linear(16, 2)).eval(), (X,), "a TorchScript module"),
        (nn.Linear, (X,), "a model (of the type type|given as the class Linear)"),
        (nn.Linear(16, 2).eval(), X, "example inputs of the type Tensor"),
        (nn.Linear(16, 2).eval(), {"x": X}, "example inputs of the type dict"),
        (nn.LazyLinear(2).eval(), (X,), "'weight' has no shape yet"),
        (nn.Linear(16, 2, device="meta").eval(), (X,), "'weight' is on the device meta"),
    ],
    ids=["script", "class", "tensor", "dict", "lazy", "meta"],
)
def test_what_cannot_be_captured_at_all_is_said_at_once(model: Any, inputs: Any, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=found):
        to_real(model, inputs)
    with pytest.raises(InputError, match=found):
        export(model, inputs, to="onnx", output=tmp_path / "bundle")


def test_what_other_threads_print_while_a_model_is_captured_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    def speaks() -> None:
        sys.stderr.write("from the model")
        other = threading.Thread(target=lambda: sys.stderr.write("from another thread"))
        other.start()
        other.join()

    with quiet():
        speaks()
    assert capfd.readouterr().err == "from another thread"


def test_inputs_of_different_batches_are_taken_as_they_are() -> None:
    program = to_real(Program(lambda x, y: (double(x), double(y))), (X, X[:1]))
    assert program.module()(X, X[:1])[1].shape == (1, 3, 16)


def test_a_region_of_autocast_has_the_types_that_eager_has() -> None:
    def region(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = F.linear(x, torch.eye(16))
            assert h.dtype == torch.bfloat16
        return double(h.float())

    assert close(Program(region), X)


def test_an_input_may_be_called_as_a_function_of_python_is() -> None:
    class Named(nn.Module):
        def forward(self, input: Tensor, id: Tensor) -> Tensor:
            return torch.fft.ifft2(torch.fft.fft2(input) * 2).real + torch.fft.fft2(id).real

    program = to_real(Named(), (X, X))
    assert program.graph_signature.user_inputs == ("input", "id")
    assert [node.name for node in program.graph.nodes if node.op == "placeholder"][-2:] == ["input", "id"]


def test_threads_capture_one_after_the_other() -> None:
    found: list[Tensor] = []
    threads = [threading.Thread(target=lambda: found.append(to_real(Program(double), (X,)).module()(X))) for _ in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(torch.allclose(each, 2 * X, atol=1e-5) for each in found)


def test_another_number_of_inputs_than_forward_takes_is_said() -> None:
    with pytest.raises(InputError, match="positional argument") as caught:
        to_real(nn.Linear(16, 2), (X, X))
    assert "number of inputs" in caught.value.cause
