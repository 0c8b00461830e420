"""DFT and STFT nodes of an ONNX graph -> products with constants; all other nodes stay as they are.

What a node computes is read off a copy, in which shapes are inferred: the graph itself gets nothing but the new nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from hamsa_runtime.dft.costs import CPU, Rates
from hamsa_runtime.dft.factorisations import Plan
from hamsa_runtime.errors import InputError, UnsupportedTransformError
from hamsa_runtime.fix.constants import folded
from hamsa_runtime.fix.emission import Constants, Nodes
from hamsa_runtime.fix.forms import Window, plan_of, products_of, working_type
from hamsa_runtime.fix.loading import copy_of
from hamsa_runtime.fix.operators import Dft, Stft, is_spectral, name_of, operator_of, spectral_nodes

# Protobuf holds 2 GiB in all.
LARGEST_MATRICES, FLOAT_BYTES = 2**30, 4


@dataclass(frozen=True)
class Replaced:
    """One node, and what stands in its place.

    Attributes:
        name: of the node, or of its output where it has none.
        operator: what it computes.
        plan: how the products do.
        inputs: its signal, and the window of an STFT where the graph computes that.
        window: the numbers of one that is known.
        node: no longer in the graph.
        nodes: in the graph, in its place.
    """

    name: str
    operator: Dft | Stft
    plan: Plan
    inputs: tuple[ir.Value, ...]
    window: np.ndarray | None
    node: ir.Node
    nodes: tuple[ir.Node, ...]

    @property
    def output(self) -> ir.Value:
        """What the last of the nodes computes."""
        return self.nodes[-1].outputs[0]


@dataclass(frozen=True)
class Replacement:
    """What was changed in a model.

    Attributes:
        replaced: the nodes, in the order in which they run.
        constants: new initializers of the main graph.
        unused: nodes and initializers that only replaced nodes had asked for something, and which are gone.
    """

    replaced: tuple[Replaced, ...] = ()
    constants: tuple[ir.TensorProtocol, ...] = ()
    unused: tuple[ir.Node | ir.Value, ...] = ()


class RealTransformsPass(ir.passes.InPlacePass):
    """A pass for onnx_ir: DFT and STFT as products with constants.

    Functions of the model that have such a node are inlined. Nothing else is touched, and nothing at all where a node
    cannot be replaced.

    Args:
        rates: what computing costs on the engine that the file is for; ONNX Runtime by default.

    Raises (when called):
        UnsupportedTransformError: a DFT along an axis of dynamic length, or a length that the graph computes; names
            each such node.
    """

    def __init__(self, rates: Rates | None = None) -> None:
        super().__init__()
        self.rates = CPU if rates is None else rates

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replaces them in the model."""
        has_inlined = inline_spectral_functions(model)
        found = replace_transforms(model, self.rates)
        return ir.passes.PassResult(model, modified=has_inlined or bool(found.replaced))


def inline_spectral_functions(model: ir.Model) -> bool:
    """Write out, where they are called, the functions that have a DFT or STFT in them: each call may have other
    shapes. Whether there were any."""
    if holding := spectral_functions(model):
        inline(model, holding)
    return bool(holding)


def spectral_functions(model: ir.Model) -> set[ir.OperatorIdentifier]:
    """Those with a DFT or STFT in them, or in a function that they call."""
    holding: set[ir.OperatorIdentifier] = set()
    while more := {
        key
        for key, function in model.functions.items()
        if key not in holding
        and any(is_spectral(node) or node.op_identifier() in holding for node in function.all_nodes())
    }:
        holding |= more
    return holding


def inline(model: ir.Model, functions: Collection[ir.OperatorIdentifier] | None = None) -> None:
    """Write out functions where they are called: some, or all.

    Raises:
        InputError: see `not_inlined`.
    """
    try:
        passes.InlinePass(None if functions is None else lambda each: each.identifier() in functions)(model)
    except Exception as error:  # the pass raises whatever it meets, in classes of its own or Python's
        raise not_inlined(error) from error


def not_inlined(error: Exception) -> InputError:
    """The error for functions that cannot be written out, such as those of another opset than the model's."""
    text = str(error.__cause__ or error).splitlines()[0]
    return InputError(
        f"functions of the file cannot be written out where they are called: {text[:300]}",
        expected="functions of the model's own opset, which do not call themselves",
        fix="export it again without functions, or write them out by onnx.inliner.inline_local_functions(model, "
        "convert_version=True)",
    )


