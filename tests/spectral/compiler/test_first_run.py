"""What a model changes when it runs is found and named with its line; what merely looks like that is taken."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from hamsa_deploy.spectral.compiler.first_run import ModelError, run_once
from hamsa_deploy.spectral.compiler.state import changed, state_of
from hamsa_runtime.errors import InputError

X = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))


class Held:
    """State in an object that is no module."""

    def __init__(self) -> None:
        self.total, self.last, self.lock = 0.0, None, None


class Model(nn.Module):
    """With state of every kind."""

    mean: Tensor
    tails: list[Tensor]
    cached: dict[str, Tensor]

    def __init__(self, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(16))
        self.register_buffer("mean", torch.zeros(16))
        self.plain, self.array, self.tails, self.held = torch.zeros(16), np.zeros(16), [], Held()
        self.calls, self.shown, self.cached = 0, None, {}
        self.draws = np.random.default_rng(0)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def adds_in_an_object(self: Any, x: Tensor) -> Tensor:
    self.held.total += 1.0
    return x * self.held.total


def overlaps_in_an_object(self: Any, x: Tensor) -> Tensor:
    y = x if self.held.last is None else x + self.held.last
    self.held.last = x
    return y


def appends(self: Any, x: Tensor) -> Tensor:
    self.tails.append(x)
    return x + self.tails[0]


def adds_to_an_array(self: Any, x: Tensor) -> Tensor:
    self.array += 1
    return x * float(self.array[0])


def draws(self: Any, x: Tensor) -> Tensor:
    return x * float(self.draws.random())


def differs_from_the_last(self: Any, x: Tensor) -> Tensor:
    """The same inputs a second time would not show it."""
    last = x if self.shown is None else self.shown
    self.shown = x
    return x + 0.5 * (x - last)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (adds_in_an_object, "held.total"),
        (overlaps_in_an_object, "held.last"),
        (appends, "tails[0]"),
        (adds_to_an_array, "array"),
        (draws, "draws"),
        (differs_from_the_last, "shown"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("can_be_copied", [True, False])
def test_state_is_named_wherever_it_lies_and_left_as_it_was(
    function: Callable[[Any, Tensor], Any], name: str, can_be_copied: bool
) -> None:
    model: Any = Model(function).eval()
    model.held.lock = None if can_be_copied else threading.Lock()
    before = state_of(model)
    with pytest.raises(InputError) as caught:
        run_once(model, (X,))
    assert caught.value.found.startswith(f"forward writes '{name}'")
    assert not changed(before, state_of(model))


def test_what_is_shown_but_not_read_and_what_is_computed_again_is_no_state() -> None:
    def shows(self: Any, x: Tensor) -> Tensor:
        self.shown = x.sum()
        self.cached.setdefault("window", torch.hann_window(16))
        self.held = Held()  # another one each time
        return x * self.cached["window"]

    assert not run_once(Model(shows).eval(), (X,))[1]
    run_once(torch.nn.utils.spectral_norm(nn.Linear(16, 4)).eval(), (X,))


def keeps_state(model: nn.Module) -> bool:
    """Whether it is taken for state, carried or refused."""
    try:
        return bool(run_once(model, (X,))[1])
    except InputError as error:
        return error.found.startswith("forward writes")


def lists_positions(self: Any, x: Tensor) -> Tensor:
    self.positions = list(range(x.shape[-1] // 2))
    self.calls = x.shape[-1]
    self.shown = {"mean": x.mean(), "shape": x.shape}
    return x[..., self.positions]


def reads_all_of_itself(self: Any, x: Tensor) -> Tensor:
    last = vars(self)["shown"]
    self.shown = x
    return x if last is None else x + last


def asks_whether_it_is_there(self: Any, x: Tensor) -> Tensor:
    y = x + x if hasattr(self, "seen") else x
    self.seen = "yes"
    return y


def changes_it_under_another_name(self: Any, x: Tensor) -> Tensor:
    y = sum(self.cached.values(), x)
    self.cached["last"] = x
    self.also = self.cached
    return y


def reads_a_buffer_among_all(self: Any, x: Tensor) -> Tensor:
    y = x + dict(self.named_buffers())["mean"]
    self.mean = x.mean(0)
    return y


@pytest.mark.parametrize(
    ("function", "runs"),
    [
        (lists_positions, 2),
        (reads_all_of_itself, 3),
        (asks_whether_it_is_there, 3),
        (changes_it_under_another_name, 3),
        (reads_a_buffer_among_all, 3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_each_run_assigns_before_it_reads_it_is_no_state_and_costs_one_run_more(
    function: Callable[[Any, Tensor], Any], runs: int
) -> None:
    model: Any = Model(function).eval()
    model.also = model.cached
    vars(model)["cached"] = vars(model).pop("cached")  # its path is that of `also`, which is only assigned
    ran: list[nn.Module] = []
    hook = register_module_forward_pre_hook(lambda module, _: ran.append(module))
    try:
        assert keeps_state(model) == (runs > 2)
    finally:
        hook.remove()
    assert len(ran) == runs
    assert "__getattribute__" not in vars(nn.Module)


def test_sets_of_the_same_names_are_the_same_wherever_they_lie() -> None:
    """As modules in a plain list have them."""
    model: Any = Model(lambda self, x: x).eval()
    model.tails = [{"names": {"a", "b"}} for _ in range(9)]
    assert len({str(value) for path, value in state_of(model).items() if path.endswith("['names']")}) == 1


class Assigns(nn.Module):
    """Only its source says where it writes: no operator does."""

    mean: Any

    def __init__(self) -> None:
        super().__init__()
        self.mean = 0

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.mean
        self.mean = y.mean(0)  # here
        return y


def test_the_line_of_an_assignment_is_found_in_the_source() -> None:
    with pytest.raises(InputError, match=r"test_first_run\.py:\d+: self\.mean = y\.mean\(0\)  # here"):
        run_once(nn.Sequential(nn.Linear(16, 16), Assigns()).eval(), (X,))


CALLS = [0]


class CountsInAList(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        CALLS[0] += 1
        return x * CALLS[0]


class CountsInItsClass(nn.Module):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        type(self).calls += 1
        return x * self.calls


class CountsOutside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        counts = {"calls": 0}

        def scaled(x: Tensor) -> Tensor:
            counts["calls"] += 1
            return x * counts["calls"]

        self.scaled = scaled

    def forward(self, x: Tensor) -> Tensor:
        return self.scaled(x)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(CountsInAList, r"CALLS\[0\]"), (CountsInItsClass, "calls"), (CountsOutside, r"scaled\.counts\['calls'\]")],
    ids=["a global list", "a class", "an enclosing function"],
)
def test_state_outside_of_the_module_is_named_too(kind: type[nn.Module], name: str) -> None:
    with pytest.raises(InputError, match=f"forward writes .{name}"):
        run_once(kind().eval(), (X,))


def clamps(self: Any, x: Tensor) -> Tensor:
    self.weight.data.clamp_(-0.1, 0.1)
    return x * self.weight


def copies(self: Any, x: Tensor) -> Tensor:
    self.weight.copy_(self.weight * 0.5)
    return x * self.weight


def replaces(self: Any, x: Tensor) -> Tensor:
    self.weight.data = self.weight.data * 0.5
    return x * self.weight


@pytest.mark.parametrize("function", [clamps, copies, replaces])
def test_parameters_that_forward_writes_are_refused_before_they_are_written(
    function: Callable[[Any, Tensor], Any],
) -> None:
    model = Model(function).eval()
    with pytest.raises(InputError, match="forward writes the parameter 'weight'"):
        run_once(model, (X,))
    assert torch.equal(model.weight, torch.ones(16))


def test_numbers_that_are_drawn_and_change_nothing_are_none() -> None:
    """As in HTDemucs, whose shift of positions is one of one."""
    run_once(Model(lambda self, x: x + random.randrange(1) + 0 * np.random.rand()).eval(), (X,))


def test_an_embedding_that_bounds_its_rows_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"the parameter '0\.weight'"):
        run_once(nn.Sequential(nn.Embedding(5, 4, max_norm=0.5)).eval(), (torch.tensor([1, 2]),))


@pytest.mark.parametrize(
    ("function", "source"),
    [
        (lambda self, x: x * random.random(), "Python's random"),
        (lambda self, x: x + torch.from_numpy(np.random.randn(16)), "numpy.random"),
    ],
    ids=["python", "numpy"],
)
def test_numbers_that_are_drawn_outside_of_pytorch_are_named(
    function: Callable[[Any, Tensor], Any], source: str
) -> None:
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    with pytest.raises(InputError, match=source):
        run_once(Model(function).eval(), (X,))
    assert (random.getstate(), str(np.random.get_state())) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_the_line_is_the_users_and_none_where_all_is_pytorchs() -> None:
    with pytest.raises(ModelError, match=r"test_first_run\.py:\d+:") as caught:
        run_once(Model(lambda self, x: x @ torch.ones(5, 3)).eval(), (X,))
    assert "float32 (2, 16)" in caught.value.expected
    with pytest.raises(ModelError) as caught:
        run_once(nn.Sequential(nn.Linear(5, 3)).eval(), (X,))
    assert ".py:" not in caught.value.found


def test_compiled_modules_and_narrow_weights_are_named() -> None:
    model: Any = nn.Sequential(nn.Linear(16, 3))
    model.compiled = torch.compile(nn.Linear(3, 3))
    with pytest.raises(InputError, match=r"model\.compiled is what torch\.compile made of Linear") as caught:
        run_once(model.eval(), (X,))
    assert caught.value.fix == "model.compiled._orig_mod"
    with pytest.raises(ModelError) as failed:
        run_once(nn.Linear(16, 3).half().eval(), (X,))
    assert failed.value.cause == "weights in float16, and inputs in another type"


def enclosed(kind: str) -> Callable[[Tensor], Tensor]:
    """A function that counts its calls where only it can see them."""
    counts, numbers = {"calls": 0}, itertools.count(1)

    def inner(x: Tensor) -> Tensor:
        counts["calls"] += 1
        return x * counts["calls"]

    def middle(x: Tensor) -> Tensor:
        return inner(x)

    def generated() -> Iterator[int]:
        yield from numbers

    values = generated()
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "two functions deep": lambda x: middle(x),
        "a partial": functools.partial(middle),
        "a method": Counting().scaled,
        "an iterator": lambda x: x * next(numbers),
        "a generator": lambda x: x * next(values),
    }
    return functions[kind]


class Counting:
    calls = 0

    def scaled(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Encloses(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("two functions deep", r"function\.middle\.inner\.counts\['calls'\]"),
        ("a partial", r"function\.inner\.counts\['calls'\]"),
        ("a method", r"function\.calls"),
        ("an iterator", "other outputs when it runs again"),
        ("a generator", "other outputs when it runs again"),
    ],
)
def test_state_that_only_functions_see_is_named_or_shows_when_the_model_runs_again(kind: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        run_once(Encloses(enclosed(kind)).eval(), (X,))
