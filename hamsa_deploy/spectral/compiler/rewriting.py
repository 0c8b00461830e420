"""From a module with complex tensors to an ExportedProgram without any.

nn.Module --torch.export--> ATen graph --passes--> ATen graph --interpret with rules--> real-valued ExportedProgram
"""

from __future__ import annotations

import functools
import inspect
import logging
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx.passes.dialect.common.cse_pass import CSEPass, get_CSE_banned_ops
from torch.utils import _pytree as pytree

from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.spectral.compiler import composites, framing, fused, recurrences, rolling, side_by_side, written_out
from hamsa_deploy.spectral.compiler.capture import (
    FIX_BATCH,
    Captured,
    FixedSizeError,
    capture_model,
    check_functional,
    quiet,
)
from hamsa_deploy.spectral.compiler.carried import keep_sums_in_float32, shapes_with_states
from hamsa_deploy.spectral.compiler.conditions import one_that_matters
from hamsa_deploy.spectral.compiler.first_run import ModelError, StateError
from hamsa_deploy.spectral.compiler.real_program import Asked, known_of_sizes, recorded, traced_anew
from hamsa_deploy.spectral.values import viewed_as_real
from hamsa_runtime.dft.costs import Rates
from hamsa_runtime.errors import InputError, UnsupportedTransformError

LOG = logging.getLogger("hamsa_deploy")


def rewrite(
    model: nn.Module | ExportedProgram,
    example_inputs: Sequence[Any],
    rates: Rates,
    *,
    dynamic_shapes: Any = None,
    batch_must_vary: bool = False,
    plans: Plans = MappingProxyType({}),
    native: bool = False,
) -> ExportedProgram:
    """Rewrite a model with torch.fft and complex tensors into real arithmetic; see `hamsa_deploy.to_real`.

    Args:
        model, example_inputs, dynamic_shapes, batch_must_vary, plans: as there.
        rates: of the engine that the products are shaped for.
        native: whether transforms of signals stay FFT operators.
    """
    _check_model(model)
    inputs = _each_its_own(as_inputs(example_inputs))
    real_form = functools.partial(_rewritten, model, asked=Asked(rates, plans, native))
    if dynamic_shapes is not None:
        nested = takes_any_number(model) and len(dynamic_shapes) == 1
        return real_form(inputs, dynamic_shapes, dynamic_shapes[0] if nested else dynamic_shapes)
    try:
        return _with_any_batch(real_form, model, inputs)
    except (FixedSizeError, UnsupportedTransformError) as error:
        if batch_must_vary:
            raise
        program = real_form(inputs, {}, {})
        LOG.warning("the batch is fixed, to that of the example inputs: %s", error.found)
        return program


def _check_model(model: Any) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"a TorchScript module, {type(model).__name__}",
            expected="an nn.Module whose forward is Python, or an ExportedProgram",
            cause="what is captured is the Python of forward, which TorchScript no longer has",
            fix="the module that it was made from",
        )
    if not isinstance(model, nn.Module | ExportedProgram):
        raise InputError(
            f"a model of the type {type(model).__name__}",
            expected="an nn.Module, or an ExportedProgram",
            fix="call a class for its module; a function becomes the forward of a module of your own",
        )


def as_inputs(given: Any) -> tuple[Any, ...]:
    """Example inputs as a tuple.

    Raises:
        InputError: a single tensor, or a dict: `forward` gets them one by one.
    """
    if isinstance(given, torch.Tensor | Mapping | str) or not isinstance(given, Iterable):
        raise InputError(
            f"example inputs of the type {type(given).__name__}",
            expected="a tuple of what forward takes, in order",
            fix="(x,) for a single tensor; forward takes them by position, not by name",
        )
    return tuple(given)


def _with_any_batch(
    real_form: Callable[..., ExportedProgram], model: nn.Module | ExportedProgram, inputs: tuple[Any, ...]
) -> ExportedProgram:
    """Raises FixedSizeError where the model fixes its batch."""
    larger, spec = _with_dynamic_batch(inputs)
    try:
        return real_form(larger, (spec,) if takes_any_number(model) else spec, spec)
    except (ModelError, StateError) as error:
        if all(map(operator.is_, pytree.tree_leaves(larger), pytree.tree_leaves(inputs))):
            raise
        raise FixedSizeError(
            f"with a batch of two, {error.found.replace(' on the example inputs by itself', '')}",
            expected="a model that takes any batch",
            cause="the model fixes its batch to that of the example inputs",
            fix=FIX_BATCH,
        ) from error


