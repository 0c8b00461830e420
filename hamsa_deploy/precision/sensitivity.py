"""How much each int8 product costs: the noise at the outputs when it alone is quantised.

One session measures them all. In its graph every site has a switch, a boolean input that chooses between the quantised
and the float32 factors; a session for each of the 150 products of HAMSA-S would take longer to load than to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from hamsa_deploy.precision.evaluation import Arrays, Evaluator, noise_to_signal
from hamsa_deploy.precision.graphs import add_constant, insert_before
from hamsa_deploy.precision.int8 import dequantised_weights, scale_of
from hamsa_deploy.precision.sites import Site
from hamsa_deploy.precision.thresholds import LEVELS


def costs(
    model: ir.Model,
    thresholds: Mapping[str, float],
    sites: Sequence[Site],
    feeds: Sequence[Arrays],
    known: Mapping[str, float],
    report: Callable[[str, float], None],
) -> dict[str, float]:
    """Noise-to-signal ratio of the outputs with one site quantised, for each site, largest first.

    Args:
        model: float32; it is left as it is.
        thresholds: of the activations.
        sites: what could be quantised.
        feeds: graph inputs by name; a few suffice for an order.
        known: costs measured before, by node name.
        report: called with a node name and its cost when one has been measured.
    """
    found = {site.node: known[site.node] for site in sites if site.node in known}
    missing = [site for site in sites if site.node not in known]
    if missing:
        run = Evaluator(switchable(model, thresholds, sites))
        expected = run(_switched(feeds, sites, on=None))
        for site in missing:
            found[site.node] = noise_to_signal(run(_switched(feeds, sites, on=site)), expected)
            report(site.node, found[site.node])
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def switchable(model: ir.Model, thresholds: Mapping[str, float], sites: Sequence[Site]) -> ir.Model:
    """A copy in which the boolean input `int8/<node>` quantises that node's factors."""
    copy = model.clone()
    nodes = {str(node.name): node for node in copy.graph}
    for site in sites:
        node = nodes[site.node]
        switch = ir.Value(name=_switch(site), type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
        copy.graph.inputs.append(switch)
        quantised = (_rounded(copy.graph, node, thresholds[site.activation]), _weights(copy.graph, node, site.axis))
        for index, value in enumerate(quantised):
            original = node.inputs[index]
            assert original is not None
            choice = ir.node("Where", [switch, value, original], name=f"{node.name}_choice_{index}")
            node.replace_input_with(index, insert_before(copy.graph, node, choice, ir.DataType.FLOAT, original.shape))
    return copy


def _switch(site: Site) -> str:
    return f"int8/{site.node}"


def _switched(feeds: Iterable[Arrays], sites: Sequence[Site], on: Site | None) -> list[dict[str, np.ndarray]]:
    switches = {_switch(site): np.array(site is on) for site in sites}
    return [{**feed, **switches} for feed in feeds]


def _rounded(graph: ir.Graph, node: ir.Node, threshold: float) -> ir.Value:
    """The activation after a round trip through int8, in arithmetic that no optimiser takes for int8."""
    value = node.inputs[0]
    assert value is not None
    scale = add_constant(graph, f"{node.name}_switch_scale", np.array(scale_of(threshold)))
    low, high = (add_constant(graph, f"int8_{bound}", np.array(bound, np.float32)) for bound in (-LEVELS, LEVELS))
    steps = [("Div", [scale]), ("Round", []), ("Clip", [low, high]), ("Mul", [scale])]
    for op_type, others in steps:
        step = ir.node(op_type, [value, *others], name=f"{node.name}_switch_{op_type.lower()}")
        value = insert_before(graph, node, step, ir.DataType.FLOAT, value.shape)
    return value


def _weights(graph: ir.Graph, node: ir.Node, axis: int) -> ir.Value:
    value = node.inputs[1]
    assert value is not None
    assert value.const_value is not None
    return add_constant(graph, f"{node.name}_switch_weight", dequantised_weights(value.const_value.numpy(), axis))
