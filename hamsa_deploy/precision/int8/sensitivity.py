"""How much each int8 product costs: the noise at the outputs when it alone is quantised.

One session measures them all. In its graph every site has a switch, a boolean input that chooses between the quantised
and the float32 factors; a session for each of the 150 products of HAMSA-S would take longer to load than to run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import add_constant
from hamsa_deploy.graph.insertion import insert_before
from hamsa_deploy.graph.sessions import Evaluator, noise_to_signal
from hamsa_deploy.precision.int8.int8_sites import Site
from hamsa_deploy.precision.int8.qdq import dequantised_weights, scale_of
from hamsa_deploy.precision.int8.thresholds import LEVELS
from hamsa_runtime.batches import Arrays

logger = logging.getLogger("hamsa_deploy")

SECONDS_BETWEEN_NOTES = 10.0
Item = TypeVar("Item")


def measure_costs(
    model: ir.Model,
    thresholds: Mapping[str, float],
    sites: Sequence[Site],
    feeds: Sequence[Arrays],
    known: MutableMapping[str, float],
) -> dict[str, float]:
    """Noise-to-signal ratio of the outputs with one site quantised, for each node, largest first.

    Args:
        model: float32; it is left as it is.
        thresholds: of the activations.
        sites: what could be quantised.
        feeds: graph inputs by name; a few suffice for an order.
        known: costs measured before, by node name; new ones are added as they come.
    """
    missing = [site for site in sites if site.node not in known]
    if missing:
        run = Evaluator(switchable(model, thresholds, sites))
        expected = run(_switched(feeds, sites, on=None))
        for site in with_progress(missing, "layers ranked by what int8 costs them"):
            known[site.node] = noise_to_signal(run(_switched(feeds, sites, on=site)), expected)
    return dict(sorted(((site.node, known[site.node]) for site in sites), key=lambda item: -item[1]))


def with_progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, with a note every few seconds of how many are done and how long the others will take."""
    started = told = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - told > SECONDS_BETWEEN_NOTES:
            left = (now - started) / done * (len(items) - done)
            logger.info("%d of %d %s, %.0f s to go", done, len(items), what, left)
            told = now
        yield item


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


def _switched(feeds: Iterable[Arrays], sites: Sequence[Site], on: Site | None) -> list[Arrays]:
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
