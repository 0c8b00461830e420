"""State of a model as inputs and outputs of its real form: over ten calls the same as eager PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.spectral.provenance import FLOAT32
from hamsa_runtime.errors import InputError
from tests.spectral.compiler.capturing import double

CALLS = 10


class Keeps(nn.Module):
    """What it keeps, and how, is given."""

    def __init__(self, function: Callable[..., Any], **buffers: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor, scale: float = 0.5) -> Any:
        return self.function(self, x) * scale


class Tail(nn.Module):
    """An overlap in a module of its own."""

    tail: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tail", torch.linspace(0, 1, 8).reshape(1, 8))

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.tail, x], -1)
        self.tail = x[..., -8:]
        return both


class Streams(nn.Module):
    """forward takes any number of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.overlap = Tail()
        self.mean = torch.zeros(12)  # no buffer, but kept like one

    def forward(self, *inputs: Tensor) -> Tensor:
        both = self.overlap(sum(inputs)).reshape(1, -1)[:, :12]
        self.mean = 0.5 * self.mean + both[0]
        return torch.fft.irfft(torch.fft.rfft(both)) + self.mean


def averages_a_spectrum(self: Any, x: Tensor) -> Tensor:
    self.spectrum = 0.9 * self.spectrum + 0.1 * torch.fft.rfft(x)
    return torch.fft.irfft(self.spectrum)


def overlaps_in_place(self: Any, x: Tensor) -> Tensor:
    y = torch.fft.irfft(torch.fft.rfft(torch.cat([self.tail, x], -1)) * 2)
    self.tail.copy_(x)
    return y


def shifts_a_window(self: Any, x: Tensor) -> Tensor:
    self.window.copy_(torch.roll(self.window, -16, -1))
    self.window[:, -16:] = x
    return double(self.window[:, 4:20])


def writes_a_ring(self: Any, x: Tensor) -> Tensor:
    self.ring.index_copy_(0, self.at.reshape(1) % 4, x)
    self.at += 1
    return double(self.ring.mean(0, keepdim=True)) + self.at


X = torch.randn(CALLS, 1, 16, generator=torch.Generator().manual_seed(0))
ONE = torch.ones(1, 16)


def states_of(program: Any) -> list[Tensor]:
    initial = [state.initial for state in program.graph_module.meta["states"]]
    return [torch.view_as_real(x) if x.is_complex() else x for x in initial]


