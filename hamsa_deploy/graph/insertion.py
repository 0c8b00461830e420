"""Nodes put between the nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir


def insert_behind(
    graph: ir.Graph,
    place: ir.Value,
    kind: str,
    inputs: Sequence[ir.Value],
    name: str,
    attributes: Mapping[str, int | Sequence[int]] | None = None,
) -> ir.Value:
    """Add a node right behind the one that computes a value, as part of the same module.

    Returns:
        Its output, of the type and shape of `place`; node and output have the name.
    """
    node = ir.node(kind, inputs, attributes, name=name)
    result = node.outputs[0]
    result.name, result.type, result.shape = name, place.type, place.shape
    source = place.producer()
    if source is None:
        graph.insert_before(graph[0], node)
    else:
        node.metadata_props.update(source.metadata_props)
        graph.insert_after(source, node)
    return result


def insert_before(
    graph: ir.Graph, user: ir.Node, node: ir.Node, dtype: ir.DataType, shape: ir.Shape | None
) -> ir.Value:
    """Put a node with one output before another, which it works for and whose provenance it gets; its output."""
    node.metadata_props.update(user.metadata_props)
    output = node.outputs[0]
    output.name, output.dtype, output.shape = str(node.name), dtype, shape
    graph.insert_before(user, node)
    return output


def hand_over(graph: ir.Graph, old: ir.Value, new: ir.Value, uses: Iterable[tuple[ir.Node, int]]) -> None:
    """Let `new` stand in for `old` in some uses, and, under the name of `old`, as an output of the graph."""
    for node, index in uses:
        node.replace_input_with(index, new)
    for index, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[index] = new
            old.name, new.name = f"{old.name}_inside", old.name
