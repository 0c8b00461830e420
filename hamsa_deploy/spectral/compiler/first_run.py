"""A user's model runs once before it is captured: its own errors are told from ours, and what it changes is found.

    model --copied, parameters shared--> run on the example inputs --> is its state as before?  nothing is kept
                                            else other inputs, on it and on a fresh copy
                                                --> same outputs, and the same left behind?  a cache
                                                else tensors of one shape?  the program takes and gives them

The copy goes on to be captured: whatever a model fills at its first run is there then, and the model itself is left as
it was. What a program cannot hold is refused by name: other state that is read at the next call, parameters that are
written, numbers that Python or NumPy draws.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import pickle
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from hamsa_deploy.scan.cuda import DEVICES
from hamsa_deploy.scan.extensions import WHERE_MISSING
from hamsa_deploy.spectral.compiler.accesses import Accesses
from hamsa_deploy.spectral.compiler.carried import ModelState, is_modules_own
from hamsa_deploy.spectral.compiler.state import changed, copy_of, is_number, is_same, line_that_assigns, state_of
from hamsa_deploy.spectral.provenance import line_of_error, line_that_runs
from hamsa_runtime.errors import HamsaError, InputError

SEEDS = (1, 2, 3)
SCALES = (1, 0.25, 4)  # of the values that a model is run on again, to see whether it reads what it has kept
COMPILED = "_orig_mod"  # where a compiled module keeps what it was made of
ROUNDING = 8  # units in the last place of the largest value: what a tensor's place in memory may change


class ModelError(InputError):
    """What a model fails with by itself."""


class StateError(InputError):
    """A model keeps between calls what no engine could carry."""


def run_once(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[nn.Module, list[ModelState]]:
    """A copy of the model that has run on the inputs, and the tensors that it keeps from one call to the next.

    It shares the parameters; the model itself is not touched.

    Raises:
        ModelError: the model fails by itself.
        StateError: it keeps what is no tensor of one shape.
        InputError: it writes its parameters; or Python or NumPy draws random numbers in it. PyTorch's random operators
            are found in the captured program.
    """
    _check_has_values(model)
    _check_not_compiled(model)
    ready = copy_of(model)
    held: dict[int, Any] = {}
    before = state_of(ready, held)
    accesses = Accesses(ready, held)
    outputs, found = _outputs_of(ready, inputs, accesses)
    lines = {**_lines_with_others(ready, inputs), **found}
    after = state_of(ready)
    first = changed(before, after)
    _check_apart(ready, first)
    if accesses.only_assigned(first):
        _check_repeats(ready, inputs, outputs)
        return ready, []
    reads, gathers = _reads_its_past(model, ready, inputs, first)
    second = changed(after, state_of(ready))
    counted = {name for name in first & second if is_number(before.get(name)) and is_number(after.get(name))}
    written = {name for name in first if name in before or name in second} or first
    carried = {name for name in gathers if is_modules_own(ready, name) and _is_of_one_shape(before[name], after[name])}
    kept = sorted(written if reads else counted | carried)
    if not kept:
        _check_repeats(ready, inputs, outputs)
    for name in kept:
        where = lines.get(name) or line_that_assigns(ready, name)
        if is_training(model):
            raise writes(name, where, training=True)
        _check_carried(ready, name, where, before.get(name), after.get(name))
    return ready, _each_once(ready, {name: before[name] for name in kept})


def _each_once(model: nn.Module, kept: Mapping[str, torch.Tensor]) -> list[ModelState]:
    """One state for each tensor, whatever number of modules hold it."""
    held = dict(_tensors_of(model))
    names: dict[Any, list[str]] = {}
    for name in kept:
        names.setdefault(_view(held[name]), []).append(name)
    return [ModelState(first, kept[first], tuple(others)) for first, *others in names.values()]


def _check_apart(model: nn.Module, written: set[str]) -> None:
    """Raise StateError for a tensor of a module that is a part of another, and written: a program has two in their
    place, and would not see in one what is written to the other."""
    held = {name: value for name, value in _tensors_of(model) if name in written}
    for (first, a), (second, b) in itertools.combinations(held.items(), 2):
        if _address(a) == _address(b) and _view(a) != _view(b) and _overlap(a, b):
            raise StateError(
                f"forward writes {first!r} and {second!r}, which share their memory",
                expected="tensors that are written one by one",
                cause="one is a view of the other",
                fix=f"one of them, of which forward takes parts where it needs them: self.{first}[...]",
            )


def _view(tensor: torch.Tensor) -> tuple[Any, ...]:
    return _address(tensor), tensor.storage_offset(), tensor.shape, tensor.stride()


def _overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.element_size() != b.element_size():
        return True
    places = torch.zeros(a.untyped_storage().nbytes() // a.element_size(), dtype=torch.bool)
    places.as_strided(a.shape, a.stride(), a.storage_offset()).fill_(True)
    return bool(places.as_strided(b.shape, b.stride(), b.storage_offset()).any())


def _check_repeats(ready: nn.Module, inputs: tuple[Any, ...], outputs: list[Any]) -> None:
    """Raise StateError for a model of which nothing was seen to change, and that gives something else the next time."""
    if not _are_close(_outputs_of(ready, inputs)[0], outputs):
        raise StateError(
            f"{type(ready).__name__} gives other outputs when it runs again on the same inputs",
            expected="a model whose outputs depend on its inputs, and on what it keeps in buffers",
            cause="state that forward keeps elsewhere: in a generator, a file, an object of C++; or a clock",
            fix="keep it in buffers: self.register_buffer in __init__; or make it an input and an output of forward",
        )


def _check_carried(model: nn.Module, name: str, where: str, before: Any, after: Any) -> None:
    """Raise StateError for what cannot be an input of a program, with what to write in its place."""
    register = f"in __init__: self.register_buffer({name.rpartition('.')[2]!r}, "
    if is_number(before) and is_number(after):
        raise writes(name, where, fix=f"{register}torch.tensor({before!r})), and count with tensors")
    if not isinstance(after, torch.Tensor) or not is_modules_own(model, name):
        raise writes(name, where, fix="a buffer for each tensor that is kept; or an input and an output of forward")
    if not isinstance(before, torch.Tensor):
        raise writes(name, where, fix=f"{register}torch.zeros{tuple(after.shape)}), so that it is there at first")
    if not _is_of_one_shape(before, after):
        raise StateError(
            f"forward keeps {name!r}{where} for the next call, {_shown(after)} in place of {_shown(before)}",
            expected="what is kept in one type and shape, for an engine to carry it",
            cause="it grows, or takes the batch of the inputs",
            fix="a buffer that has its size from the start, of which forward overwrites parts",
        )


def _is_of_one_shape(before: Any, after: Any) -> bool:
    return (
        isinstance(before, torch.Tensor)
        and isinstance(after, torch.Tensor)
        and (before.shape, before.dtype) == (after.shape, after.dtype)
    )


def _shown(x: torch.Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"


def _check_has_values(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise InputError(
                f"'{name}' has no shape yet",
                expected="a model whose parameters have values",
                cause="a lazy module, which takes its shapes from the first inputs that it sees",
                fix="run the model once, or load its weights, before the export",
            )
        if tensor.is_meta:
            raise InputError(
                f"'{name}' is on the device meta, where tensors hold no values",
                expected="a model whose parameters have values",
                fix="build the model on the CPU, or load its weights: model.load_state_dict(..., assign=True)",
            )


def _check_not_compiled(model: nn.Module) -> None:
    """What torch.compile returns calls code that was compiled for the module in it, whatever a copy of that does."""
    for path, module in model.named_modules():
        if hasattr(module, COMPILED):
            name = f"model.{path}" if path else "model"
            raise InputError(
                f"{name} is what torch.compile made of {type(getattr(module, COMPILED)).__name__}",
                expected="the module itself, with the same weights",
                fix=f"{name}.{COMPILED}",
            )


def is_training(model: nn.Module) -> bool:
    """Whether any of its modules is in training mode."""
    return any(module.training for module in model.modules())


def writes(name: str, where: str, *, training: bool = False, fix: str = "") -> StateError:
    """The refusal of state that a program cannot carry from one call to the next."""
    kept = "state that is kept between calls, but not in a tensor of one shape, which an engine could carry"
    return StateError(
        f"forward writes {name!r}{where}, and reads it at the next call",
        expected="a model that keeps nothing, or buffers of one shape",
        cause="a module in training mode, in which it gathers statistics" if training else kept,
        fix="model.eval()" if training else fix,
    )


def _reads_its_past(
    model: nn.Module, ran: nn.Module, inputs: tuple[Any, ...], written: set[str]
) -> tuple[bool, set[str]]:
    """Whether a model that has run computes something else than one that has not; if not, which tensors of those that
    it writes it leaves with other values.

    The latter is past that no output has shown so far: a delay of several calls, a gate that is open. A peak is seen
    only where later values are smaller, a minimum only where they are larger.
    """
    gathers: set[str] = set()
    for scale in SCALES:
        fresh = copy_of(model)
        try:
            others = pytree.tree_map_only(torch.Tensor, functools.partial(_other, scale=scale), inputs)
            expected, found = _outputs_of(fresh, others)[0], _outputs_of(ran, others)[0]
        except InputError:  # the model does not take these values
            fresh = copy_of(model)
            expected, found = _outputs_of(fresh, inputs)[0], _outputs_of(ran, inputs)[0]
        if not _are_close(found, expected):
            return True, set()
        gathers |= _left_otherwise(state_of(fresh), state_of(ran), written)
    return False, gathers


def _left_otherwise(one: Mapping[str, Any], other: Mapping[str, Any], names: set[str]) -> set[str]:
    pairs = [(name, one.get(name), other.get(name)) for name in names]
    return {name for name, a, b in pairs if isinstance(a, torch.Tensor) and not _is_close(a, b)}


def _other(x: torch.Tensor, scale: float) -> torch.Tensor:
    turned = _turned_round(x)
    return turned * scale if x.is_floating_point() or x.is_complex() else turned


def _lines_with_others(model: nn.Module, inputs: tuple[Any, ...]) -> Mapping[str, str]:
    """Run a model again where its inputs are all of one value: an example of zeros leaves a buffer of zeros as it was,
    and what is kept would not be seen. By name the lines that wrote to tensors in place."""
    tensors = [each for each in pytree.tree_leaves(inputs) if isinstance(each, torch.Tensor) and each.numel()]
    if all(bool((each == each.flatten()[0]).all()) for each in tensors):
        with contextlib.suppress(ModelError):  # the model does not take other values
            return _outputs_of(model, pytree.tree_map_only(torch.Tensor, _turned_round, inputs))[1]
    return {}


def _turned_round(x: torch.Tensor) -> torch.Tensor:
    """Other inputs of the same values, so that indices stay indices. Where these are all one, a ramp is added to them:
    a norm makes zeros of any one value."""
    turned = x.flatten().flip(0).reshape(x.shape)
    if x.dtype == torch.bool or not torch.equal(turned, x):
        return turned
    ramp = torch.arange(1, x.numel() + 1).reshape(x.shape) / max(x.numel(), 1)
    return turned + (ramp.to(x.dtype) if x.is_floating_point() or x.is_complex() else 1)


def _are_close(one: list[Any], other: list[Any]) -> bool:
    """Whether two runs gave the same, but for rounding."""
    return len(one) == len(other) and all(map(_is_close, one, other))


def _is_close(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return is_same(a, b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.numel() == 0 or not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    largest = float(torch.nan_to_num(b.abs().float()).max())
    return torch.allclose(a, b, rtol=0, atol=ROUNDING * torch.finfo(a.dtype).eps * largest, equal_nan=True)


def _outputs_of(
    model: nn.Module, inputs: tuple[Any, ...], accesses: Accesses | None = None
) -> tuple[list[Any], Mapping[str, str]]:
    """Of one run, always from the same random numbers; and by name the lines that wrote to tensors in place.

    Raises:
        InputError: the outputs depend on what Python or NumPy draws.
    """
    outputs, lines, drawn = _drawing(model, inputs, accesses=accesses)
    if drawn:
        one, *others = (_drawing(copy_of(model), inputs, seed)[0] for seed in SEEDS)
        # What is drawn may change nothing: random.randrange(1).
        if not all(_are_close(one, each) for each in others):
            raise _draws(drawn)
    return outputs, lines


def _drawing(
    model: nn.Module, inputs: tuple[Any, ...], seed: int | None = None, accesses: Accesses | None = None
) -> tuple[list[Any], Mapping[str, str], str]:
    """The same, with other numbers from Python and NumPy for each seed; and which of them forward has drawn from."""
    given = pytree.tree_map_only(torch.Tensor, torch.clone, inputs)
    watch, drawn = _Watch(model), _Drawn(seed)
    seen = accesses or contextlib.nullcontext()
    with _own_errors(model, inputs), torch.no_grad(), DEVICES, drawn, _parameters_kept(model), watch, seen:
        outputs = pytree.tree_leaves(model(*given))
    return outputs, watch.lines, drawn.source


class _Watch(TorchDispatchMode):
    """Sees operators that write in place: refuses parameters before they are written, and notes the lines of the rest.

    Attributes:
        lines: path of a tensor -> `, model.py:12: self.mean.mul_(0.9)`.
    """

    supports_higher_order_operators = True  # such as PyTorch's scan, whose bodies write nothing

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.lines: dict[str, str] = {}
        self._parameters = {_address(value): name for name, value in model.named_parameters()}
        tensors = {name: value for name, value in _tensors_of(model) if _address(value) not in self._parameters}
        self._names = {_address(value): name for name, value in tensors.items()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.OpOverload) and func._schema.is_mutable:
            names = [argument.name for argument in func._schema.arguments]
            given = dict(zip(names, args, strict=False)) | kwargs
            for argument in func._schema.arguments:
                if argument.alias_info is not None and argument.alias_info.is_write:
                    self._note(given.get(argument.name))
        return func(*args, **kwargs)

    def _note(self, written: Any) -> None:
        for tensor in pytree.tree_leaves(written):
            address = _address(tensor) if isinstance(tensor, torch.Tensor) else 0
            if address in self._parameters:
                raise _writes_parameter(self._parameters[address], line_that_runs(_outputs_of.__name__))
            if address in self._names:
                self.lines.setdefault(self._names[address], line_that_runs(_outputs_of.__name__))


def _tensors_of(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for path, module in model.named_modules():
        for name, value in {**module._buffers, **vars(module)}.items():
            if isinstance(value, torch.Tensor):
                yield (f"{path}.{name}" if path else name), value


def _address(tensor: torch.Tensor) -> int:
    """Where its numbers lie, views and all; -1 for one without numbers."""
    try:
        return tensor.untyped_storage().data_ptr() or -1
    except (RuntimeError, ValueError, NotImplementedError):
        return -1


def _writes_parameter(name: str, where: str) -> InputError:
    return InputError(
        f"forward writes the parameter '{name}'{where}",
        expected="a model that leaves its weights as they are",
        cause="weights that are clamped, normalised or scaled in place: max_norm of an embedding, `.data` in forward",
        fix="do that once, before the export; or compute with a changed copy: weight = self.weight.clamp(-1, 1)",
    )


@contextlib.contextmanager
def _parameters_kept(model: nn.Module) -> Iterator[None]:
    """Refuses `parameter.data = ...`, which no operator shows, and takes it back."""
    before = [(name, parameter, parameter.data) for name, parameter in model.named_parameters()]
    replaced = []
    try:
        yield
    finally:
        for name, parameter, data in before:
            if _address(parameter) != _address(data):
                parameter.data = data
                replaced.append(name)
    for name in replaced:
        raise _writes_parameter(name, line_that_assigns(model, name))


class _Drawn:
    """The same of PyTorch's numbers for each run; notes whether those of Python and NumPy are drawn. All generators
    stay as they were.

    Attributes:
        source: of what was drawn; empty for nothing.
    """

    def __init__(self, seed: int | None) -> None:
        self.source, self._seed, self._stack = "", seed, contextlib.ExitStack()

    def __enter__(self) -> None:
        self._stack.callback(random.setstate, random.getstate())
        self._stack.callback(np.random.set_state, np.random.get_state())
        self._stack.enter_context(torch.random.fork_rng())
        torch.manual_seed(0)
        if self._seed is not None:
            random.seed(self._seed)
            np.random.seed(self._seed)
        self._before = random.getstate(), pickle.dumps(np.random.get_state())

    def __exit__(self, *_: object) -> None:
        if pickle.dumps(np.random.get_state()) != self._before[1]:
            self.source = "numpy.random"
        if random.getstate() != self._before[0]:
            self.source = "Python's random"
        self._stack.close()


def _draws(source: str) -> InputError:
    return InputError(
        f"forward draws numbers from {source}",
        expected="a model whose outputs depend on its inputs alone",
        cause="noise, or a random choice, in forward: a program would hold one draw for ever",
        fix="make the random numbers an input of the model, or leave them away",
    )


@contextlib.contextmanager
def _own_errors(model: nn.Module, inputs: tuple[Any, ...]) -> Iterator[None]:
    """Whatever a model raises, as a ModelError."""
    try:
        yield
    except HamsaError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0] if lines else type(error).__name__
        cause, fix = _cause_and_fix(error, _narrow(model))
        raise ModelError(
            f"{type(model).__name__} fails on the example inputs by itself: {said}{line_of_error(error)}",
            expected=f"a model that runs on {_described(inputs)}",
            cause=cause,
            fix=fix,
        ) from error


def _narrow(model: nn.Module) -> str:
    """The floating type of parameters that are narrower than float32; empty where none is."""
    found = {parameter.dtype for parameter in model.parameters()} & {torch.float16, torch.bfloat16}
    return " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found))


def _cause_and_fix(error: Exception, narrow: str) -> tuple[str, str]:
    text = str(error).lower()
    if narrow and any(name in text for name in ("half", "bfloat16", "float16")):
        return f"weights in {narrow}, and inputs in another type", "model.float(): --fp16 and --bf16 are for the bundle"
    if isinstance(error, ImportError):
        package = f"the package {error.name}" if error.name else "a package"
        return f"{package} is not installed, or does not work here", "install what the model needs"
    if "is_cuda" in text:
        return "an extension that is compiled for GPUs got tensors on the processor", WHERE_MISSING
    if "combine_mode='pointwise'" in text:
        return "an associative scan in the mode that runs on GPUs only", "combine_mode='generic', which runs everywhere"
    if any(device in text for device in ("cuda", "nvidia", "mps", "xpu", "same device", "meta")):
        return (
            "the model asks for a device that is not here, or its tensors are on several",
            "model.cpu(), inputs on the CPU, and in forward the device of the inputs: device=x.device",
        )
    shapes = "inputs of the shapes and types that it takes: example_inputs in Python, --input ids:2x16:int64"
    if isinstance(error, TypeError) and "argument" in text and ("missing" in text or "were given" in text):
        return "another number of inputs than forward takes, or one that it takes by name only", shapes
    return "a shape or type that does not fit, in the inputs or in the model itself", f"{shapes}; or mend that line"


def _described(inputs: tuple[Any, ...]) -> str:
    """`float32 (2, 3, 16), int64 (2,)`."""
    tensors = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    return ", ".join(map(_shown, tensors)) or "its inputs"