def _rewritten(
    model: nn.Module | ExportedProgram,
    inputs: tuple[Any, ...],
    shapes: Any,
    real_shapes: Any,
    *,
    asked: Asked,
) -> ExportedProgram:
    """The real form, where `shapes` say what varies: of the model's inputs, and of those of its real form."""
    if isinstance(model, ExportedProgram):
        check_functional(model)
    examples = inputs
    found = Captured(model) if isinstance(model, ExportedProgram) else capture_model(model, inputs, shapes)
    captured, states, stand_ins = found
    known = known_of_sizes(captured)
    with quiet():
        if isinstance(model, nn.Module):
            real_shapes = shapes_with_states(real_shapes, model, len(inputs), len(states))
        inputs = (*inputs, *(state.initial for state in states))
        # Only interpreted, so none of these writes its code anew: that takes as long as all that they do.
        graph = composites.taken_apart(captured).module(check_guards=False)
        framing.unfold_views(graph)
        recurrences.unroll(graph)
        rolling.simplify(graph)
        written_out.recognise(graph)
        recurrences.recognise(graph)
        rolling.roll(graph)
        fused.fuse(graph)
        side_by_side.join(graph)
        inputs = pytree.tree_map_only(torch.Tensor, viewed_as_real, inputs)
        recording = recorded(captured, graph, inputs, asked, known) if isinstance(model, nn.Module) else None
        name = f"the real form of {type(model).__name__}"
        program = recording or traced_anew(graph, inputs, real_shapes, asked, name)
        _simplify(program)
    keep_sums_in_float32(program, len(states))
    program.graph_module.meta["complex_outputs"] = _are_complex(captured)
    program.graph_module.meta["limits"] = _limits(captured)
    program.graph_module.meta["states"] = tuple(states)
    program.graph_module.meta["stand_ins"] = tuple(stand_ins)
    if isinstance(model, nn.Module):
        _check_conditions(captured, program, model, examples)
    return program


def _check_conditions(
    captured: ExportedProgram, program: ExportedProgram, model: nn.Module, inputs: tuple[Any, ...]
) -> None:
    """Raise FixedSizeError where an example has decided on what other sizes would give."""
    conditions = captured.graph_module.meta["conditions"] + program.graph_module.meta["conditions"]
    matters = one_that_matters(conditions, model, inputs, program.module(check_guards=False)) if conditions else None
    if matters is not None:
        raise FixedSizeError(
            f"{type(model).__name__} cannot be captured with a dimension that varies: it branches on {matters}",
            expected="a forward that does the same for all sizes along the dimensions that vary",
            cause="an if on a size, or an operator that takes a shorter way for some sizes",
            fix=FIX_BATCH,
        )


def _simplify(program: ExportedProgram) -> None:
    """Merge what two rules computed alike, such as one transform behind two slices of it; drop what nobody uses."""
    placeholders = [node.name for node in program.graph.nodes if node.op == "placeholder"]
    merged = CSEPass(get_CSE_banned_ops())(program.graph_module)
    graph = program.graph if merged is None else merged.graph_module.graph
    # A copied graph calls a placeholder `input` otherwise, because Python has a function of that name.
    for node, name in zip(graph.nodes, placeholders, strict=False):
        node.name = name
    # Of two values that are one now, the signature may name the other.
    outputs: Any = graph.output_node().args[0]
    for spec, value in zip(program.graph_signature.output_specs, outputs, strict=True):
        if isinstance(value, torch.fx.Node):
            spec.arg.name = value.name
    graph.eliminate_dead_code()
    program.graph_module.graph = graph  # whose code is written anew with that


def _with_dynamic_batch(inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """Inputs with a batch of two at least (torch.export takes a size of 1 for fixed), and the shape specification."""
    sizes = {x.shape[0] for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor) and x.ndim}
    if len(sizes) > 1:
        raise FixedSizeError(
            f"the inputs have {' and '.join(map(str, sorted(sizes)))} as their first dimensions",
            expected="one batch, the first dimension of every input",
            cause="an input without a batch, or with it on another axis",
            fix=FIX_BATCH,
        )
    batch = Dim("batch")

    def doubled(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x]) if x.ndim and x.shape[0] == 1 else x

    spec = pytree.tree_map(lambda x: {0: batch} if isinstance(x, torch.Tensor) and x.ndim else None, inputs)
    return pytree.tree_map_only(torch.Tensor, doubled, inputs), spec


def _each_its_own(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """One tensor for two inputs would be one input to torch.export, whichever of both an operator takes."""
    seen: set[int] = set()

    def own(x: torch.Tensor) -> torch.Tensor:
        is_new = id(x) not in seen
        seen.add(id(x))
        return x if is_new else x.clone()

    return pytree.tree_map_only(torch.Tensor, own, inputs)


def takes_any_number(model: nn.Module | ExportedProgram) -> bool:
    """Whether forward is (self, *inputs): torch.export then wants their shapes as one tuple."""
    if isinstance(model, ExportedProgram):
        return False
    kinds = [parameter.kind for parameter in inspect.signature(model.forward).parameters.values()]
    return kinds[:1] == [inspect.Parameter.VAR_POSITIONAL]


def _are_complex(program: ExportedProgram) -> list[bool]:
    """Of each output that is a tensor."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    outputs = [values.get(str(name)) for name in program.graph_signature.user_outputs]
    return [x.is_complex() for x in outputs if isinstance(x, torch.Tensor)]


def _limits(program: ExportedProgram) -> dict[tuple[str, int], Any]:
    """(input, axis) -> the sizes for which the capture holds. The real form may have lost some: of a branch that a size
    decides, one side is left."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    sizes: dict[tuple[str, int], Any] = {
        (name, axis): size
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
        for axis, size in enumerate(value.shape)
    }
    found = {place: getattr(size, "node", None) for place, size in sizes.items()}
    limits = program.range_constraints
    return {place: limits[node.expr] for place, node in found.items() if node is not None and node.expr in limits}