def check_calls(model: nn.Module, calls: Sequence[tuple[Tensor, ...]], names: list[str], **options: Any) -> None:
    before = copy.deepcopy(model.state_dict())
    program = to_real(model.eval(), calls[0], **options)
    assert all(torch.equal(now, before[name]) for name, now in model.state_dict().items())
    assert [state.name for state in program.graph_module.meta["states"]] == names
    run, states = program.module(), states_of(program)
    for call in calls:
        found, states = run(*call, *states) if names else (run(*call), [])
        torch.testing.assert_close(found, model(*call), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "buffers"),
    [
        (averages_a_spectrum, {"spectrum": torch.fft.rfft(ONE)}),
        (overlaps_in_place, {"tail": ONE}),
        (shifts_a_window, {"window": torch.zeros(1, 32)}),
        (writes_a_ring, {"at": torch.tensor(3), "ring": torch.zeros(4, 16)}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_buffers_are_carried(function: Callable[..., Any], buffers: dict[str, Tensor]) -> None:
    check_calls(Keeps(function, **buffers), [(x,) for x in X], sorted(buffers))


def opens_a_gate(self: Any, x: Tensor) -> Tensor:
    """Shut only by a call that is much quieter than those before."""
    power = torch.fft.rfft(x).abs()
    self.mean = 0.9 * self.mean + 0.1 * power
    return torch.fft.irfft(torch.fft.rfft(x) * (power / (self.mean + 1e-3)).clamp(max=1))


def gives_the_fifth_last(self: Any, x: Tensor) -> Tensor:
    y = double(self.line[0])
    self.line.copy_(torch.cat([self.line[1:], x[None]]))
    return y


def divides_by_the_peak(self: Any, x: Tensor) -> Tensor:
    self.peak = torch.maximum(self.peak, x.abs().max())
    return double(x / self.peak)


def adds_the_quietest(self: Any, x: Tensor) -> Tensor:
    torch.minimum(self.floor, x.abs().amax(), out=self.floor)
    return double(x) + self.floor


@pytest.mark.parametrize(
    ("function", "buffers"),
    [
        (opens_a_gate, {"mean": torch.zeros(1, 9)}),
        (gives_the_fifth_last, {"line": torch.zeros(5, 1, 16)}),
        (divides_by_the_peak, {"peak": torch.tensor(0.0)}),
        (adds_the_quietest, {"floor": torch.tensor(1e6)}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_buffers_are_carried_that_the_second_call_does_not_show(
    function: Callable[..., Any], buffers: dict[str, Tensor]
) -> None:
    """The same values again, in another order, as loud as before, do not move what these give."""
    loudness = [1.0, 1, 0.01, 3, 0.2, 1, 5, 0.05, 1, 1]
    calls = [(x * scale,) for x, scale in zip(X, loudness, strict=True)]
    check_calls(Keeps(function, **buffers), calls, sorted(buffers))


def test_other_tensors_of_modules_are_carried_through_forwards_of_any_number_of_inputs() -> None:
    check_calls(Streams(), [(x, 2 * x) for x in X], ["mean", "overlap.tail"])


class Shares(nn.Module):
    """Two modules hold one tensor, or parts of one."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.a: Any = nn.Module()
        self.b: Any = nn.Module()
        self.a.register_buffer("sum", first)
        self.b.register_buffer("sum", second)

    def forward(self, x: Tensor) -> Tensor:
        self.a.sum.add_(x)
        return double(self.a.sum) + self.b.sum.mul_(1.5).sum()


WHOLE = torch.arange(32.0).reshape(2, 16) / 16


@pytest.mark.parametrize("second", ["the same", "all of it", "the other half"])
def test_a_tensor_that_two_modules_hold_is_one_state_and_halves_are_two(second: str) -> None:
    whole = WHOLE.clone()
    others = {"the same": whole, "all of it": whole[:, :16], "the other half": whole[1:]}
    first = whole[:1] if second == "the other half" else whole
    names = ["a.sum", "b.sum"] if second == "the other half" else ["a.sum"]
    check_calls(Shares(first, others[second]), [(x,) for x in X], names)


def test_a_part_of_a_tensor_is_refused_whether_the_next_call_reads_it_or_not() -> None:
    """A program has two tensors in their place."""

    class Writes(Shares):
        def forward(self, x: Tensor) -> Tensor:
            self.b.sum.copy_(x)
            return double(self.a.sum)

    for kind in (Shares, Writes):
        whole = WHOLE.clone()
        with pytest.raises(InputError, match=r"'a\.sum' and 'b\.sum', which share their memory"):
            to_real(kind(whole, whole[1:]).eval(), (X[0],))


def test_what_is_written_anew_in_each_call_is_no_state() -> None:
    def fills(self: Any, x: Tensor) -> Tensor:
        self.work.zero_()
        self.work.add_(x)
        self.scale = self.scale.to(x.dtype)
        return double(self.work) * self.scale

    check_calls(Keeps(fills, work=torch.ones(1, 16), scale=torch.tensor(2.0)), [(x,) for x in X[:3]], [])


def test_a_counter_leaves_the_batch_free() -> None:
    def counts(self: Any, x: Tensor) -> Tensor:
        self.calls += 1
        return double(x) * self.calls

    calls = [(torch.randn(n + 1, 16),) for n in range(CALLS)]
    check_calls(Keeps(counts, calls=torch.tensor(0.0)), calls, ["calls"])
    by_name = {"x": {0: torch.export.Dim("n")}}
    check_calls(Keeps(counts, calls=torch.tensor(0.0)), calls[1:], ["calls"], dynamic_shapes=by_name)


def grows(self: Any, x: Tensor) -> Tensor:
    self.past = torch.cat([self.past, x])
    return double(self.past.mean(0, keepdim=True))


def counts_in_python(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    return double(x) * self.calls


def starts_with_none(self: Any, x: Tensor) -> Tensor:
    self.last, y = x, x if self.last is None else x + self.last
    return double(y)


def keeps_a_list(self: Any, x: Tensor) -> Tensor:
    self.tails[0] = self.tails[0] + x
    return double(self.tails[0])


@pytest.mark.parametrize(
    ("function", "kept", "fix"),
    [
        (grows, {"past": torch.zeros(1, 16)}, "a buffer that has its size from the start"),
        (counts_in_python, {"calls": 0}, r"self\.register_buffer\('calls', torch\.tensor\(0\)\)"),
        (starts_with_none, {"last": None}, r"self\.register_buffer\('last', torch\.zeros\(1, 16\)\)"),
        (keeps_a_list, {"tails": [ONE]}, "a buffer for each tensor"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_no_engine_could_carry_is_refused_with_the_way_out(
    function: Callable[..., Any], kept: dict[str, Any], fix: str
) -> None:
    model = Keeps(function)
    for name, value in kept.items():
        setattr(model, name, value)
    with pytest.raises(InputError, match=f"forward (writes|keeps) '{next(iter(kept))}") as caught:
        to_real(model.eval(), (X[0],))
    with pytest.raises(InputError, match=fix):
        raise caught.value


def test_an_example_of_zeros_shows_all_that_is_kept() -> None:
    """Zeros leave a buffer of zeros as it was: streaming models are exported with such blocks."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = torch.fft.irfft(torch.fft.rfft(x + self.heard)) + self.sums
        self.heard = x * 1
        self.sums.copy_(0.5 * self.sums + y)
        return y

    model = Keeps(forward, heard=torch.zeros(1, 8), sums=torch.zeros(1, 8)).eval()
    program = to_real(model, (torch.zeros(1, 8),), dynamic_shapes={})
    states = program.graph_module.meta["states"]
    assert [state.name for state in states] == ["heard", "sums"]
    assert all(not state.initial.any() for state in states)


def test_zeros_show_what_is_kept_behind_a_norm() -> None:
    """A norm makes zeros of ones, too."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = torch.nn.functional.layer_norm(x, [8])
        self.past.copy_(0.5 * self.past + y)
        return y * self.past

    program = to_real(Keeps(forward, past=torch.zeros(1, 8)).eval(), (torch.zeros(1, 8),), dynamic_shapes={})
    assert [state.name for state in program.graph_module.meta["states"]] == ["past"]


class SlowMean(nn.Module):
    """m' = 0.9995 m + 0.0005 x, beside a tail that is copied and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.tail: Tensor
        self.mix = nn.Linear(16, 16)
        self.register_buffer("mean", torch.zeros(1, 16))
        self.register_buffer("tail", torch.zeros(1, 16))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(x - self.tail) - self.mean
        self.mean.mul_(0.9995).add_(x, alpha=0.0005)
        self.tail.copy_(x)
        return y


def test_what_is_added_to_from_call_to_call_stays_in_float32() -> None:
    program = to_real(SlowMean().eval(), (ONE,), dynamic_shapes={})
    kept = [node for node in program.graph.nodes if FLOAT32 in node.meta.get("custom", {})]
    [mean, tail] = [each.name for each in program.graph_module.meta["states"]]
    assert (mean, tail) == ("mean", "tail")
    found = [str(node.target) for node in kept if "clone" not in str(node.target)]
    assert sorted(found) == ["aten.add.Tensor", "aten.mul.Tensor"]
    assert kept[-1].name == list(program.graph_signature.user_outputs)[-2]
