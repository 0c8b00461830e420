"""State that a model keeps between calls, as inputs and outputs of its program:

    forward(x), which reads and writes s    ->    forward(x, s) -> (y, s'),    s' is the s of the next call

Each input takes the place of a buffer, or of another tensor of a module, while forward runs.

What is added to from call to call, m' = 0.999 m + 0.001 x, stays in float32 in bundles of any precision: float16 has 11
bits, and an average whose steps are smaller than that stands still. Ten calls do not show it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from hamsa_deploy.spectral.dispatch import operator_name
from hamsa_deploy.spectral.provenance import FLOAT32

SUM = "state: what is added to from call to call, whose steps float16 would round away"
ADDING = {"add", "sub", "rsub", "mul", "div", "neg", "lerp", "addcmul", "addcdiv", "where", "maximum", "minimum"}
MOVING = set(
    """
    clone copy alias to _to_copy view reshape _unsafe_view expand squeeze unsqueeze permute transpose roll cat stack
    slice select narrow index index_select slice_scatter select_scatter index_put index_copy scatter constant_pad_nd
    clamp clamp_min clamp_max
    """.split()
)


@dataclass(frozen=True)
class ModelState:
    """One tensor that a model keeps: its path there, `norm.mean`, and what it holds before the first call; and the
    other paths that lead to the same tensor."""

    name: str
    initial: torch.Tensor
    aliases: tuple[str, ...] = ()


class _Place(NamedTuple):
    holder: dict[str, Any]
    key: str


def is_modules_own(model: nn.Module, name: str) -> bool:
    """Whether a path is that of a buffer or a tensor of a module; not in a container, in an object, or of a class."""
    owner, _, key = name.rpartition(".")
    module = dict(model.named_modules()).get(owner)
    return module is not None and isinstance((vars(module) | module._buffers).get(key), torch.Tensor)


def take_as_inputs(model: nn.Module, states: Sequence[ModelState], inputs: int) -> None:
    """Change a model's forward: it takes the states after its inputs, and returns (what it returned, the states).

    Args:
        model: that nobody else uses.
        states: what it keeps.
        inputs: how many it is given.
    """
    places = [[_as_attribute(model, name) for name in (state.name, *state.aliases)] for state in states]
    original = model.forward

    def forward(*args: Any) -> tuple[Any, list[torch.Tensor]]:
        # Copies, because forward may write to them, and inputs stay what they are.
        with _put_in(places, [each.clone() for each in args[inputs:]]):
            result = original(*args[:inputs])
            return result, [each[0].holder[each[0].key] for each in places]

    forward.__signature__ = _with_states(inspect.signature(original), inputs, states)  # type: ignore[attr-defined]
    vars(model)["forward"] = forward


def take_as_scratch(model: nn.Module, names: Sequence[str]) -> None:
    """Change a model's forward: it writes to copies of these tensors, which nobody reads at the next call.

    Args:
        model: that nobody else uses.
        names: paths of the tensors.
    """
    places = [[_as_attribute(model, name)] for name in names]
    original = model.forward

    @functools.wraps(original)
    def forward(*args: Any) -> Any:
        with _put_in(places, [place.holder[place.key].clone() for [place] in places]):
            return original(*args)

    vars(model)["forward"] = forward


def _as_attribute(model: nn.Module, name: str) -> _Place:
    """Where it is kept from now on: torch.export takes what is assigned to a buffer for a write to that buffer."""
    owner, _, key = name.rpartition(".")
    module = model.get_submodule(owner)
    if key in module._buffers:
        vars(module)[key] = module._buffers.pop(key)
    return _Place(vars(module), key)


@contextlib.contextmanager
def _put_in(places: Sequence[Sequence[_Place]], values: Sequence[torch.Tensor]) -> Iterator[None]:
    """Each value wherever it belongs; what was there is put back."""
    before = [(place, place.holder[place.key]) for each in places for place in each]
    for each, value in zip(places, values, strict=True):
        for place in each:
            place.holder[place.key] = value
    try:
        yield
    finally:
        for place, value in before:
            place.holder[place.key] = value


def _with_states(signature: inspect.Signature, inputs: int, states: Sequence[ModelState]) -> inspect.Signature:
    """Of those parameters that are given, and of one for each state; what takes any number takes these, too."""
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return signature
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    given = [inspect.Parameter(each.name, kind) for each in parameters[:inputs]]
    taken = {each.name for each in given}
    for state in states:
        name = "state_" + "".join(letter if letter.isalnum() else "_" for letter in state.name)
        while name in taken:
            name += "_"
        taken.add(name)
        given.append(inspect.Parameter(name, kind))
    return inspect.Signature(given)


def keep_sums_in_float32(program: ExportedProgram, states: int) -> None:
    """Annotate what leads from a state to what becomes of it, by additions and the like alone.

    Args:
        program: whose last user inputs and outputs are so many states.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    given, results = (
        list(each)[-states:] for each in (program.graph_signature.user_inputs, program.graph_signature.user_outputs)
    )
    for name, result in zip(given, results, strict=True) if states else ():
        way = _way(nodes[str(name)], nodes[str(result)])
        if any(operator_name(node.target) in ADDING for node in way):
            for node in way:
                node.meta["custom"] = {**node.meta.get("custom", {}), FLOAT32: SUM}


def _way(start: Node, end: Node) -> list[Node]:
    """The nodes from one to the other that add or move; none where others stand between."""
    reached = {start}
    for node in start.graph.nodes:
        passes = node.op == "call_function" and operator_name(node.target) in ADDING | MOVING
        if passes and not reached.isdisjoint(node.all_input_nodes):
            reached.add(node)
    found: list[Node] = []
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node in reached and node is not start and node not in found:
            found.append(node)
            waiting.extend(node.all_input_nodes)
    return found


def shapes_with_states(shapes: Any, model: nn.Module, inputs: int, states: int) -> Any:
    """`dynamic_shapes` for a forward that takes so many states, whose sizes are all fixed, after its inputs.

    Args:
        shapes: for the inputs, in order or by name; for a forward that takes any number, perhaps as one tuple.
        model: whose forward takes the inputs alone.
        inputs, states: how many.
    """
    if not shapes or not states:
        return shapes
    if isinstance(shapes, Mapping):
        names = list(inspect.signature(model.forward).parameters)[:inputs]
        shapes = tuple(shapes.get(name) for name in names)
    more = (None,) * states
    is_one = len(shapes) == 1 and isinstance(shapes[0], tuple) and len(shapes[0]) == inputs
    return ((*shapes[0], *more),) if is_one else (*shapes, *more)