def operators_in(
    model: ir.Model, rates: Rates = CPU, plans: Mapping[int, Plan] = MappingProxyType({})
) -> list[tuple[Dft | Stft, Plan]]:
    """What each node of `spectral_nodes(model)` computes, and how products will.

    Args:
        rates, plans: see `replace_transforms`.

    Raises:
        UnsupportedTransformError: names each node that cannot be replaced, and why.
    """
    if not (nodes := spectral_nodes(model)):
        return []
    inferred = copy_of(model)
    passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(inferred)
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    found: list[tuple[Dft | Stft, Plan]] = []
    refused: list[UnsupportedTransformError] = []
    for node in spectral_nodes(inferred):
        try:
            operator = operator_of(node, opset)
            found.append((operator, _affordable(node, plan_of(operator, rates, plans.get(operator.length)))))
        except UnsupportedTransformError as error:
            refused.append(error)
    if refused:
        raise _all_of(refused, len(nodes))
    return found


def _affordable(node: ir.Node, plan: Plan) -> Plan:
    """The plan, if its matrices can be held."""
    size = FLOAT_BYTES * plan.work.stored
    if size > LARGEST_MATRICES:
        raise UnsupportedTransformError(
            f"{node.op_type} node '{name_of(node)}': the matrices of {plan.n} points would have {size / 1e9:.1f} GB",
            expected=f"at most {LARGEST_MATRICES / 1e9:.1f} GB",
            cause="a length with a large prime factor",
            fix="pad the signal to a length of small factors",
        )
    return plan


def _all_of(refused: list[UnsupportedTransformError], nodes: int) -> UnsupportedTransformError:
    """One error for several nodes, with the reason of each."""
    first = refused[0]
    if len(refused) == 1:
        return first
    each = "\n".join(f"  {error.found}" for error in refused)
    return UnsupportedTransformError(
        f"{len(refused)} of {nodes} nodes cannot be replaced:\n{each}",
        expected=first.expected,
        cause=first.cause,
        fix=first.fix,
    )


def replace_transforms(
    model: ir.Model, rates: Rates = CPU, plans: Mapping[int, Plan] = MappingProxyType({})
) -> Replacement:
    """Replace every DFT and STFT outside of functions, in place.

    Args:
        rates: what computing costs on the engine that the model is for.
        plans: the plan of some lengths; the rates choose the others.

    Raises:
        UnsupportedTransformError: see `operators_in`; the model is as it was.
    """
    operators = operators_in(model, rates, plans)
    constants = Constants(_names(model))
    pairs = list(zip(spectral_nodes(model), operators, strict=True))
    asked = [value for node, _ in pairs for value in node.inputs[1:] if value is not None]
    replaced = tuple(_replaced(node, operator, plan, constants) for node, (operator, plan) in pairs)
    for value in constants.values:
        model.graph.register_initializer(value)
    tensors = tuple(value.const_value for value in constants.values if value.const_value is not None)
    return Replacement(replaced, tensors, tuple(_without_use(asked)))


def _names(model: ir.Model) -> Collection[str]:
    """All that nodes and values are called."""
    names: set[str | None] = set()
    for graph in model.graphs():
        values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
        names |= {value.name for value in values} | {node.name for node in graph}
    return {name for name in names if name}


def _replaced(node: ir.Node, operator: Dft | Stft, plan: Plan, constants: Constants) -> Replaced:
    """Put the products in the place of a node; its output keeps its name."""
    nodes = Nodes(constants, name_of(node), working_type(operator.dtype))
    signal, old = node.inputs[0], node.outputs[0]
    assert signal is not None
    assert node.graph is not None
    given = node.inputs[2] if isinstance(operator, Stft) and len(node.inputs) > 2 else None
    window = None if given is None else Window(given, folded(given))
    new = products_of(nodes, operator, plan, signal, window)
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], nodes.made, [old], [new])
    inputs = (signal,) if window is None or window.array is not None else (signal, window.value)
    known = None if window is None else window.array
    return Replaced(name_of(node), operator, plan, inputs, known, node, tuple(nodes.made))


def _without_use(values: Iterable[ir.Value]) -> list[ir.Node | ir.Value]:
    """Take out of their graphs what computed or held these values for replaced nodes only."""
    gone: list[ir.Node | ir.Value] = []
    pending = list(values)
    while pending:
        value = pending.pop()
        if value.uses() or value.is_graph_output() or value.is_graph_input():
            continue
        node, graph = value.producer(), value.graph
        if node is None and value.is_initializer() and graph is not None and value not in gone:
            graph.initializers.pop(str(value.name))
            gone.append(value)
        elif (
            node is not None
            and node.graph is not None
            and not any(v.uses() or v.is_graph_output() for v in node.outputs)
        ):
            pending += [each for each in node.inputs if each is not None]
            node.graph.remove(node, safe=True)
            gone.append(node)
    return gone
